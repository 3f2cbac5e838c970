//! Parses `config.json` and the small files beside it.

use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::architecture::Architecture;
use crate::{
    model::{Llama3Scaling, ModelConfig, ModelError, RopeScaling},
    tokenizer::SpecialTokens,
};

#[derive(Deserialize)]
pub(super) struct RawConfig {
    pub(super) hidden_size: usize,
    intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    rope_local_base_freq: Option<f32>,
    max_position_embeddings: usize,
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    pub(super) attention_bias: bool,
    #[serde(default)]
    pub(super) mlp_bias: bool,
    pub(super) hidden_act: Option<String>,
    pub(super) hidden_activation: Option<String>,
    pub(super) query_pre_attn_scalar: Option<f32>,
    pub(super) attn_logit_softcapping: Option<f32>,
    pub(super) final_logit_softcapping: Option<f32>,
    /// Where it is absent transformers takes 4096, where it is `null` nothing has a window.
    #[serde(default = "unsaid_window")]
    pub(super) sliding_window: Option<usize>,
    #[serde(default)]
    pub(super) use_sliding_window: bool,
    pub(super) max_window_layers: Option<usize>,
    sliding_window_pattern: Option<usize>,
    #[serde(rename = "_sliding_window_pattern")]
    old_sliding_window_pattern: Option<usize>,
    pub(super) use_bidirectional_attention: Option<bool>,
    pub(super) layer_types: Option<Vec<String>>,
    pub(super) quantization_config: Option<Value>,
    bos_token_id: Option<TokenIds>,
    eos_token_id: Option<TokenIds>,
}

#[derive(Deserialize)]
struct RawRope {
    rope_type: Option<String>,
    #[serde(rename = "type")]
    old_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<usize>,
    full_attention: Option<Box<RawRope>>,
    sliding_attention: Option<Box<RawRope>>,
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
fn unsaid_window() -> Option<usize> {
    Some(4096)
}

impl RawRope {
    fn kind(&self) -> &str {
        self.rope_type.as_deref().or(self.old_type.as_deref()).unwrap_or("default")
    }
}

impl RawConfig {
    /// Of so many layers one sees everything.
    pub(super) fn window_pattern(&self) -> Option<usize> {
        self.sliding_window_pattern.or(self.old_sliding_window_pattern)
    }

    /// Kind of rescaling in layers with a window, where it is named.
    pub(super) fn windowed_rope_kind(&self) -> Option<&str> {
        let own = self.rope_parameters.as_ref().and_then(|rope| rope.sliding_attention.as_deref());
        own.map(RawRope::kind)
    }

    /// How layers that see everything rotate.
    fn rope(&self) -> Option<&RawRope> {
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())?;
        Some(rope.full_attention.as_deref().unwrap_or(rope))
    }

    /// Base of the frequencies in layers with a window, where they have their own.
    pub(super) fn windowed_rope_theta(&self) -> Option<f32> {
        let own = self.rope_parameters.as_ref().and_then(|rope| rope.sliding_attention.as_deref());
        own.and_then(|rope| rope.rope_theta).or(self.rope_local_base_freq)
    }
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum TokenIds {
    One(u32),
    Several(Vec<u32>),
}

impl TokenIds {
    fn list(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Several(ids) => ids,
        }
    }
}

#[derive(Deserialize, Default)]
struct RawGeneration {
    bos_token_id: Option<TokenIds>,
    eos_token_id: Option<TokenIds>,
}

