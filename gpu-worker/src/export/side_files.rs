//! The small files of a Hugging Face folder: copied from the base model's folder, or made from what its GGUF file says.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use super::{ExportError, WeightType};
use crate::{
    gguf::GgufModel,
    model::{ModelConfig, ModelError, RopeScaling},
    ops::gated::Activation,
    tokenizer::Tokenizer,
};

/// Taken over as they are, where they exist.
const COPIED: [&str; 12] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
    "NOTICE",
];

/// What is known of the base model.
#[derive(Debug)]
pub(super) struct About<'a> {
    pub(super) base: &'a ModelConfig,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) gguf_architecture: &'static str,
}

type Files = Vec<(String, Vec<u8>)>;

/// The files with their content.
pub(super) fn of(base_model: &Path, about: &About<'_>, weights: WeightType) -> Result<Files, ExportError> {
    if base_model.is_dir() { copied(base_model, weights) } else { made(base_model, about, weights) }
}

fn copied(folder: &Path, weights: WeightType) -> Result<Files, ExportError> {
    let read = |path: &Path| fs::read(path).map_err(|source| ModelError::io(path, source));
    let path = folder.join("config.json");
    let mut config: Map<String, Value> = serde_json::from_slice(&read(&path)?)?;
    let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    config.insert(key.to_owned(), weights.torch_name().into());
    // The weights are written in full, whatever the folder held.
    config.remove("quantization_config");
    let mut files = vec![("config.json".to_owned(), pretty(&Value::Object(config))?)];
    for name in COPIED {
        let path = folder.join(name);
        if path.is_file() {
            files.push((name.to_owned(), read(&path)?));
        }
    }
    Ok(files)
}

fn made(file: &Path, about: &About<'_>, weights: WeightType) -> Result<Files, ExportError> {
    let tokenizer = about.tokenizer;
    let template = GgufModel::open(file)?.chat_template().map(str::to_owned);
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id));
    let (bos, eos) = (text(tokenizer.bos()), text(tokenizer.eos().first().copied()));
    let mut about_tokenizer = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": false,
        "model_max_length": about.base.max_positions,
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": eos,
    });
    if let (Some(template), Some(keys)) = (&template, about_tokenizer.as_object_mut()) {
        keys.insert("chat_template".to_owned(), template.as_str().into());
    }
    let ends = match tokenizer.eos() {
        [one] => json!(one),
        several => json!(several),
    };
    let generation = json!({"bos_token_id": tokenizer.bos(), "eos_token_id": ends});
    let mut config = model_config(about, weights);
    config.insert("bos_token_id".to_owned(), json!(tokenizer.bos()));
    config.insert("eos_token_id".to_owned(), ends);
    let mut files = vec![
        ("config.json".to_owned(), pretty(&Value::Object(config))?),
        ("generation_config.json".to_owned(), pretty(&generation)?),
        ("tokenizer.json".to_owned(), pretty(&tokenizer.to_json().map_err(ExportError::Tokenizer)?)?),
        ("tokenizer_config.json".to_owned(), pretty(&about_tokenizer)?),
    ];
    files.extend(template.map(|template| ("chat_template.jinja".to_owned(), template.into_bytes())));
    Ok(files)
}

/// `config.json` of a model that comes from a GGUF file.
fn model_config(about: &About<'_>, weights: WeightType) -> Map<String, Value> {
    let About { base, gguf_architecture, .. } = about;
    let (class, kind) = match *gguf_architecture {
        "qwen2" => ("Qwen2ForCausalLM", "qwen2"),
        "qwen3" => ("Qwen3ForCausalLM", "qwen3"),
        "gemma3" => ("Gemma3ForCausalLM", "gemma3_text"),
        _ => ("LlamaForCausalLM", "llama"),
    };
    let activation = match base.variant.activation {
        Activation::Silu => "silu",
        Activation::Gelu => "gelu_pytorch_tanh",
    };
    let scaling = match base.rope_scaling {
        Some(RopeScaling::Linear { factor }) => json!({"rope_type": "linear", "factor": decimal(factor)}),
        Some(RopeScaling::Llama3(scaling)) => json!({
            "rope_type": "llama3",
            "factor": decimal(scaling.factor),
            "low_freq_factor": decimal(scaling.low_freq_factor),
            "high_freq_factor": decimal(scaling.high_freq_factor),
            "original_max_position_embeddings": scaling.original_max_positions,
        }),
        None => Value::Null,
    };
    let mut keys = Map::from_iter([
        ("architectures".to_owned(), json!([class])),
        ("model_type".to_owned(), json!(kind)),
        ("hidden_size".to_owned(), json!(base.hidden_size)),
        ("intermediate_size".to_owned(), json!(base.intermediate_size)),
        ("num_hidden_layers".to_owned(), json!(base.layers)),
        ("num_attention_heads".to_owned(), json!(base.attention_heads)),
        ("num_key_value_heads".to_owned(), json!(base.key_value_heads)),
        ("head_dim".to_owned(), json!(base.head_dim)),
        ("vocab_size".to_owned(), json!(base.vocab_size)),
        ("max_position_embeddings".to_owned(), json!(base.max_positions)),
        ("rms_norm_eps".to_owned(), decimal(base.rms_norm_eps)),
        ("rope_theta".to_owned(), decimal(base.rope_theta)),
        ("rope_scaling".to_owned(), scaling),
        ("hidden_act".to_owned(), json!(activation)),
        ("tie_word_embeddings".to_owned(), json!(base.tie_word_embeddings)),
        ("torch_dtype".to_owned(), json!(weights.torch_name())),
        ("use_cache".to_owned(), json!(true)),
    ]);
    if *gguf_architecture == "gemma3" {
        keys.extend(gemma_keys(base, activation));
    } else {
        keys.insert("attention_bias".to_owned(), json!(false));
        keys.insert("sliding_window".to_owned(), Value::Null);
    }
    keys
}

fn gemma_keys(base: &ModelConfig, activation: &str) -> Vec<(String, Value)> {
    let divisor = base.variant.score_scale.map_or(json!(base.head_dim), |scale| decimal(scale.powi(-2)));
    let layers = (0..base.layers)
        .map(|layer| if base.is_windowed(layer) { "sliding_attention" } else { "full_attention" });
    let mut keys = vec![
        ("hidden_activation".to_owned(), json!(activation)),
        ("query_pre_attn_scalar".to_owned(), divisor),
        ("layer_types".to_owned(), json!(layers.collect::<Vec<_>>())),
        ("rope_local_base_freq".to_owned(), base.variant.windowed_rope_theta.map_or(Value::Null, decimal)),
        ("sliding_window".to_owned(), json!(base.variant.window)),
        ("final_logit_softcapping".to_owned(), base.variant.logit_cap.map_or(Value::Null, decimal)),
    ];
    keys.retain(|(_, value)| !value.is_null());
    keys
}

/// The shortest decimal that is this f32: 0.00001, not 0.000009999999747378752.
fn decimal(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(json!(value), |value| json!(value))
}

fn pretty(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}
