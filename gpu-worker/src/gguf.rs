//! Reads a base model from a GGUF file: configuration and tokenizer from its metadata, weights in its own blocks or in f32.

mod architecture;
mod metadata;

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use candle_core::{
    Device,
    quantized::{
        GgmlDType,
        gguf_file::{Content, TensorInfo},
    },
};

use crate::{
    model::{
        self, BaseModel, HostTensor, LoadedModel, ModelConfig, ModelError, Precision, Quantised, Stored,
        Tensors,
    },
    ops::ggml::{BlockFormat, BlockMatrix},
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
        digest: model::held_digest(digest?.as_str().to_owned(), tensors.requantised),
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

    /// `general.architecture`.
    pub(crate) fn gguf_architecture(&self) -> &'static str {
        self.architecture.name()
    }

    /// Source of the chat template, where the file has one.
    pub(crate) fn chat_template(&self) -> Option<&str> {
        Metadata { path: &self.path, values: &self.content.metadata }.text("tokenizer.chat_template")
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
            let tensor = self.tensor(name, model::may_stay_quantised(&known))?;
            Ok((known, tensor))
        })
    }

    /// A tensor, in the file's blocks where they are known and `quantised` is wanted.
    fn tensor(&self, name: &str, quantised: bool) -> Result<Stored, ModelError> {
        let info = self.content.tensor_infos.get(name);
        let format = info.and_then(|info| block_format(info.ggml_dtype));
        match (info, info.map(|info| info.shape.dims()), format) {
            (Some(info), Some(&[rows, columns]), Some(format)) if quantised => {
                self.blocks(name, info, (format, [rows, columns]))
            }
            _ => Ok(Stored::Full(self.values(name)?)),
        }
    }

    fn blocks(
        &self,
        name: &str,
        info: &TensorInfo,
        (format, shape): (BlockFormat, [usize; 2]),
    ) -> Result<Stored, ModelError> {
        let file = File::open(&self.path).map_err(|source| ModelError::io(&self.path, source))?;
        let mut bytes = vec![0; info.shape.elem_count() / format.columns() * format.file_bytes()];
        let offset = self.content.tensor_data_offset.saturating_add(info.offset);
        file.read_exact_at(&mut bytes, offset).map_err(|source| ModelError::io(&self.path, source))?;
        let head_rows = self.interleaved_heads(name).map(|heads| shape[0] / heads.max(1));
        let source_row = |row: usize| head_rows.map_or(row, |rows| interleaved_row(row, rows));
        let blocks = BlockMatrix::new(format, shape, &bytes, source_row)
            .map_err(|error| ModelError::format(&self.path, format!("tensor {name}: {error}")))?;
        Ok(Stored::Quantised(Quantised::Blocks(blocks)))
    }

    fn values(&self, name: &str) -> Result<HostTensor, ModelError> {
        let mut file = File::open(&self.path).map_err(|source| ModelError::io(&self.path, source))?;
        let format = |error| ModelError::format(&self.path, format!("tensor {name}: {error}"));
        let stored = self.content.tensor(&mut file, name, &Device::Cpu).map_err(format)?;
        let shape = stored.shape().dims().to_vec();
        let values = stored
            .dequantize(&Device::Cpu)
            .and_then(|tensor| tensor.flatten_all())
            .and_then(|tensor| tensor.to_vec1::<f32>())
            .map_err(format)?;
        let (Some(heads), [_, columns]) = (self.interleaved_heads(name), shape.as_slice()) else {
            return Ok(HostTensor { shape, values });
        };
        let values = uninterleave(&values, heads, *columns);
        Ok(HostTensor { shape, values })
    }

    /// Heads of a query or key projection whose rows are interleaved.
    fn interleaved_heads(&self, name: &str) -> Option<usize> {
        match name {
            _ if !self.architecture.interleaves_heads() => None,
            _ if name.ends_with(".attn_q.weight") => Some(self.config.attention_heads),
            _ if name.ends_with(".attn_k.weight") => Some(self.config.key_value_heads),
            _ => None,
        }
    }
}

/// Where a row of a query or key projection lies in the file; a head has `rows` of them.
///
/// GGUF files of the llama architecture pair neighbouring rows for the rotation, Hugging Face the two halves of a head.
fn interleaved_row(row: usize, rows: usize) -> usize {
    let (head, row) = (row / rows.max(1), row % rows.max(1));
    let (parity, pair) = (row / (rows / 2).max(1), row % (rows / 2).max(1));
    head * rows + 2 * pair + parity
}

/// The blocks that can be kept; F32, F16, BF16 and rarely used blocks become f32.
fn block_format(dtype: GgmlDType) -> Option<BlockFormat> {
    match dtype {
        GgmlDType::Q4_0 => Some(BlockFormat::Q4_0),
        GgmlDType::Q4_1 => Some(BlockFormat::Q4_1),
        GgmlDType::Q5_0 => Some(BlockFormat::Q5_0),
        GgmlDType::Q5_1 => Some(BlockFormat::Q5_1),
        GgmlDType::Q8_0 => Some(BlockFormat::Q8_0),
        GgmlDType::Q4K => Some(BlockFormat::Q4K),
        GgmlDType::Q5K => Some(BlockFormat::Q5K),
        GgmlDType::Q6K => Some(BlockFormat::Q6K),
        _ => None,
    }
}

/// The rows of such a projection in the order of Hugging Face, given those of a file of the llama architecture.
pub(crate) fn uninterleave(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    let mut ordered = Vec::with_capacity(values.len());
    for row in 0..rows {
        let start = interleaved_row(row, rows / heads.max(1)) * columns;
        ordered.extend_from_slice(values.get(start..start + columns).unwrap_or_default());
    }
    ordered
}

/// The reverse of [`uninterleave`].
pub(crate) fn interleave(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    let mut paired = vec![0.0; values.len()];
    for (row, from) in values.chunks(columns.max(1)).enumerate() {
        let start = interleaved_row(row, rows / heads.max(1)) * columns;
        if let Some(into) = paired.get_mut(start..start + from.len()) {
            into.copy_from_slice(from);
        }
    }
    paired
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
