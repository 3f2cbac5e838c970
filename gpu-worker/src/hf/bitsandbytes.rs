//! Linear layers that bitsandbytes saved in four bits: each is a run of tensors whose names begin with that of the weight.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::files::StoredTensor;
use crate::{
    model::{ModelError, Quantised},
    nf4::{Nf4Tensor, Scales},
};

const STATE: &str = ".quant_state.bitsandbytes__";

/// A weight `[out, in]` in four bits.
#[derive(Debug)]
pub(super) struct FourBits {
    pub(super) shape: [usize; 2],
    state: State,
    name: String,
    packed: StoredTensor,
    scales: StoredTensor,
    codes: StoredTensor,
    /// Scales of the scales and what their codes stand for.
    nested: Option<[StoredTensor; 2]>,
}

#[derive(Debug, Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_offset: Option<f32>,
}

/// Refuses a `quantization_config` other than four bits of bitsandbytes.
pub(super) fn check_config(path: &Path, config: &Value) -> Result<(), ModelError> {
    let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or("unnamed").to_owned();
    match (text("quant_method").as_str(), config.get("load_in_4bit").and_then(Value::as_bool)) {
        ("bitsandbytes", Some(true)) => Ok(()),
        ("bitsandbytes", _) => Err(ModelError::unsupported(path, "bitsandbytes with load_in_8bit")),
        (other, _) => Err(ModelError::unsupported(path, format!("quantization_config of {other}"))),
    }
}

/// Takes the weights in four bits out of `tensors`, with all that belongs to them.
pub(super) fn take(
    path: &Path,
    tensors: &mut BTreeMap<String, StoredTensor>,
) -> Result<BTreeMap<String, FourBits>, ModelError> {
    let names = tensors.keys().filter_map(|key| key.split_once(STATE));
    let names: Vec<(String, String)> = names.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    let mut weights = BTreeMap::new();
    for (name, kind) in names {
        let mut part = |suffix: &str| {
            let tensor = format!("{name}{suffix}");
            let found = tensors.remove(&tensor);
            found.ok_or_else(|| ModelError::MissingTensor { path: path.into(), tensor })
        };
        let text = part(&format!("{STATE}{kind}"))?.read_bytes()?;
        let refuse = |reason: String| ModelError::format(path, format!("tensor {name}: {reason}"));
        let state: State = serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
        if state.quant_type != "nf4" {
            return Err(ModelError::unsupported(path, format!("tensor {name} of type {}", state.quant_type)));
        }
        let [rows, columns] = *state.shape.as_slice() else {
            return Err(refuse(format!("its shape {:?} is not that of a matrix", state.shape)));
        };
        let nested = match state.nested_blocksize {
            Some(_) => Some([part(".nested_absmax")?, part(".nested_quant_map")?]),
            None => None,
        };
        let (packed, scales, codes) = (part("")?, part(".absmax")?, part(".quant_map")?);
        let shape = [rows, columns];
        weights.insert(name.clone(), FourBits { shape, state, name, packed, scales, codes, nested });
    }
    Ok(weights)
}

impl FourBits {
    /// Reads codes and scales; the bytes are the same whatever type they are stored as.
    pub(super) fn read(&self) -> Result<Quantised, ModelError> {
        let refuse =
            |reason: &str| ModelError::format(&self.packed.file, format!("tensor {}: {reason}", self.name));
        let scales = match (&self.nested, self.state.nested_blocksize, self.state.nested_offset) {
            (Some(_), Some(_), None) => return Err(refuse("its quant_state has no nested_offset")),
            (Some([nested, codes]), Some(block), Some(offset)) => Scales::Nested {
                codes: self.scales.read_bytes()?,
                values: codes.read()?.values,
                block,
                scales: nested.read()?.values,
                offset,
            },
            (None, ..) | (_, None, _) => Scales::Plain(self.scales.read()?.values),
        };
        let codes = self.codes.read()?.values;
        let packed = self.packed.read_bytes()?;
        let tensor = Nf4Tensor::of_parts(self.shape, self.state.blocksize, (packed, &codes), scales);
        let tensor = tensor.map_err(|reason| refuse(&reason))?;
        Ok(Quantised::Nf4(tensor))
    }

    /// The file with the codes.
    pub(super) fn file(&self) -> &Path {
        &self.packed.file
    }
}
