//! In what the architectures of decoders differ, as GGUF files have them.

use crate::{model::Variant, ops::gated::Activation};

/// An architecture of decoders, by `general.architecture`. A Mistral is written as a Llama, without its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
}

/// What of the shape a variant depends on.
pub(super) struct Shape {
    pub(super) hidden_size: usize,
    pub(super) layers: usize,
    pub(super) window: Option<usize>,
    pub(super) logit_cap: Option<f32>,
}

impl Architecture {
    /// The architecture of that name.
    pub(super) fn from_architecture(name: &str) -> Option<Self> {
        [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Gemma3]
            .into_iter()
            .find(|architecture| architecture.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3",
        }
    }

    /// A key of the architecture's own metadata.
    pub(super) fn key(self, name: &str) -> String {
        format!("{}.{name}", self.name())
    }

    /// Base of the rotary frequencies where the file does not say.
    pub(super) fn rope_theta(self) -> f32 {
        match self {
            Self::Llama | Self::Qwen2 | Self::Qwen3 => 10_000.0,
            Self::Gemma3 => 1_000_000.0,
        }
    }

    /// Whether rows of queries and keys are interleaved, so that neighbours rotate together.
    pub(super) fn interleaves_heads(self) -> bool {
        self == Self::Llama
    }

    /// In what the architecture differs from Llama. Norms of Gemma are stored whole, not less one as in its own files.
    #[expect(clippy::cast_precision_loss, reason = "a width is far below 2²⁴")]
    pub(super) fn variant(self, Shape { hidden_size, layers, window, logit_cap }: Shape) -> Variant {
        match self {
            Self::Llama => Variant::default(),
            Self::Qwen2 => Variant { query_key_value_bias: true, ..Variant::default() },
            Self::Qwen3 => Variant { query_key_norm: true, ..Variant::default() },
            Self::Gemma3 => Variant {
                query_key_norm: true,
                output_norms: true,
                activation: Activation::Gelu,
                embedding_scale: Some((hidden_size as f32).sqrt()),
                window,
                // Every sixth layer sees everything.
                windowed_layers: window
                    .map_or_else(Vec::new, |_| (1..=layers).map(|layer| !layer.is_multiple_of(6)).collect()),
                windowed_rope_theta: Some(10_000.0),
                logit_cap,
                ..Variant::default()
            },
        }
    }

    /// The Hugging Face name of a tensor.
    pub(super) fn hugging_face_name(self, name: &str) -> Option<String> {
        match name {
            "token_embd.weight" => return Some("model.embed_tokens.weight".into()),
            "output_norm.weight" => return Some("model.norm.weight".into()),
            "output.weight" => return Some("lm_head.weight".into()),
            _ => {}
        }
        let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        let (part, kind) = part.rsplit_once('.')?;
        let has_output_norms = self == Self::Gemma3;
        let known = match part {
            "attn_norm" => "input_layernorm",
            "ffn_norm" if has_output_norms => "pre_feedforward_layernorm",
            "ffn_norm" | "post_attention_norm" => "post_attention_layernorm",
            "post_ffw_norm" => "post_feedforward_layernorm",
            "attn_q_norm" => "self_attn.q_norm",
            "attn_k_norm" => "self_attn.k_norm",
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_output" => "self_attn.o_proj",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" => "mlp.up_proj",
            "ffn_down" => "mlp.down_proj",
            _ => return None,
        };
        Some(format!("model.layers.{layer}.{known}.{kind}"))
    }
}
