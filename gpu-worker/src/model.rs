//! A base model in memory: its configuration and its weights as f32, under Hugging Face tensor names.

mod digest;
mod error;
mod held;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

pub use error::ModelError;
pub use held::{Precision, Quantised};

pub(crate) use digest::{digest_file, digest_files};
pub(crate) use held::{Stored, Tensors, held_digest, is_linear, may_stay_quantised};

use crate::{gguf, hf, ops::gated::Activation, template::ChatTemplate, tokenizer::Tokenizer};

/// A dense row-major f32 tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Sizes of the dimensions, outermost first; the product equals `values.len()`.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub values: Vec<f32>,
}

/// Rescaling of rotary frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// All frequencies are divided by the factor.
    Linear {
        /// How far the context was stretched, e.g. 8.
        factor: f32,
    },
    /// As Llama 3 defines it.
    Llama3(Llama3Scaling),
}

/// Rescaling of low rotary frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3Scaling {
    /// How far the context was stretched, e.g. 8.
    pub factor: f32,
    /// Wavelengths above `original_max_positions / low_freq_factor` are divided by `factor`.
    pub low_freq_factor: f32,
    /// Wavelengths below `original_max_positions / high_freq_factor` stay as they are.
    pub high_freq_factor: f32,
    /// Context length before stretching.
    pub original_max_positions: usize,
}

/// In what a decoder differs from Llama's. The default is Llama.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variant {
    /// Query, key and value projections have a bias (Qwen2).
    pub query_key_value_bias: bool,
    /// Each head of queries and keys is normalised before it is rotated (Qwen3, Gemma 3).
    pub query_key_norm: bool,
    /// What attention and gated layers give is normalised before it is added (Gemma 3).
    pub output_norms: bool,
    /// What is applied to the gate.
    pub activation: Activation,
    /// What embeddings are multiplied by, if not 1.
    pub embedding_scale: Option<f32>,
    /// What attention scores are multiplied by, if not `1/√head_dim`.
    pub score_scale: Option<f32>,
    /// Keys that a query sees in layers with a window.
    pub window: Option<usize>,
    /// Whether each layer has that window; empty when all see everything.
    pub windowed_layers: Vec<bool>,
    /// Base of the rotary frequencies in layers with a window, if another one.
    pub windowed_rope_theta: Option<f32>,
    /// The size that logits stay below: they become `cap · tanh(logit / cap)`.
    pub logit_cap: Option<f32>,
}

/// Shape and constants of a Llama-family decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the gate/up and the down projection.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub layers: usize,
    /// Query heads.
    pub attention_heads: usize,
    /// Key and value heads; divides `attention_heads`.
    pub key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Added to the mean square in RMS normalisation.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Frequency rescaling, where the model has one.
    pub rope_scaling: Option<RopeScaling>,
    /// Longest sequence the model was made for.
    pub max_positions: usize,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Beginning-of-sequence token, where the model has one.
    pub bos_token: Option<u32>,
    /// Tokens that end a generation; at least one.
    pub eos_tokens: Vec<u32>,
    /// In what it differs from Llama.
    pub variant: Variant,
}

impl ModelConfig {
    /// Whether a layer sees a window alone.
    pub fn is_windowed(&self, layer: usize) -> bool {
        self.variant.windowed_layers.get(layer).copied().unwrap_or_default()
    }
}

/// A frozen base model.
#[derive(Debug, Clone)]
pub struct BaseModel {
    /// Shape and constants.
    pub config: ModelConfig,
    /// Weights by Hugging Face name, e.g. `model.layers.0.self_attn.q_proj.weight` `[out, in]`;
    /// `lm_head.weight` is absent when the embeddings are tied.
    pub tensors: BTreeMap<String, HostTensor>,
    /// Matrices in fewer bits; those are absent in `tensors`.
    pub quantised: BTreeMap<String, Quantised>,
    /// SHA-256, lower-case hex, of the weight files and the configuration, and of how the weights are held.
    pub digest: String,
    /// Name for people and for `adapter_config.json`, e.g. the folder's name.
    pub name: String,
}

impl BaseModel {
    /// Bytes of all weights as they are held.
    pub fn bytes(&self) -> usize {
        let full: usize = self.tensors.values().map(|tensor| size_of_val(tensor.values.as_slice())).sum();
        full + self.quantised.values().map(Quantised::bytes).sum::<usize>()
    }
}

/// A base model with everything needed to use it.
#[derive(Debug)]
pub struct LoadedModel {
    /// Configuration and weights.
    pub base: BaseModel,
    /// Turns text into tokens and back.
    pub tokenizer: Tokenizer,
    /// Turns conversations into text.
    pub chat_template: ChatTemplate,
}

