//! Safetensors files of a base model: headers first, then each tensor by itself, as f32.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{Dtype, tensor::Metadata};
use serde::Deserialize;

use crate::model::{HostTensor, ModelError};

/// A header larger than this is not a model's.
const MAX_HEADER_BYTES: u64 = 100 << 20;

/// Where a tensor lies.
#[derive(Debug)]
pub(super) struct StoredTensor {
    pub(super) file: PathBuf,
    pub(super) shape: Vec<usize>,
    dtype: Dtype,
    offset: u64,
    size_bytes: usize,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The tensors of `model.safetensors`, or of the files that `model.safetensors.index.json` names.
pub(super) fn read_headers(folder: &Path) -> Result<BTreeMap<String, StoredTensor>, ModelError> {
    let index_path = folder.join("model.safetensors.index.json");
    let mut tensors = BTreeMap::new();
    if !index_path.exists() {
        read_header(&folder.join("model.safetensors"), &mut tensors)?;
        return Ok(tensors);
    }
    let text = std::fs::read(&index_path).map_err(|source| ModelError::io(&index_path, source))?;
    let index: Index =
        serde_json::from_slice(&text).map_err(|error| ModelError::format(&index_path, error))?;
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    for name in names {
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(ModelError::format(
                &index_path,
                format!("`{name}` is not a file name of the same folder"),
            ));
        }
        read_header(&folder.join(name), &mut tensors)?;
    }
    Ok(tensors)
}

fn read_header(path: &Path, tensors: &mut BTreeMap<String, StoredTensor>) -> Result<(), ModelError> {
    let io = |source| ModelError::io(path, source);
    let mut file = File::open(path).map_err(io)?;
    let file_bytes = file.metadata().map_err(io)?.len();
    let truncated = |reason: String| ModelError::Truncated { path: path.into(), reason };
    let mut length = [0; 8];
    if file_bytes < 8 {
        return Err(truncated(format!("it has {file_bytes} bytes, its header alone needs more")));
    }
    file.read_exact(&mut length).map_err(io)?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER_BYTES {
        return Err(ModelError::format(
            path,
            format!("a header of {header_bytes} bytes is not a safetensors header"),
        ));
    }
    if file_bytes < 8 + header_bytes {
        return Err(truncated(format!(
            "its header ends at byte {}, the file at {file_bytes}",
            8 + header_bytes
        )));
    }
    let mut header = Vec::new();
    file.take(header_bytes).read_to_end(&mut header).map_err(io)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| ModelError::format(path, error))?;
    let end = 8 + header_bytes + metadata.data_len() as u64;
    if file_bytes < end {
        return Err(truncated(format!("its tensors end at byte {end}, the file at {file_bytes}")));
    }
    for (name, info) in metadata.tensors() {
        if !matches!(info.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16 | Dtype::U8) {
            return Err(ModelError::unsupported(path, format!("tensor {name} of type {:?}", info.dtype)));
        }
        let (start, stop) = info.data_offsets;
        tensors.insert(
            name,
            StoredTensor {
                file: path.into(),
                shape: info.shape.clone(),
                dtype: info.dtype,
                offset: 8 + header_bytes + start as u64,
                size_bytes: stop - start,
            },
        );
    }
    Ok(())
}

impl StoredTensor {
    /// Whether it holds numbers rather than codes.
    pub(super) fn is_real(&self) -> bool {
        self.dtype != Dtype::U8
    }

    /// Reads what is stored.
    pub(super) fn read_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let io = |source| ModelError::io(&self.file, source);
        let mut bytes = vec![0; self.size_bytes];
        File::open(&self.file).map_err(io)?.read_exact_at(&mut bytes, self.offset).map_err(io)?;
        Ok(bytes)
    }

    /// Reads the values and widens them to f32.
    pub(super) fn read(&self) -> Result<HostTensor, ModelError> {
        let bytes = self.read_bytes()?;
        let values = match self.dtype {
            Dtype::BF16 => widen(&bytes, |pair| bf16::from_le_bytes(pair).to_f32()),
            Dtype::F16 => widen(&bytes, |pair| f16::from_le_bytes(pair).to_f32()),
            Dtype::U8 => bytes.into_iter().map(f32::from).collect(),
            _ => widen(&bytes, f32::from_le_bytes),
        };
        Ok(HostTensor { shape: self.shape.clone(), values })
    }
}

fn widen<const BYTES: usize>(bytes: &[u8], convert: impl Fn([u8; BYTES]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<BYTES>().0.iter().map(|chunk| convert(*chunk)).collect()
}