#[derive(Deserialize, Default)]
struct RawTokenizerConfig {
    add_bos_token: Option<bool>,
    chat_template: Option<RawTemplate>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawTemplate {
    One(String),
    Several(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

/// What the folder's small files say.
pub(super) struct Read {
    pub(super) config: ModelConfig,
    pub(super) special: SpecialTokens,
    /// Source of the chat template.
    pub(super) chat_template: Option<String>,
    pub(super) architecture: Architecture,
}

/// Reads configuration, special tokens and chat template.
pub(super) fn read(folder: &Path) -> Result<Read, ModelError> {
    let path = folder.join("config.json");
    if !path.exists() {
        return Err(ModelError::NotAModel { path: folder.into() });
    }
    let kind: Value = parse(&path)?;
    let kind = kind.get("model_type").and_then(Value::as_str).unwrap_or("(none named)");
    let Some(architecture) = Architecture::from_type(kind) else {
        return Err(ModelError::Architecture { path, found: kind.to_owned() });
    };
    let raw: RawConfig = parse(&path)?;
    let generation: RawGeneration = parse_if_there(&folder.join("generation_config.json"))?;
    let tokenizer: RawTokenizerConfig = parse_if_there(&folder.join("tokenizer_config.json"))?;
    let ids =
        |preferred: Option<TokenIds>, other| preferred.or(other).map(TokenIds::list).unwrap_or_default();
    let special = SpecialTokens {
        bos: ids(generation.bos_token_id, raw.bos_token_id.clone()).first().copied(),
        eos: ids(generation.eos_token_id, raw.eos_token_id.clone()),
        add_bos: tokenizer.add_bos_token,
    };
    if special.eos.is_empty() {
        return Err(ModelError::config(&path, "no eos_token_id, neither here nor in generation_config.json"));
    }
    let config = convert(&path, &raw, architecture, &special)?;
    let chat_template = template_source(folder, tokenizer.chat_template)?;
    Ok(Read { config, special, chat_template, architecture })
}

fn convert(
    path: &Path,
    raw: &RawConfig,
    architecture: Architecture,
    special: &SpecialTokens,
) -> Result<ModelConfig, ModelError> {
    let variant = architecture.variant(path, raw)?;
    let head_dim = match raw.head_dim {
        Some(width) => width,
        None if architecture.head_dim().is_some() => architecture.head_dim().unwrap_or_default(),
        None if raw.num_attention_heads > 0 => raw.hidden_size / raw.num_attention_heads,
        None => return Err(ModelError::config(path, "num_attention_heads is 0; expected at least 1")),
    };
    let rope = raw.rope();
    let theta = raw.rope_theta.or(rope.and_then(|rope| rope.rope_theta));
    Ok(ModelConfig {
        hidden_size: raw.hidden_size,
        intermediate_size: raw.intermediate_size,
        layers: raw.num_hidden_layers,
        attention_heads: raw.num_attention_heads,
        key_value_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
        head_dim,
        vocab_size: raw.vocab_size,
        rms_norm_eps: raw.rms_norm_eps,
        rope_theta: theta.unwrap_or(architecture.rope_theta()),
        rope_scaling: rope.map(|rope| scaling(path, rope)).transpose()?.flatten(),
        max_positions: raw.max_position_embeddings,
        tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(architecture.ties_embeddings()),
        bos_token: special.bos,
        eos_tokens: special.eos.clone(),
        variant,
    })
}

fn scaling(path: &Path, rope: &RawRope) -> Result<Option<RopeScaling>, ModelError> {
    match rope.kind() {
        "default" => Ok(None),
        "linear" => {
            let factor = rope.factor.filter(|factor| *factor > 0.0 && factor.is_finite());
            let lacking = || ModelError::config(path, "rope scaling linear needs a factor above 0");
            Ok(Some(RopeScaling::Linear { factor: factor.ok_or_else(lacking)? }))
        }
        "llama3" => {
            let lacking =
                |field: &str| ModelError::config(path, format!("rope scaling llama3 lacks {field}"));
            Ok(Some(RopeScaling::Llama3(Llama3Scaling {
                factor: rope.factor.ok_or_else(|| lacking("factor"))?,
                low_freq_factor: rope.low_freq_factor.ok_or_else(|| lacking("low_freq_factor"))?,
                high_freq_factor: rope.high_freq_factor.ok_or_else(|| lacking("high_freq_factor"))?,
                original_max_positions: rope
                    .original_max_position_embeddings
                    .ok_or_else(|| lacking("original_max_position_embeddings"))?,
            })))
        }
        other => Err(ModelError::unsupported(path, format!("rope scaling `{other}`"))),
    }
}

fn template_source(folder: &Path, configured: Option<RawTemplate>) -> Result<Option<String>, ModelError> {
    let path = folder.join("chat_template.jinja");
    if path.exists() {
        return std::fs::read_to_string(&path).map(Some).map_err(|source| ModelError::io(&path, source));
    }
    Ok(match configured {
        None => None,
        Some(RawTemplate::One(source)) => Some(source),
        Some(RawTemplate::Several(list)) => {
            list.into_iter().find(|entry| entry.name == "default").map(|entry| entry.template)
        }
    })
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = std::fs::read(path).map_err(|source| ModelError::io(path, source))?;
    serde_json::from_slice(&text).map_err(|error| ModelError::config(path, error.to_string()))
}

fn parse_if_there<T: DeserializeOwned + Default>(path: &Path) -> Result<T, ModelError> {
    if path.exists() { parse(path) } else { Ok(T::default()) }
}
