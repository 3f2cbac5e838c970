//! Reads and writes adapters as PEFT does: `adapter_config.json` and `adapter_model.safetensors`.

mod config;
mod tensors;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    engine::{AdapterWeights, LoraConfig, reference::features},
    folder::{FolderError, write_folder},
    model::ModelConfig,
};

pub(crate) use tensors::{decode_tensors, encode_tensors};

/// File with the shape of the adapter.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// File with its weights.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// Why an adapter cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    /// A file could not be read.
    #[error("cannot read {path}; expected a PEFT folder with {CONFIG_FILE} and {WEIGHTS_FILE}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// A file that does not follow its format.
    #[error("{path} cannot be parsed: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// An option whose effect is not computed here.
    #[error(
        "{path} sets {option}, which is not supported; using the adapter without it would give wrong results"
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The option with its value.
        option: String,
    },
    /// The adapter does not fit the base model.
    #[error(
        "adapter {path} does not fit the base model: {reason}; use the base model that it was trained on"
    )]
    Misfit {
        /// The folder.
        path: PathBuf,
        /// Which tensor, what was found and what expected.
        reason: String,
    },
    /// The folder could not be written.
    #[error(transparent)]
    Write(#[from] FolderError),
}

/// Writes an adapter into the new folder `folder`; the same adapter always gives the same bytes.
///
/// # Errors
/// [`PeftError::Write`]; nothing of the folder exists then.
pub fn write(folder: &Path, adapter: &AdapterWeights, base_model: &str) -> Result<(), PeftError> {
    write_folder(folder, &encode(folder, adapter, base_model)?)?;
    Ok(())
}

/// The files of an adapter's folder.
///
/// # Errors
/// [`PeftError::Format`] with the place in `folder`.
pub(crate) fn encode(
    folder: &Path,
    adapter: &AdapterWeights,
    base_model: &str,
) -> Result<[(&'static str, Vec<u8>); 2], PeftError> {
    let format = |reason: String| PeftError::Format { path: folder.join(WEIGHTS_FILE), reason };
    let weights = encode_tensors(&adapter.tensors).map_err(format)?;
    let config = config::to_json(&adapter.config, base_model)
        .map_err(|error| PeftError::Format { path: folder.join(CONFIG_FILE), reason: error.to_string() })?;
    Ok([(CONFIG_FILE, config), (WEIGHTS_FILE, weights)])
}

/// Reads an adapter and checks that it fits the base model.
///
/// A rank-stabilised adapter (`use_rslora`) comes back with the alpha that gives the same scale as alpha / rank.
///
/// # Errors
/// [`PeftError`] names the file, the option or the tensor.
pub fn read(folder: &Path, base: &ModelConfig) -> Result<AdapterWeights, PeftError> {
    let config_path = folder.join(CONFIG_FILE);
    let text =
        std::fs::read(&config_path).map_err(|source| PeftError::Io { path: config_path.clone(), source })?;
    let config = config::from_json(&config_path, &text)?;
    let weights_path = folder.join(WEIGHTS_FILE);
    let bytes = std::fs::read(&weights_path)
        .map_err(|source| PeftError::Io { path: weights_path.clone(), source })?;
    let tensors =
        decode_tensors(&bytes).map_err(|reason| PeftError::Format { path: weights_path.clone(), reason })?;
    let adapter = AdapterWeights { config, tensors };
    check_shapes(&adapter, base).map_err(|reason| PeftError::Misfit { path: folder.into(), reason })?;
    Ok(adapter)
}

fn check_shapes(adapter: &AdapterWeights, base: &ModelConfig) -> Result<(), String> {
    let rank = adapter.config.rank;
    let mut expected = BTreeSet::new();
    for layer in 0..base.layers {
        for &module in &adapter.config.targets {
            let (inputs, outputs) = features(base, module);
            let magnitude = (module.magnitude_name(layer), vec![outputs]);
            for (name, shape) in [
                (module.lora_a_name(layer), vec![rank, inputs]),
                (module.lora_b_name(layer), vec![outputs, rank]),
            ]
            .into_iter()
            .chain(adapter.config.dora.then_some(magnitude))
            {
                match adapter.tensors.get(&name) {
                    None => return Err(format!("tensor {name} is missing")),
                    Some(tensor) if tensor.shape != shape => {
                        return Err(format!(
                            "tensor {name} has shape {:?}, expected {shape:?}",
                            tensor.shape
                        ));
                    }
                    Some(_) => expected.insert(name),
                };
            }
        }
    }
    match adapter.tensors.keys().find(|name| !expected.contains(*name)) {
        Some(name) => Err(format!("tensor {name} belongs to none of the target modules in {CONFIG_FILE}")),
        None => Ok(()),
    }
}

/// The alpha with which the scale alpha / rank, which is all that servers know, is alpha / √rank.
#[expect(clippy::cast_precision_loss, reason = "ranks are far below 2^24")]
pub(crate) fn stabilised_alpha(alpha: f32, rank: usize) -> f32 {
    alpha * (rank as f32).sqrt()
}

/// Checks that no layer is smaller than the rank on both sides; a narrower side, as of grouped keys and values, is allowed as in PEFT.
///
/// # Errors
/// A sentence that names the first layer that is.
pub fn check_rank(config: &LoraConfig, base: &ModelConfig) -> Result<(), String> {
    for &module in &config.targets {
        let (inputs, outputs) = features(base, module);
        // PiSSA takes no more directions from a weight than there are.
        let wide = if config.frozen_rank > 0 { 2 * inputs.min(outputs) } else { inputs.max(outputs) };
        if config.rank > wide {
            return Err(format!(
                "rank {} is larger than layer {}, which is {inputs} wide and gives {outputs}; choose 1 to {wide}",
                config.rank,
                module.name()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
