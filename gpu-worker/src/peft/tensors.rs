//! Named f32 tensors as safetensors bytes and back.

use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::model::HostTensor;

/// The bytes of a safetensors file with the header metadata that PyTorch readers expect.
pub(crate) fn encode_tensors(tensors: &BTreeMap<String, HostTensor>) -> Result<Vec<u8>, String> {
    let mut contents: Vec<(&String, &HostTensor, Vec<u8>)> = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        contents.push((name, tensor, tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()));
    }
    let mut views = Vec::with_capacity(contents.len());
    for (name, tensor, bytes) in &contents {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)
            .map_err(|error| format!("tensor {name}: {error}"))?;
        views.push((name.as_str(), view));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
}

/// The tensors of a safetensors file in f32, bf16 or f16, as f32.
pub(crate) fn decode_tensors(bytes: &[u8]) -> Result<BTreeMap<String, HostTensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let values = match view.dtype() {
            Dtype::F32 => view.data().as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect(),
            Dtype::BF16 => {
                view.data().as_chunks().0.iter().map(|chunk| bf16::from_le_bytes(*chunk).to_f32()).collect()
            }
            Dtype::F16 => {
                view.data().as_chunks().0.iter().map(|chunk| f16::from_le_bytes(*chunk).to_f32()).collect()
            }
            other => return Err(format!("tensor {name} is of type {other:?}; expected F32, BF16 or F16")),
        };
        tensors.insert(name.to_owned(), HostTensor { shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}