/// What the headers of a base model say; cheap to get.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// Name for people, without the path.
    pub name: String,
    /// Shape and constants.
    pub config: ModelConfig,
    /// Weights in the model.
    pub parameters: u64,
    /// `general.architecture` of GGUF files of such models.
    pub gguf_architecture: &'static str,
}

/// Loads a base model, its tokenizer and its chat template from a Hugging Face folder or a GGUF file.
///
/// # Errors
/// [`ModelError`] names the file and what is wrong with it.
pub fn load(path: &Path, precision: Precision) -> Result<LoadedModel, ModelError> {
    match kind_of(path)? {
        Kind::Folder => hf::load(path, precision),
        Kind::Gguf => gguf::load(path, precision),
    }
}

/// Reads headers only: the architecture is known, every tensor is there with the right shape, no file is cut off.
///
/// # Errors
/// As [`load`], except for what only the tokenizer or the weights themselves show.
pub fn inspect(path: &Path) -> Result<ModelInfo, ModelError> {
    let (config, gguf_architecture) = match kind_of(path)? {
        Kind::Folder => {
            let model = hf::HfModel::open(path)?;
            (model.config.clone(), model.gguf_architecture())
        }
        Kind::Gguf => {
            let model = gguf::GgufModel::open(path)?;
            (model.config.clone(), model.gguf_architecture())
        }
    };
    let parameters =
        tensor_shapes(&config).iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum();
    Ok(ModelInfo { name: name_of(path), config, parameters, gguf_architecture })
}

/// The tensors of a model with their shapes, under Hugging Face names.
pub fn tensor_shapes(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let queries = config.attention_heads * config.head_dim;
    let keys = config.key_value_heads * config.head_dim;
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![config.vocab_size, hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    if !config.tie_word_embeddings {
        shapes.push(("lm_head.weight".to_owned(), vec![config.vocab_size, hidden]));
    }
    for layer in 0..config.layers {
        let blocks = [
            ("input_layernorm", vec![hidden]),
            ("post_attention_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![queries, hidden]),
            ("self_attn.k_proj", vec![keys, hidden]),
            ("self_attn.v_proj", vec![keys, hidden]),
            ("self_attn.o_proj", vec![hidden, queries]),
            ("mlp.gate_proj", vec![inner, hidden]),
            ("mlp.up_proj", vec![inner, hidden]),
            ("mlp.down_proj", vec![hidden, inner]),
        ];
        let variant = &config.variant;
        let heads =
            [("self_attn.q_norm", vec![config.head_dim]), ("self_attn.k_norm", vec![config.head_dim])];
        let outputs =
            [("pre_feedforward_layernorm", vec![hidden]), ("post_feedforward_layernorm", vec![hidden])];
        let blocks = blocks
            .into_iter()
            .chain(heads.into_iter().filter(|_| variant.query_key_norm))
            .chain(outputs.into_iter().filter(|_| variant.output_norms));
        shapes.extend(blocks.map(|(part, shape)| (format!("model.layers.{layer}.{part}.weight"), shape)));
        if variant.query_key_value_bias {
            let biases = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)];
            let name = |part| format!("model.layers.{layer}.self_attn.{part}.bias");
            shapes.extend(biases.map(|(part, width)| (name(part), vec![width])));
        }
    }
    shapes
}

/// Checks that a file's header lists exactly the tensors that the configuration asks for.
pub(crate) fn check_tensors(
    path: &Path,
    config: &ModelConfig,
    found: &BTreeMap<String, Vec<usize>>,
) -> Result<(), ModelError> {
    let expected = tensor_shapes(config);
    for (tensor, shape) in &expected {
        match found.get(tensor) {
            None => return Err(ModelError::MissingTensor { path: path.into(), tensor: tensor.clone() }),
            Some(got) if got != shape => {
                return Err(ModelError::Shape {
                    path: path.into(),
                    tensor: tensor.clone(),
                    got: got.clone(),
                    expected: shape.clone(),
                });
            }
            Some(_) => {}
        }
    }
    let known: BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    match found.keys().find(|name| !known.contains(name.as_str())) {
        Some(tensor) => Err(ModelError::UnexpectedTensor { path: path.into(), tensor: tensor.clone() }),
        None => Ok(()),
    }
}

/// The file's or folder's own name, without the extension `.gguf`.
pub(crate) fn name_of(path: &Path) -> String {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name =
        absolute.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
    name.strip_suffix(".gguf").map(str::to_owned).unwrap_or(name)
}

enum Kind {
    Folder,
    Gguf,
}

fn kind_of(path: &Path) -> Result<Kind, ModelError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(ModelError::NotFound { path: path.into() });
        }
        Err(source) => return Err(ModelError::Io { path: path.into(), source }),
    };
    if metadata.is_dir() {
        return Ok(Kind::Folder);
    }
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
        return Ok(Kind::Gguf);
    }
    Err(ModelError::NotAModel { path: path.into() })
}
