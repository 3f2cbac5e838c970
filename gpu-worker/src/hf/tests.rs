//! Hugging Face folders: sound ones load, broken ones say what is wrong.

use std::fs;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn copy_of(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn edit_config(folder: &Path, edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let path = folder.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(config.as_object_mut().unwrap());
    fs::write(&path, config.to_string()).unwrap();
}

fn refused(folder: &Path) -> ModelError {
    model::inspect(folder).unwrap_err()
}

#[test]
fn a_tied_model_loads_with_its_configuration() {
    let loaded = model::load(&fixture("tiny-llama"), model::Precision::Full).unwrap();
    let config = &loaded.base.config;
    assert_eq!((config.layers, config.hidden_size, config.vocab_size), (2, 64, 320));
    assert_eq!((config.attention_heads, config.key_value_heads, config.head_dim), (4, 2, 16));
    assert!(config.tie_word_embeddings);
    assert_eq!((config.bos_token, config.eos_tokens.as_slice()), (Some(1), [2].as_slice()));
    assert_eq!(loaded.base.name, "tiny-llama");
    assert_eq!(loaded.base.tensors.len(), 2 + 2 * 9);
    assert_eq!(loaded.base.tensors["model.layers.1.mlp.down_proj.weight"].shape, [64, 128]);
}

#[test]
fn an_untied_model_with_rescaled_rotation_loads() {
    let loaded = model::load(&fixture("tiny-llama3"), model::Precision::Full).unwrap();
    let scaling = loaded.base.config.rope_scaling.unwrap();
    let model::RopeScaling::Llama3(scaling) = scaling else { panic!("{scaling:?}") };
    assert_eq!((scaling.factor, scaling.original_max_positions), (8.0, 64));
    assert!(loaded.base.tensors.contains_key("lm_head.weight"));
}

#[test]
fn the_digest_changes_with_every_file_that_shapes_the_result() {
    let before = model::load(&fixture("tiny-llama"), model::Precision::Full).unwrap().base.digest;
    assert_eq!(
        before,
        model::load(copy_of("tiny-llama").path(), model::Precision::Full).unwrap().base.digest
    );
    let copy = copy_of("tiny-llama");
    edit_config(copy.path(), |config| {
        config.insert("max_position_embeddings".into(), 1024.into());
    });
    assert_ne!(before, model::load(copy.path(), model::Precision::Full).unwrap().base.digest);
}

#[test]
fn bf16_and_f16_weights_become_f32() {
    for (dtype, bytes) in [("BF16", [0x80, 0x3f]), ("F16", [0x00, 0x3c])] {
        let copy = copy_of("tiny-llama");
        let weights = copy.path().join("model.safetensors");
        let original = fs::read(&weights).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&original).unwrap();
        let dtype = if dtype == "BF16" { safetensors::Dtype::BF16 } else { safetensors::Dtype::F16 };
        let ones: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, view.shape().to_vec(), bytes.repeat(view.shape().iter().product())))
            .collect();
        let views = ones.iter().map(|(name, shape, data)| {
            (name.as_str(), safetensors::tensor::TensorView::new(dtype, shape.clone(), data).unwrap())
        });
        fs::write(&weights, safetensors::serialize(views, None).unwrap()).unwrap();
        let loaded = model::load(copy.path(), model::Precision::Full).unwrap();
        assert!(
            loaded
                .base
                .tensors
                .values()
                .all(|tensor| tensor.values.iter().all(|value| value.to_bits() == 1.0_f32.to_bits()))
        );
    }
}

#[test]
fn weights_may_be_spread_over_indexed_files() {
    let copy = copy_of("tiny-llama");
    fs::rename(copy.path().join("model.safetensors"), copy.path().join("part-1.safetensors")).unwrap();
    let index = r#"{"weight_map": {"model.norm.weight": "part-1.safetensors"}}"#;
    fs::write(copy.path().join("model.safetensors.index.json"), index).unwrap();
    assert_eq!(model::inspect(copy.path()).unwrap().config.layers, 2);
    fs::write(copy.path().join("model.safetensors.index.json"), index.replace("part-1", "../part-1"))
        .unwrap();
    assert!(matches!(refused(copy.path()), ModelError::Format { .. }));
}

#[test]
fn another_architecture_is_refused_by_name() {
    let copy = copy_of("tiny-llama");
    edit_config(copy.path(), |config| {
        config.insert("model_type".into(), "mamba".into());
    });
    let message = refused(copy.path()).to_string();
    assert!(message.contains("`mamba`") && message.contains("supported: llama"), "{message}");
}

