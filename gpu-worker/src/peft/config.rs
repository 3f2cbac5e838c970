//! `adapter_config.json`: what is written, and what is accepted.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{PeftError, stabilised_alpha};
use crate::engine::{LoraConfig, TargetModule};

/// Release of PEFT whose layout is written.
const PEFT_VERSION: &str = "0.20.0";

/// The configuration with all keys that loaders ask for, sorted, indented by two.
pub(super) fn to_json(config: &LoraConfig, base_model: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut targets = config.targets.clone();
    targets.sort_unstable();
    let targets: Vec<&str> = targets.into_iter().map(TargetModule::name).collect();
    let keys: BTreeMap<&str, Value> = BTreeMap::from([
        ("alpha_pattern", json!({})),
        ("base_model_name_or_path", json!(base_model)),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(false)),
        ("inference_mode", json!(true)),
        ("init_lora_weights", json!(true)),
        ("layers_pattern", Value::Null),
        ("layers_to_transform", Value::Null),
        ("lora_alpha", number(config.alpha)),
        ("lora_dropout", json!(f64::from(config.dropout))),
        ("modules_to_save", Value::Null),
        ("peft_type", json!("LORA")),
        ("peft_version", json!(PEFT_VERSION)),
        ("r", json!(config.rank)),
        ("rank_pattern", json!({})),
        ("revision", Value::Null),
        ("target_modules", json!(targets)),
        ("task_type", json!("CAUSAL_LM")),
        ("use_dora", json!(config.dora)),
        ("use_rslora", json!(false)),
    ]);
    let mut text = serde_json::to_vec_pretty(&keys)?;
    text.push(b'\n');
    Ok(text)
}

/// Whole numbers without a fraction: some loaders declare `lora_alpha` an integer.
fn number(alpha: f32) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "only taken when the value survives it")]
    let whole = alpha as i32;
    #[expect(clippy::cast_precision_loss, reason = "the comparison decides whether anything was lost")]
    let same = (whole as f32).to_bits() == alpha.to_bits();
    if same { json!(whole) } else { json!(alpha) }
}

#[derive(Deserialize)]
struct RawConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f32,
    target_modules: Targets,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    lora_dropout: f32,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Targets {
    Pattern(String),
    Names(Vec<String>),
}

/// Options that change the result, with the values that mean "not used".
const UNUSED: [(&str, &[&str]); 13] = [
    ("bias", &["\"none\""]),
    ("lora_bias", &["false"]),
    ("fan_in_fan_out", &["false"]),
    ("rank_pattern", &["{}"]),
    ("alpha_pattern", &["{}"]),
    ("modules_to_save", &["[]"]),
    ("layers_to_transform", &["[]"]),
    ("layers_pattern", &["[]", "\"\""]),
    ("exclude_modules", &["[]"]),
    ("target_parameters", &["[]"]),
    ("trainable_token_indices", &["[]"]),
    ("layer_replication", &["[]"]),
    ("alora_invocation_tokens", &["[]"]),
];

/// Parses a configuration; every option that changes the result is honoured or refused.
pub(super) fn from_json(path: &Path, text: &[u8]) -> Result<LoraConfig, PeftError> {
    let format = |reason: String| PeftError::Format { path: path.into(), reason };
    let unsupported = |option: String| PeftError::Unsupported { path: path.into(), option };
    let raw: RawConfig = serde_json::from_slice(text).map_err(|error| format(error.to_string()))?;
    if raw.peft_type != "LORA" {
        return Err(unsupported(format!("peft_type = {}", raw.peft_type)));
    }
    for (option, unused) in UNUSED {
        let Some(value) = raw.others.get(option).filter(|value| !value.is_null()) else {
            continue;
        };
        if !unused.contains(&value.to_string().as_str()) {
            return Err(unsupported(format!("{option} = {value}")));
        }
    }
    let names = match raw.target_modules {
        Targets::Names(names) => names,
        Targets::Pattern(pattern) if pattern == "all-linear" => {
            TargetModule::ALL.iter().map(|module| module.name().to_owned()).collect()
        }
        Targets::Pattern(pattern) => {
            return Err(unsupported(format!("target_modules = `{pattern}` (a pattern)")));
        }
    };
    let mut targets = Vec::with_capacity(names.len());
    for name in names {
        let module =
            TargetModule::from_name(&name).ok_or_else(|| unsupported(format!("target module `{name}`")))?;
        targets.push(module);
    }
    targets.sort_unstable();
    targets.dedup();
    if raw.r == 0 || targets.is_empty() {
        return Err(format(format!(
            "r is {} with {} target modules; expected at least 1",
            raw.r,
            targets.len()
        )));
    }
    let alpha = if raw.use_rslora { stabilised_alpha(raw.lora_alpha, raw.r) } else { raw.lora_alpha };
    Ok(LoraConfig {
        rank: raw.r,
        frozen_rank: 0,
        alpha,
        targets,
        dora: raw.use_dora,
        dropout: raw.lora_dropout,
    })
}
