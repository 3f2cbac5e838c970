//! What the metadata of a GGUF file says about shape, constants and tokenizer.

use std::{collections::HashMap, path::Path};

use candle_core::quantized::gguf_file::{Content, Value};

use crate::{
    model::{ModelConfig, ModelError, RopeScaling},
    tokenizer::{SentencePieces, SpecialTokens, Tokenizer, Vocabulary},
};

use super::architecture::{Architecture, Shape};

/// The metadata of one file.
pub(super) struct Metadata<'a> {
    pub(super) path: &'a Path,
    pub(super) values: &'a HashMap<String, Value>,
}

const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

impl<'a> Metadata<'a> {
    /// The architecture, by its architecture.
    pub(super) fn architecture(&self) -> Result<Architecture, ModelError> {
        let found = self.text("general.architecture").unwrap_or("(none named)");
        Architecture::from_architecture(found)
            .ok_or_else(|| ModelError::Architecture { path: self.path.into(), found: found.to_owned() })
    }

    /// Shape and constants.
    pub(super) fn config(&self, content: &Content) -> Result<ModelConfig, ModelError> {
        let architecture = self.architecture()?;
        let key = |name: &str| architecture.key(name);
        self.check_options(architecture, content)?;
        let embedding = content.tensor_infos.get("token_embd.weight").ok_or_else(|| {
            ModelError::MissingTensor { path: self.path.into(), tensor: "token_embd.weight".into() }
        })?;
        let hidden_size = self.size(&key("embedding_length"))?;
        let attention_heads = self.size(&key("attention.head_count"))?;
        if attention_heads == 0 {
            let reason = format!("{} is 0; expected at least 1", key("attention.head_count"));
            return Err(ModelError::config(self.path, reason));
        }
        let head_dim = match self.number(&key("attention.key_length")) {
            Some(_) => self.size(&key("attention.key_length"))?,
            None => hidden_size / attention_heads,
        };
        let layers = self.size(&key("block_count"))?;
        let window = match self.number(&key("attention.sliding_window")) {
            Some(_) => Some(self.size(&key("attention.sliding_window"))?),
            None => None,
        };
        let logit_cap = self.cap(&key("final_logit_softcapping"))?;
        let special = self.special_tokens()?;
        Ok(ModelConfig {
            hidden_size,
            intermediate_size: self.size(&key("feed_forward_length"))?,
            layers,
            attention_heads,
            key_value_heads: match self.number(&key("attention.head_count_kv")) {
                Some(_) => self.size(&key("attention.head_count_kv"))?,
                None => attention_heads,
            },
            head_dim,
            vocab_size: embedding.shape.dims().first().copied().unwrap_or_default(),
            rms_norm_eps: self.float(&key("attention.layer_norm_rms_epsilon")).ok_or_else(|| {
                let missing = format!("{} is missing", key("attention.layer_norm_rms_epsilon"));
                ModelError::config(self.path, missing)
            })?,
            rope_theta: self.float(&key("rope.freq_base")).unwrap_or(architecture.rope_theta()),
            rope_scaling: self.rope_scaling(architecture),
            max_positions: self.size(&key("context_length"))?,
            tie_word_embeddings: !content.tensor_infos.contains_key("output.weight"),
            bos_token: special.bos,
            eos_tokens: special.eos,
            variant: architecture.variant(Shape { hidden_size, layers, window, logit_cap }),
        })
    }

    /// A cap of logits; 0 is none.
    fn cap(&self, key: &str) -> Result<Option<f32>, ModelError> {
        match self.float(key) {
            None | Some(0.0) => Ok(None),
            Some(cap) if cap.is_finite() && cap > 0.0 => Ok(Some(cap)),
            Some(cap) => {
                Err(ModelError::config(self.path, format!("{key} is {cap}; expected a number above 0")))
            }
        }
    }

    fn rope_scaling(&self, architecture: Architecture) -> Option<RopeScaling> {
        let factor = self.float(&architecture.key("rope.scaling.factor")).filter(|factor| *factor > 0.0)?;
        let kind = self.text(&architecture.key("rope.scaling.type"));
        (kind == Some("linear")).then_some(RopeScaling::Linear { factor })
    }

    fn check_options(&self, architecture: Architecture, content: &Content) -> Result<(), ModelError> {
        let kind = self.text(&architecture.key("rope.scaling.type"));
        if let Some(kind) = kind.filter(|kind| !["none", "linear"].contains(kind)) {
            return Err(ModelError::unsupported(self.path, format!("rope scaling `{kind}`")));
        }
        if content.tensor_infos.contains_key("rope_freqs.weight") {
            let advice =
                "rescaled rotary frequencies (rope_freqs.weight) in a GGUF file; use its Hugging Face folder";
            return Err(ModelError::unsupported(self.path, advice));
        }
        if let Some(cap) = self.cap(&architecture.key("attn_logit_softcapping"))? {
            return Err(ModelError::unsupported(self.path, format!("attn_logit_softcapping = {cap}")));
        }
        if architecture != Architecture::Gemma3
            && let Some(cap) = self.cap(&architecture.key("final_logit_softcapping"))?
        {
            return Err(ModelError::unsupported(self.path, format!("final_logit_softcapping = {cap}")));
        }
        let experts = architecture.key("expert_count");
        if self.number(&experts).is_some_and(|count| count > 0) {
            return Err(ModelError::unsupported(self.path, format!("a mixture of experts ({experts})")));
        }
        Ok(())
    }

