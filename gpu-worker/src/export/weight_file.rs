//! Writes safetensors files tensor by tensor, so that no more than one is held in a second copy.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    str::FromStr,
};

use half::{bf16, f16};
use serde::Serialize;
use serde_json::json;

use super::ExportError;
use crate::folder::failed;

/// Type of weights in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightType {
    /// 32 bits: nothing is lost.
    #[default]
    F32,
    /// 16 bits with the range of f32 and eight bits of precision.
    Bf16,
    /// 16 bits with eleven bits of precision and magnitudes up to 65504.
    F16,
}

impl WeightType {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// Its name in `config.json`.
    pub(super) fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    fn safetensors_name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
        }
    }

    /// Bytes of one value.
    pub(super) fn size_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Rounds values to little-endian bytes and back to f32.
    ///
    /// # Errors
    /// [`ExportError::Range`] for a finite value that becomes infinite.
    pub(super) fn round(self, tensor: &str, values: &[f32]) -> Result<(Vec<u8>, Vec<f32>), ExportError> {
        let mut bytes = Vec::with_capacity(values.len() * self.size_bytes());
        let mut rounded = Vec::with_capacity(values.len());
        for value in values {
            let kept = match self {
                Self::F32 => {
                    bytes.extend(value.to_le_bytes());
                    *value
                }
                Self::Bf16 => {
                    let short = bf16::from_f32(*value);
                    bytes.extend(short.to_le_bytes());
                    short.to_f32()
                }
                Self::F16 => {
                    let short = f16::from_f32(*value);
                    bytes.extend(short.to_le_bytes());
                    short.to_f32()
                }
            };
            if value.is_finite() && !kept.is_finite() {
                return Err(ExportError::Range {
                    tensor: tensor.to_owned(),
                    value: *value,
                    weights: self.name(),
                });
            }
            rounded.push(kept);
        }
        Ok((bytes, rounded))
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for WeightType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::F32, Self::Bf16, Self::F16]
            .into_iter()
            .find(|weights| weights.name() == text)
            .ok_or_else(|| format!("`{text}` is no type of weights; expected f32, bf16 or f16"))
    }
}

/// A tensor to be written: its name and shape.
pub(super) type Planned = (String, Vec<usize>);

/// Writes `model.safetensors`, or several files with an index when one would hold more than `shard_bytes`.
/// `values` gives the values of a tensor when its turn comes. Returns ‖rounded − exact‖ / ‖exact‖ over all.
pub(super) fn write_model(
    folder: &Path,
    tensors: Vec<Planned>,
    weights: WeightType,
    shard_bytes: usize,
    mut values: impl FnMut(&str) -> Result<Vec<f32>, ExportError>,
) -> Result<f64, ExportError> {
    let shards = shards(tensors, weights, shard_bytes);
    let count = shards.len();
    let (mut lost, mut exact, mut total) = (0.0_f64, 0.0_f64, 0);
    let mut index = BTreeMap::new();
    for (number, shard) in (1..).zip(&shards) {
        let name = match count {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{number:05}-of-{count:05}.safetensors"),
        };
        let (header, size) = header(shard, weights)?;
        let path = folder.join(&name);
        let broken = |source| failed(&path, header.len() + size, source);
        let mut file = BufWriter::new(File::create(&path).map_err(broken)?);
        file.write_all(&header).map_err(broken)?;
        for (tensor, _) in shard {
            let values = values(tensor)?;
            let (bytes, rounded) = weights.round(tensor, &values)?;
            for (value, kept) in values.iter().zip(&rounded) {
                lost += (f64::from(*value) - f64::from(*kept)).powi(2);
                exact += f64::from(*value).powi(2);
            }
            file.write_all(&bytes).map_err(broken)?;
            index.insert(tensor.clone(), name.clone());
        }
        let file = file.into_inner().map_err(|error| broken(error.into_error()))?;
        file.sync_all().map_err(broken)?;
        total += size;
    }
    if count > 1 {
        let path = folder.join("model.safetensors.index.json");
        let content =
            serde_json::to_vec_pretty(&json!({"metadata": {"total_size": total}, "weight_map": index}))?;
        crate::folder::write_file(&path, &content)?;
    }
    Ok(if exact > 0.0 { (lost / exact).sqrt() } else { 0.0 })
}

fn shards(tensors: Vec<Planned>, weights: WeightType, shard_bytes: usize) -> Vec<Vec<Planned>> {
    let (mut shards, mut shard, mut filled) = (Vec::new(), Vec::new(), 0);
    for (name, shape) in tensors {
        let size = shape.iter().product::<usize>() * weights.size_bytes();
        if filled + size > shard_bytes && !shard.is_empty() {
            shards.push(std::mem::take(&mut shard));
            filled = 0;
        }
        filled += size;
        shard.push((name, shape));
    }
    shards.push(shard);
    shards
}

/// Length and header of a file, and how many bytes of values follow.
fn header(tensors: &[Planned], weights: WeightType) -> Result<(Vec<u8>, usize), ExportError> {
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut end = 0;
    for (name, shape) in tensors {
        let start = end;
        end += shape.iter().product::<usize>() * weights.size_bytes();
        let entry =
            json!({"dtype": weights.safetensors_name(), "shape": shape, "data_offsets": [start, end]});
        entries.insert(name.clone(), entry);
    }
    let mut text = serde_json::to_vec(&entries)?;
    // Values begin at a multiple of eight.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.extend(text);
    Ok((header, end))
}
