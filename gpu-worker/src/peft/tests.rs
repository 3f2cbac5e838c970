//! PEFT folders: written as PEFT writes them, read only when every option is honoured.

use std::{collections::BTreeMap, fs};

use super::*;
use crate::engine::TargetModule;
use crate::model::{HostTensor, inspect};

fn base() -> ModelConfig {
    inspect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny-llama")).unwrap().config
}

fn adapter(targets: &[TargetModule]) -> AdapterWeights {
    let config = LoraConfig {
        rank: 4,
        frozen_rank: 0,
        alpha: 8.0,
        targets: targets.to_vec(),
        dora: false,
        dropout: 0.0,
    };
    let mut tensors = BTreeMap::new();
    for layer in 0..base().layers {
        for &module in targets {
            let (inputs, outputs) = features(&base(), module);
            for (name, shape) in
                [(module.lora_a_name(layer), vec![4, inputs]), (module.lora_b_name(layer), vec![outputs, 4])]
            {
                let values =
                    (0_u16..).take(shape.iter().product()).map(|index| f32::from(index) * 0.5).collect();
                tensors.insert(name, HostTensor { shape, values });
            }
        }
    }
    AdapterWeights { config, tensors }
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adapter");
    write(&folder, &adapter(&TargetModule::ALL), "tiny-llama").unwrap();
    (place, folder)
}

fn with_option(folder: &Path, option: &str, value: &str) -> Result<AdapterWeights, PeftError> {
    let path = folder.join(CONFIG_FILE);
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[option] = serde_json::from_str(value).unwrap();
    fs::write(&path, config.to_string()).unwrap();
    read(folder, &base())
}

#[test]
fn an_adapter_survives_a_round_trip() {
    let (_place, folder) = written();
    assert_eq!(read(&folder, &base()).unwrap(), adapter(&TargetModule::ALL));
}

#[test]
fn the_same_adapter_gives_the_same_bytes() {
    let (_first, one) = written();
    let (_second, two) = written();
    for file in [CONFIG_FILE, WEIGHTS_FILE] {
        assert_eq!(fs::read(one.join(file)).unwrap(), fs::read(two.join(file)).unwrap(), "{file}");
    }
}

#[test]
fn the_configuration_has_all_keys_that_loaders_ask_for() {
    let (_place, folder) = written();
    let text = fs::read_to_string(folder.join(CONFIG_FILE)).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut keys: Vec<&str> = config.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "alpha_pattern",
        "base_model_name_or_path",
        "bias",
        "fan_in_fan_out",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "modules_to_save",
        "peft_type",
        "peft_version",
        "r",
        "rank_pattern",
        "revision",
        "target_modules",
        "task_type",
        "use_dora",
        "use_rslora",
    ];
    assert_eq!(keys, expected);
    assert!(text.contains("\"lora_alpha\": 8,"), "a whole alpha is an integer: {text}");
    assert_eq!(config["base_model_name_or_path"], "tiny-llama");
}

#[test]
fn the_weights_carry_the_mark_of_pytorch() {
    let (_place, folder) = written();
    let bytes = fs::read(folder.join(WEIGHTS_FILE)).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn options_that_would_change_the_result_are_refused() {
    for (option, value) in [
        ("bias", "\"all\""),
        ("rank_pattern", r#"{"q_proj": 8}"#),
        ("alpha_pattern", r#"{"q_proj": 8}"#),
        ("modules_to_save", r#"["lm_head"]"#),
        ("layers_to_transform", "[0]"),
        ("fan_in_fan_out", "true"),
        ("peft_type", "\"IA3\""),
        ("target_modules", "\".*q_proj\""),
        ("target_modules", r#"["lm_head"]"#),
    ] {
        let (_place, folder) = written();
        let refused = with_option(&folder, option, value).unwrap_err();
        assert!(matches!(refused, PeftError::Unsupported { .. }), "{option}: {refused}");
    }
}

#[test]
fn a_rank_stabilised_adapter_keeps_its_scale() {
    let (_place, folder) = written();
    let adapter = with_option(&folder, "use_rslora", "true").unwrap();
    // alpha / sqrt(rank) = 8 / 2 must equal alpha' / rank.
    assert!((adapter.config.alpha / 4.0 - 4.0).abs() < 1e-6);
}

#[test]
fn another_rank_than_the_tensors_have_is_a_misfit() {
    let (_place, folder) = written();
    let refused = with_option(&folder, "r", "8").unwrap_err();
    assert!(refused.to_string().contains("expected [8, "), "{refused}");
}

#[test]
fn missing_and_surplus_modules_are_misfits() {
    let (_place, folder) = written();
    let refused = with_option(&folder, "target_modules", r#"["q_proj"]"#).unwrap_err();
    assert!(matches!(refused, PeftError::Misfit { .. }), "{refused}");
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adapter");
    write(&folder, &adapter(&[TargetModule::Query]), "tiny-llama").unwrap();
    let refused = with_option(&folder, "target_modules", r#"["q_proj", "k_proj"]"#).unwrap_err();
    assert!(refused.to_string().contains("is missing"), "{refused}");
}

#[test]
fn a_rank_beyond_the_smallest_layer_is_refused_by_name() {
    let config = LoraConfig {
        rank: 65,
        frozen_rank: 0,
        alpha: 1.0,
        targets: TargetModule::ALL.to_vec(),
        dora: false,
        dropout: 0.0,
    };
    let reason = check_rank(&config, &base()).unwrap_err();
    assert!(reason.contains("q_proj") && reason.contains("choose 1 to 64"), "{reason}");
    assert!(check_rank(&LoraConfig { rank: 64, ..config }, &base()).is_ok());
}

#[test]
fn a_cut_off_weight_file_is_refused() {
    let (_place, folder) = written();
    let path = folder.join(WEIGHTS_FILE);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    assert!(matches!(read(&folder, &base()), Err(PeftError::Format { .. })));
}
