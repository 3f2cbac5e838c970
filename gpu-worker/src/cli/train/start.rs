//! Options of a training that starts from an adapter.

use std::path::Path;

use anyhow::bail;
use clara_lifecycle::spec::TrainingOptions;

use crate::engine::LoraConfig;

#[cfg(test)]
mod tests;

/// `options` with the shape of the adapter to start from, which is kept; those that `named` in the configuration must agree.
pub(super) fn of_adapter(
    options: &TrainingOptions,
    named: &toml::Table,
    (folder, adapter): (&Path, &LoraConfig),
) -> anyhow::Result<TrainingOptions> {
    let kept = TrainingOptions {
        rank: u32::try_from(adapter.rank)?,
        alpha: adapter.alpha,
        use_rslora: false,
        target_modules: adapter.targets.iter().map(|module| module.name().to_owned()).collect(),
        ..options.clone()
    };
    let modules = |options: &TrainingOptions| {
        let mut modules = options.target_modules.clone();
        modules.sort_unstable();
        modules.join(", ")
    };
    for (option, given, has) in [
        ("rank", options.rank.to_string(), kept.rank.to_string()),
        ("alpha", options.alpha.to_string(), kept.alpha.to_string()),
        ("use_rslora", options.use_rslora.to_string(), kept.use_rslora.to_string()),
        ("target_modules", modules(options), modules(&kept)),
    ] {
        if named.contains_key(option) && given != has {
            bail!(
                "{option} is {given}, but the adapter to start from ({}) has {has}, which is kept; leave {option} out, or \
                 start without --init-adapter",
                folder.display()
            );
        }
    }
    Ok(kept)
}
