//! Writes the weights of a base model with an adapter merged into them.

use std::{collections::BTreeMap, path::Path};

use super::{
    ExportError, WeightType,
    update::{Update, full},
    weight_file::write_model,
};
use crate::{
    engine::{AdapterWeights, TargetModule},
    model::{self, BaseModel},
};

/// Largest file of weights, as transformers cuts them.
const SHARD_BYTES: usize = 5_000_000_000;

/// Writes all weights under Hugging Face names; `norms_less_one` as Gemma stores them. Returns the relative rounding error.
pub(super) fn write(
    folder: &Path,
    base: &BaseModel,
    adapter: &AdapterWeights,
    weights: WeightType,
    norms_less_one: bool,
) -> Result<f64, ExportError> {
    let mut updated: BTreeMap<String, (usize, TargetModule)> = BTreeMap::new();
    for layer in 0..base.config.layers {
        updated.extend(
            adapter.config.targets.iter().map(|module| (module.weight_name(layer), (layer, *module))),
        );
    }
    let tensors = model::tensor_shapes(&base.config);
    write_model(folder, tensors, weights, SHARD_BYTES, |name| {
        if let Some((layer, module)) = updated.get(name) {
            return Ok(Update::new(base, adapter, *layer, *module)?.merged());
        }
        let mut values = full(base, name)?.into_owned();
        if norms_less_one && name.ends_with("norm.weight") {
            for value in &mut values {
                *value -= 1.0;
            }
        }
        Ok(values)
    })
}
