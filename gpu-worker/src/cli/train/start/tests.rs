//! What is kept of an adapter to start from, and what is refused.

use super::*;
use crate::engine::TargetModule;

fn adapter() -> LoraConfig {
    let targets = vec![TargetModule::Query, TargetModule::Value];
    LoraConfig { rank: 4, frozen_rank: 0, alpha: 8.0, targets, dora: false, dropout: 0.0 }
}

fn started(config: &str) -> anyhow::Result<TrainingOptions> {
    let options: TrainingOptions = toml::from_str(config)?;
    of_adapter(&options, &toml::from_str(config)?, (Path::new("first"), &adapter()))
}

#[test]
fn the_shape_of_the_adapter_is_kept_and_told() {
    for config in
        ["epochs = 3", "epochs = 3\nrank = 4\nalpha = 8.0\ntarget_modules = [\"v_proj\", \"q_proj\"]"]
    {
        let options = started(config).unwrap();
        assert_eq!((options.rank, options.alpha, options.epochs), (4, 8.0, 3));
        assert_eq!(options.target_modules, ["q_proj", "v_proj"]);
    }
}

#[test]
fn another_shape_is_refused_by_name() {
    for (config, part) in [
        ("rank = 8", "rank is 8, but the adapter to start from (first) has 4"),
        ("alpha = 16.0", "alpha is 16, but"),
        ("use_rslora = true", "use_rslora is true, but"),
        ("target_modules = [\"q_proj\"]", "target_modules is q_proj, but"),
    ] {
        let message = started(config).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