#[test]
fn options_that_would_change_the_result_are_refused() {
    for (key, value) in [("attention_bias", "true"), ("mlp_bias", "true"), ("hidden_act", "\"gelu\"")] {
        let copy = copy_of("tiny-llama");
        edit_config(copy.path(), |config| {
            config.insert(key.into(), serde_json::from_str(value).unwrap());
        });
        assert!(matches!(refused(copy.path()), ModelError::Unsupported { .. }), "{key}");
    }
}

/// The configuration of a tiny model of a family, without some keys and with others.
fn family_config(
    family: &str,
    without: &[&str],
    with: &serde_json::Value,
) -> Result<ModelConfig, ModelError> {
    let copy = copy_of(&format!("families/{family}"));
    edit_config(copy.path(), |config| {
        config.retain(|key, _| !without.contains(&key.as_str()));
        config.extend(with.as_object().unwrap().clone());
    });
    model::inspect(copy.path()).map(|info| info.config)
}

#[test]
fn what_a_configuration_does_not_say_is_what_transformers_takes() {
    let none = serde_json::json!({});
    let config = family_config("mistral", &["sliding_window"], &none).unwrap();
    assert_eq!((config.variant.window, config.is_windowed(1)), (Some(4096), true));
    let config = family_config("mistral", &[], &serde_json::json!({"sliding_window": null})).unwrap();
    assert_eq!((config.variant.window, config.is_windowed(1)), (None, false));
    let config = family_config("gemma3", &["query_pre_attn_scalar", "rope_parameters"], &none).unwrap();
    assert_eq!(config.variant.score_scale, Some(1.0 / 16.0));
    assert_eq!((config.rope_theta, config.variant.windowed_rope_theta), (1e6, Some(1e4)));
    assert!(family_config("gemma3", &["tie_word_embeddings"], &none).unwrap().tie_word_embeddings);
    let config = family_config("qwen2", &["layer_types"], &none).unwrap();
    assert_eq!(config.variant.window, None);
    let windowed =
        serde_json::json!({"use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1});
    let config = family_config("qwen2", &["layer_types"], &windowed).unwrap();
    assert_eq!((config.variant.window, config.is_windowed(0), config.is_windowed(1)), (Some(8), false, true));
    let pattern = serde_json::json!({"sliding_window_pattern": 2, "_sliding_window_pattern": 6});
    let config = family_config("gemma3", &["layer_types"], &pattern).unwrap();
    assert_eq!(config.variant.windowed_layers, [true, false]);
    let both = serde_json::json!({"rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 4.0}});
    let config = family_config("llama", &["rope_parameters"], &both).unwrap();
    assert_eq!(config.rope_scaling, Some(model::RopeScaling::Linear { factor: 4.0 }));
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let sliding = |kind: &str| serde_json::json!({"rope_type": kind, "rope_theta": 1e4, "factor": 2.0});
    for (family, with, part) in [
        ("llama", serde_json::json!({"final_logit_softcapping": 30.0}), "final_logit_softcapping"),
        ("gemma3", serde_json::json!({"final_logit_softcapping": 0.0}), "expected a number above 0"),
        ("gemma3", serde_json::json!({"attn_logit_softcapping": 50.0}), "attn_logit_softcapping"),
        ("gemma3", serde_json::json!({"use_bidirectional_attention": true}), "use_bidirectional_attention"),
        ("gemma3", serde_json::json!({"hidden_activation": "relu"}), "relu"),
        (
            "gemma3",
            serde_json::json!({"layer_types": ["chunked_attention", "full_attention"]}),
            "chunked_attention",
        ),
        ("gemma3", serde_json::json!({"layer_types": ["full_attention"]}), "expected 2"),
        (
            "gemma3",
            serde_json::json!({"rope_parameters": {"sliding_attention": sliding("linear")}}),
            "with a window",
        ),
        ("mistral", serde_json::json!({"sliding_window": 0}), "sliding_window is 0"),
        ("llama", serde_json::json!({"rope_parameters": sliding("yarn")}), "yarn"),
        (
            "llama",
            serde_json::json!({"rope_parameters": {"rope_type": "linear", "factor": 0.0}}),
            "factor above 0",
        ),
        ("qwen3", serde_json::json!({"attention_bias": true}), "attention_bias"),
        ("qwen3", serde_json::json!({"model_type": "qwen3_moe"}), "qwen3_moe"),
    ] {
        let refused = family_config(family, &[], &with).unwrap_err().to_string();
        assert!(refused.contains(part), "{family}: {refused}");
    }
}

#[test]
fn more_layers_than_weights_are_a_missing_tensor() {
    let copy = copy_of("tiny-llama");
    edit_config(copy.path(), |config| {
        config.insert("num_hidden_layers".into(), 3.into());
    });
    match refused(copy.path()) {
        ModelError::MissingTensor { tensor, .. } => {
            assert!(tensor.starts_with("model.layers.2."), "{tensor}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn fewer_layers_than_weights_are_an_unexpected_tensor() {
    let copy = copy_of("tiny-llama");
    edit_config(copy.path(), |config| {
        config.insert("num_hidden_layers".into(), 1.into());
    });
    assert!(matches!(refused(copy.path()), ModelError::UnexpectedTensor { .. }));
}

#[test]
fn a_wrong_width_names_both_shapes() {
    let copy = copy_of("tiny-llama");
    edit_config(copy.path(), |config| {
        config.insert("intermediate_size".into(), 96.into());
    });
    let message = refused(copy.path()).to_string();
    assert!(message.contains("expected [96, 64]") || message.contains("expected [64, 96]"), "{message}");
}

#[test]
fn a_cut_off_weight_file_is_refused_before_it_is_read() {
    let copy = copy_of("tiny-llama");
    let weights = copy.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    for kept in [bytes.len() - 1, 20, 3] {
        fs::write(&weights, &bytes[..kept]).unwrap();
        assert!(matches!(refused(copy.path()), ModelError::Truncated { .. }), "{kept} bytes");
    }
}

#[test]
fn a_folder_without_a_model_is_told_apart_from_no_folder() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(refused(empty.path()), ModelError::NotAModel { .. }));
    assert!(matches!(refused(&empty.path().join("nothing")), ModelError::NotFound { .. }));
}

#[test]
fn a_model_without_an_end_mark_is_refused() {
    let copy = copy_of("tiny-llama");
    edit_config(copy.path(), |config| {
        config.remove("eos_token_id");
    });
    fs::remove_file(copy.path().join("generation_config.json")).unwrap();
    let refused = refused(copy.path()).to_string();
    assert!(refused.contains("no eos_token_id"), "{refused}");
}

#[test]
fn four_bits_of_bitsandbytes_stand_for_the_documented_values() {
    let file = std::fs::read(fixture("tiny-llama3-bnb.safetensors")).unwrap();
    let expected = safetensors::SafeTensors::deserialize(&file).unwrap();
    let folder = fixture("tiny-llama3-bnb");
    let full = model::load(&folder, model::Precision::Full).unwrap().base;
    assert!(full.quantised.is_empty());
    for (name, tensor) in expected.iter() {
        let values: Vec<f32> =
            tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(full.tensors[name].shape, tensor.shape(), "{name}");
        assert_eq!(full.tensors[name].values, values, "{name}");
    }
    let stored = model::load(&folder, model::Precision::Stored).unwrap().base;
    assert_eq!(stored.quantised.len(), expected.len());
    assert!(stored.tensors.contains_key("model.layers.0.self_attn.o_proj.weight"), "left out by the library");
    assert_eq!(stored.digest, full.digest);
    let qlora = model::load(&folder, model::Precision::Nf4).unwrap().base;
    assert_eq!(qlora.quantised.len(), expected.len() + 1);
    assert_ne!(qlora.digest, full.digest, "one layer was quantised here");
    for (name, tensor) in &stored.quantised {
        assert_eq!(tensor, &qlora.quantised[name], "{name} is not quantised a second time");
    }
}

#[test]
fn other_quantisations_are_refused_by_name() {
    for (config, named) in [
        (r#"{"quant_method": "gptq", "bits": 4}"#, "gptq"),
        (r#"{"quant_method": "bitsandbytes", "load_in_8bit": true}"#, "load_in_8bit"),
    ] {
        let copy = copy_of("tiny-llama");
        let path = copy.path().join("config.json");
        let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        json["quantization_config"] = serde_json::from_str(config).unwrap();
        std::fs::write(&path, json.to_string()).unwrap();
        let error = model::load(copy.path(), model::Precision::Full).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}