    /// The tokenizer, checked against the size of the vocabulary.
    pub(super) fn tokenizer(&self, config: &ModelConfig) -> Result<Tokenizer, ModelError> {
        let is_sentence_piece = match self.text("tokenizer.ggml.model") {
            Some("gpt2") => false,
            Some("llama") => true,
            other => {
                let found = other.unwrap_or("(none named)");
                return Err(ModelError::unsupported(
                    self.path,
                    format!("a tokenizer of model `{found}` (supported: gpt2, llama)"),
                ));
            }
        };
        let tokens = self.texts("tokenizer.ggml.tokens")?;
        let kinds = self.list("tokenizer.ggml.token_type").unwrap_or_default();
        let of_kind = |wanted: i64| {
            tokens
                .iter()
                .zip(kinds)
                .filter(|(_, kind)| integer(kind) == Some(wanted))
                .map(|(token, _)| (*token).to_owned())
                .collect()
        };
        let failed = |source| ModelError::Tokenizer { path: self.path.into(), source };
        let special = self.special_tokens()?;
        let tokenizer = if is_sentence_piece {
            let pieces = SentencePieces {
                scores: self.floats("tokenizer.ggml.scores")?,
                control: of_kind(CONTROL),
                user_defined: of_kind(USER_DEFINED),
                begins_with_space: self.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true),
                tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
            };
            // Such models want their beginning unless they say otherwise.
            let special = SpecialTokens { add_bos: special.add_bos.or(Some(true)), ..special };
            Tokenizer::from_sentence_pieces(pieces, special).map_err(failed)?
        } else {
            let vocabulary = Vocabulary {
                pre_tokenizer: self.text("tokenizer.ggml.pre").unwrap_or("(none named)").to_owned(),
                control: of_kind(CONTROL),
                user_defined: of_kind(USER_DEFINED),
                merges: self.texts("tokenizer.ggml.merges")?.into_iter().map(str::to_owned).collect(),
                tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
            };
            Tokenizer::from_vocabulary(vocabulary, special).map_err(failed)?
        };
        tokenizer.check_vocabulary(config.vocab_size).map_err(failed)?;
        Ok(tokenizer)
    }

    fn special_tokens(&self) -> Result<SpecialTokens, ModelError> {
        let token = |key| self.number(key).and_then(|id| u32::try_from(id).ok());
        let mut eos: Vec<u32> = Vec::new();
        for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
            eos.extend(token(key).filter(|id| !eos.contains(id)));
        }
        if eos.is_empty() {
            return Err(ModelError::config(self.path, "tokenizer.ggml.eos_token_id is missing"));
        }
        let add_bos = self.flag("tokenizer.ggml.add_bos_token");
        Ok(SpecialTokens { bos: token("tokenizer.ggml.bos_token_id"), eos, add_bos })
    }

    /// A text, where there is one under that key.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.values.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<i64> {
        integer(self.values.get(key)?)
    }

    fn size(&self, key: &str) -> Result<usize, ModelError> {
        let number =
            self.number(key).ok_or_else(|| ModelError::config(self.path, format!("{key} is missing")))?;
        usize::try_from(number)
            .map_err(|_| ModelError::config(self.path, format!("{key} is {number}; expected 0 or more")))
    }

    fn float(&self, key: &str) -> Option<f32> {
        match self.values.get(key)? {
            Value::F32(number) => Some(*number),
            #[expect(clippy::cast_possible_truncation, reason = "constants of the model are f32 everywhere")]
            Value::F64(number) => Some(*number as f32),
            _ => None,
        }
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.values.get(key)? {
            Value::Bool(set) => Some(*set),
            _ => None,
        }
    }

    fn floats(&self, key: &str) -> Result<Vec<f32>, ModelError> {
        let missing = || ModelError::config(self.path, format!("{key} is missing or not a list of numbers"));
        let number = |value: &Value| match value {
            Value::F32(number) => Ok(*number),
            _ => Err(missing()),
        };
        self.list(key).ok_or_else(missing)?.iter().map(number).collect()
    }

    fn list(&self, key: &str) -> Option<&'a [Value]> {
        match self.values.get(key)? {
            Value::Array(list) => Some(list),
            _ => None,
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<&'a str>, ModelError> {
        let missing = || ModelError::config(self.path, format!("{key} is missing or not a list of texts"));
        self.list(key)
            .ok_or_else(missing)?
            .iter()
            .map(|value| match value {
                Value::String(text) => Ok(text.as_str()),
                _ => Err(missing()),
            })
            .collect()
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::U8(number) => Some(i64::from(*number)),
        Value::I8(number) => Some(i64::from(*number)),
        Value::U16(number) => Some(i64::from(*number)),
        Value::I16(number) => Some(i64::from(*number)),
        Value::U32(number) => Some(i64::from(*number)),
        Value::I32(number) => Some(i64::from(*number)),
        Value::U64(number) => i64::try_from(*number).ok(),
        Value::I64(number) => Some(*number),
        Value::F32(_) | Value::F64(_) | Value::Bool(_) | Value::String(_) | Value::Array(_) => None,
    }
}
