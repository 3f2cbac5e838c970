//! Reads a base model from a GGUF file: configuration and tokenizer from its metadata, weights de-quantised to f32.

mod architecture;
mod metadata;

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use candle_core::{Device, quantized::gguf_file::Content};

use crate::{
    model::{self, BaseModel, HostTensor, LoadedModel, ModelConfig, ModelError, Precision, Tensors},
    template::ChatTemplate,
};

use architecture::Architecture;
use metadata::Metadata;

/// A file whose header was read and found sound.
pub(crate) struct GgufModel {
    path: PathBuf,
    content: Content,
    architecture: Architecture,
    /// Shape and constants.
    pub(crate) config: ModelConfig,
}

/// Loads the file.
pub(crate) fn load(path: &Path, precision: Precision) -> Result<LoadedModel, ModelError> {
    let model = GgufModel::open(path)?;
    let metadata = Metadata { path, values: &model.content.metadata };
    let (digest, (tensors, tokenizer)) = rayon::join(
        || model::digest_file(path),
        || rayon::join(|| model.tensors(precision), || metadata.tokenizer(&model.config)),
    );
    let tokenizer = tokenizer?;
    let chat_template = ChatTemplate::new(metadata.text("tokenizer.chat_template"), &tokenizer)
        .map_err(|source| ModelError::Template { path: path.into(), source })?;
    let tensors = tensors?;
    let base = BaseModel {
        config: model.config.clone(),
        tensors: tensors.full,
        quantised: tensors.quantised,
        digest: model::held_digest(digest?.as_str().to_owned(), precision),
        name: model::name_of(path),
    };
    Ok(LoadedModel { base, tokenizer, chat_template })
}

impl GgufModel {
    /// Reads the header and checks that the file holds every tensor whole.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let file = File::open(path).map_err(|source| ModelError::io(path, source))?;
        let file_bytes = file.metadata().map_err(|source| ModelError::io(path, source))?.len();
        let content = Content::read(&mut BufReader::with_capacity(1 << 20, file))
            .map_err(|error| header_error(path, file_bytes, &error))?;
        let metadata = Metadata { path, values: &content.metadata };
        let (architecture, config) = (metadata.architecture()?, metadata.config(&content)?);
        let mut shapes = BTreeMap::new();
        for (name, info) in &content.tensor_infos {
            let known = architecture
                .hugging_face_name(name)
                .ok_or_else(|| ModelError::UnexpectedTensor { path: path.into(), tensor: name.clone() })?;
            shapes.insert(known, info.shape.dims().to_vec());
        }
        model::check_tensors(path, &config, &shapes)?;
        let model = Self { path: path.into(), content, architecture, config };
        model.check_length(file_bytes)?;
        Ok(model)
    }

    fn check_length(&self, file_bytes: u64) -> Result<(), ModelError> {
        for (name, info) in &self.content.tensor_infos {
            let (elements, block) = (info.shape.elem_count(), info.ggml_dtype.block_size());
            let size = (elements / block * info.ggml_dtype.type_size()) as u64;
            let end = self.content.tensor_data_offset.saturating_add(info.offset).saturating_add(size);
            if end > file_bytes {
                let reason = format!("tensor {name} ends at byte {end}, the file at {file_bytes}");
                return Err(ModelError::Truncated { path: self.path.clone(), reason });
            }
        }
        Ok(())
    }

    fn tensors(&self, precision: Precision) -> Result<Tensors, ModelError> {
        let names: Vec<&String> = self.content.tensor_infos.keys().collect();
        Tensors::gather(&names, precision, |name| {
            let known = self.architecture.hugging_face_name(name).ok_or_else(|| {
                ModelError::UnexpectedTensor { path: self.path.clone(), tensor: (*name).clone() }
            })?;
            Ok((known, self.tensor(name)?))
        })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor, ModelError> {
        let mut file = File::open(&self.path).map_err(|source| ModelError::io(&self.path, source))?;
        let format = |error| ModelError::format(&self.path, format!("tensor {name}: {error}"));
        let stored = self.content.tensor(&mut file, name, &Device::Cpu).map_err(format)?;
        let shape = stored.shape().dims().to_vec();
        let values = stored
            .dequantize(&Device::Cpu)
            .and_then(|tensor| tensor.flatten_all())
            .and_then(|tensor| tensor.to_vec1::<f32>())
            .map_err(format)?;
        let heads = match name {
            _ if !self.architecture.interleaves_heads() => return Ok(HostTensor { shape, values }),
            _ if name.ends_with(".attn_q.weight") => self.config.attention_heads,
            _ if name.ends_with(".attn_k.weight") => self.config.key_value_heads,
            _ => return Ok(HostTensor { shape, values }),
        };
        Ok(HostTensor { values: unpermute(&values, heads, self.config.hidden_size), shape })
    }
}

/// Puts the rows of a query or key projection `[heads · width, columns]` back in Hugging Face order.
///
/// GGUF files of the llama architecture pair neighbouring rows for the rotation, Hugging Face the two halves of a head.
fn unpermute(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let mut ordered = Vec::with_capacity(values.len());
    let head_values = values.len() / heads.max(1);
    for head in values.chunks(head_values.max(1)) {
        for parity in 0..2 {
            for row in head.chunks(columns).skip(parity).step_by(2) {
                ordered.extend_from_slice(row);
            }
        }
    }
    ordered
}

fn header_error(path: &Path, file_bytes: u64, error: &candle_core::Error) -> ModelError {
    let text = error.to_string();
    let cut_off = matches!(error, candle_core::Error::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof)
        || text.contains("remaining");
    if cut_off {
        let reason = format!("its header goes beyond the end of the file at byte {file_bytes}");
        return ModelError::Truncated { path: path.into(), reason };
    }
    ModelError::format(path, text.lines().next().unwrap_or_default())
}

impl std::fmt::Debug for GgufModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GgufModel").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
