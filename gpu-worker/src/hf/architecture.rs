//! In what the architectures of decoders differ, as their `config.json` says.

use std::path::Path;

use super::{bitsandbytes, config::RawConfig};
use crate::{
    model::{ModelError, Variant},
    ops::gated::Activation,
};

/// An architecture of decoders, by `model_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Architecture {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Gemma3,
}

impl Architecture {
    /// The architecture of a `model_type`.
    pub(super) fn from_type(name: &str) -> Option<Self> {
        match name {
            "llama" => Some(Self::Llama),
            "mistral" => Some(Self::Mistral),
            "qwen2" => Some(Self::Qwen2),
            "qwen3" => Some(Self::Qwen3),
            "gemma3_text" => Some(Self::Gemma3),
            _ => None,
        }
    }

    /// Its name in GGUF files, where a Mistral is a Llama.
    pub(super) fn gguf_name(self) -> &'static str {
        match self {
            Self::Llama | Self::Mistral => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3",
        }
    }

    /// Whether the head is the embedding when the configuration does not say.
    pub(super) fn ties_embeddings(self) -> bool {
        self == Self::Gemma3
    }

    /// Width of a head when the configuration does not say and the architecture has a width of its own.
    pub(super) fn head_dim(self) -> Option<usize> {
        match self {
            Self::Llama | Self::Mistral | Self::Qwen2 => None,
            Self::Qwen3 => Some(128),
            Self::Gemma3 => Some(256),
        }
    }

    /// Base of the rotary frequencies when the configuration does not say.
    pub(super) fn rope_theta(self) -> f32 {
        match self {
            Self::Llama | Self::Mistral | Self::Qwen2 | Self::Qwen3 => 10_000.0,
            Self::Gemma3 => 1_000_000.0,
        }
    }

    /// Whether the weights of normalisations are stored as what is added to 1.
    pub(super) fn stores_norms_less_one(self) -> bool {
        self == Self::Gemma3
    }

    /// What the configuration makes of the architecture; refuses what is not computed here.
    #[expect(clippy::cast_precision_loss, reason = "a width is far below 2²⁴")]
    pub(super) fn variant(self, path: &Path, raw: &RawConfig) -> Result<Variant, ModelError> {
        self.check(path, raw)?;
        let window = self.window(raw);
        let windowed_layers = match window {
            Some(0) => {
                return Err(ModelError::config(path, "sliding_window is 0; expected at least 1, or null"));
            }
            Some(_) => self.windowed_layers(path, raw)?,
            None => Vec::new(),
        };
        let llama = Variant {
            activation: self.activation(path, raw)?,
            window,
            windowed_layers,
            ..Variant::default()
        };
        Ok(match self {
            Self::Llama | Self::Mistral => llama,
            Self::Qwen2 => Variant { query_key_value_bias: true, ..llama },
            Self::Qwen3 => Variant { query_key_norm: true, ..llama },
            Self::Gemma3 => Variant {
                query_key_norm: true,
                output_norms: true,
                embedding_scale: Some((raw.hidden_size as f32).sqrt()),
                score_scale: Some(1.0 / raw.query_pre_attn_scalar.unwrap_or(256.0).sqrt()),
                windowed_rope_theta: Some(raw.windowed_rope_theta().unwrap_or(10_000.0)),
                logit_cap: raw.final_logit_softcapping,
                ..llama
            },
        })
    }

    fn check(self, path: &Path, raw: &RawConfig) -> Result<(), ModelError> {
        for (option, set) in [("attention_bias", raw.attention_bias), ("mlp_bias", raw.mlp_bias)] {
            // The biases of Qwen2 are part of the architecture, whatever this option says.
            if set && self != Self::Qwen2 {
                return Err(ModelError::unsupported(path, format!("{option} = true")));
            }
        }
        if let Some(cap) = raw.attn_logit_softcapping {
            return Err(ModelError::unsupported(path, format!("attn_logit_softcapping = {cap}")));
        }
        if let Some(cap) = raw.final_logit_softcapping {
            if self != Self::Gemma3 {
                return Err(ModelError::unsupported(path, format!("final_logit_softcapping = {cap}")));
            }
            if !(cap.is_finite() && cap > 0.0) {
                let reason = format!("final_logit_softcapping is {cap}; expected a number above 0, or null");
                return Err(ModelError::config(path, reason));
            }
        }
        if raw.use_bidirectional_attention == Some(true) {
            return Err(ModelError::unsupported(path, "use_bidirectional_attention = true"));
        }
        if let Some(kind) = raw.windowed_rope_kind().filter(|kind| *kind != "default") {
            return Err(ModelError::unsupported(
                path,
                format!("rope scaling `{kind}` in layers with a window"),
            ));
        }
        match &raw.quantization_config {
            Some(config) => bitsandbytes::check_config(path, config),
            None => Ok(()),
        }
    }

    fn activation(self, path: &Path, raw: &RawConfig) -> Result<Activation, ModelError> {
        let default = if self == Self::Gemma3 { "gelu_pytorch_tanh" } else { "silu" };
        let named = raw.hidden_activation.as_deref().or(raw.hidden_act.as_deref()).unwrap_or(default);
        match named {
            "silu" => Ok(Activation::Silu),
            "gelu_pytorch_tanh" => Ok(Activation::Gelu),
            other => Err(ModelError::unsupported(path, format!("hidden_act = {other}"))),
        }
    }

    /// Keys that layers with a window see, as transformers reads it; `None` when all see everything.
    fn window(self, raw: &RawConfig) -> Option<usize> {
        match self {
            Self::Mistral | Self::Gemma3 => raw.sliding_window,
            Self::Qwen2 | Self::Qwen3 if raw.use_sliding_window => raw.sliding_window,
            Self::Llama | Self::Qwen2 | Self::Qwen3 => None,
        }
    }

    /// Which layers see that window.
    fn windowed_layers(self, path: &Path, raw: &RawConfig) -> Result<Vec<bool>, ModelError> {
        let layers = raw.num_hidden_layers;
        if self == Self::Mistral {
            return Ok(vec![true; layers]);
        }
        if let Some(kinds) = &raw.layer_types {
            if kinds.len() != layers {
                let reason = format!("layer_types names {} layers; expected {layers}", kinds.len());
                return Err(ModelError::config(path, reason));
            }
            let is_windowed = |kind: &String| match kind.as_str() {
                "sliding_attention" => Ok(true),
                "full_attention" => Ok(false),
                other => Err(ModelError::unsupported(path, format!("layer type `{other}`"))),
            };
            return kinds.iter().map(is_windowed).collect();
        }
        Ok(match self {
            Self::Gemma3 => {
                let every = raw.window_pattern().unwrap_or(6).max(1);
                (1..=layers).map(|layer| !layer.is_multiple_of(every)).collect()
            }
            Self::Llama | Self::Mistral | Self::Qwen2 | Self::Qwen3 => {
                (0..layers).map(|layer| layer >= raw.max_window_layers.unwrap_or(28)).collect()
            }
        })
    }
}
