//! GGUF files: equal to the Hugging Face folder of the same model, and clear about what is wrong.

use std::fs;

use candle_core::quantized::gguf_file::Value;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// A copy of the fixture with other metadata and without one tensor.
fn rewritten(
    edit: impl FnOnce(&mut std::collections::HashMap<String, Value>),
    left_out: &str,
) -> tempfile::TempPath {
    let path = fixture("tiny-llama.gguf");
    let mut file = File::open(&path).unwrap();
    let mut content = Content::read(&mut file).unwrap();
    edit(&mut content.metadata);
    let names: Vec<String> = content.tensor_infos.keys().filter(|name| *name != left_out).cloned().collect();
    let tensors: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), content.tensor(&mut file, name, &Device::Cpu).unwrap()))
        .collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let metadata: Vec<_> = content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let copy = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    candle_core::quantized::gguf_file::write(&mut copy.reopen().unwrap(), &metadata, &tensors).unwrap();
    copy.into_temp_path()
}

fn refused(path: &Path) -> ModelError {
    model::inspect(path).unwrap_err()
}

#[test]
fn the_file_and_the_folder_of_one_model_hold_the_same_weights() {
    let file = model::load(&fixture("tiny-llama.gguf"), model::Precision::Full).unwrap();
    let folder = model::load(&fixture("tiny-llama"), model::Precision::Full).unwrap();
    assert_eq!(file.base.config, folder.base.config);
    assert_eq!(file.base.tensors.keys().collect::<Vec<_>>(), folder.base.tensors.keys().collect::<Vec<_>>());
    for (name, tensor) in &file.base.tensors {
        assert_eq!(tensor, &folder.base.tensors[name], "{name}");
    }
    assert_eq!(file.base.name, "tiny-llama");
}

#[test]
fn the_file_and_the_folder_of_each_family_hold_the_same_weights() {
    for architecture in ["qwen2", "qwen3", "gemma3"] {
        let file = model::load(&fixture(&format!("families/{architecture}.gguf")), model::Precision::Full)
            .unwrap()
            .base;
        let folder =
            model::load(&fixture(&format!("families/{architecture}")), model::Precision::Full).unwrap().base;
        assert_eq!(file.tensors, folder.tensors, "{architecture}");
        let mut config = file.config;
        // Files of these have no such fields; the tiny models have values of their own.
        config.bos_token = folder.config.bos_token;
        config.eos_tokens.clone_from(&folder.config.eos_tokens);
        config.rope_scaling = folder.config.rope_scaling;
        config.variant.score_scale = folder.config.variant.score_scale;
        config.variant.windowed_layers.clone_from(&folder.config.variant.windowed_layers);
        assert_eq!(config, folder.config, "{architecture}");
    }
}

#[test]
fn every_sixth_layer_of_a_gemma_3_sees_everything() {
    let config = model::inspect(&fixture("families/gemma3.gguf")).unwrap().config;
    assert_eq!((config.variant.window, config.variant.windowed_layers), (Some(7), vec![true, true]));
    let shape = architecture::Shape { hidden_size: 32, layers: 7, window: Some(7) };
    let seven = architecture::Architecture::Gemma3.variant(shape).windowed_layers;
    assert_eq!(seven, [true, true, true, true, true, false, true]);
}

#[test]
fn the_file_and_the_folder_of_one_model_tokenise_alike() {
    let file = model::load(&fixture("tiny-llama.gguf"), model::Precision::Full).unwrap();
    let folder = model::load(&fixture("tiny-llama"), model::Precision::Full).unwrap();
    for text in ["§ 35 VwVfG: 1.234,56 €", "<|im_start|>user\nÖffentliches Baurecht 🏛<|im_end|>\n", " \n\t"]
    {
        assert_eq!(file.tokenizer.encode(text).unwrap(), folder.tokenizer.encode(text).unwrap(), "{text}");
    }
}

#[test]
fn the_digest_is_that_of_the_file() {
    let loaded = model::load(&fixture("tiny-llama.gguf"), model::Precision::Full).unwrap();
    let bytes = fs::read(fixture("tiny-llama.gguf")).unwrap();
    assert_eq!(loaded.base.digest, clara_lifecycle::digest::Digest::of(&bytes).as_str());
}

#[test]
fn a_file_cut_off_anywhere_is_refused_as_cut_off() {
    let bytes = fs::read(fixture("tiny-llama.gguf")).unwrap();
    let copy = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    for kept in [bytes.len() - 1, bytes.len() / 2, 3000, 200, 30, 4] {
        fs::write(copy.path(), &bytes[..kept]).unwrap();
        let error = refused(copy.path());
        assert!(matches!(error, ModelError::Truncated { .. }), "{kept} bytes: {error}");
    }
}

#[test]
fn a_file_of_other_bytes_is_refused_as_unreadable() {
    let copy = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    fs::write(copy.path(), [7; 4096]).unwrap();
    assert!(matches!(refused(copy.path()), ModelError::Format { .. }));
}

#[test]
fn another_architecture_is_refused_by_name() {
    let path = rewritten(
        |metadata| {
            metadata.insert("general.architecture".into(), Value::String("mamba".into()));
        },
        "",
    );
    let message = refused(&path).to_string();
    assert!(message.contains("`mamba`") && message.contains("supported: llama"), "{message}");
}

#[test]
fn a_missing_tensor_is_named() {
    let path = rewritten(|_| {}, "blk.1.ffn_up.weight");
    match refused(&path) {
        ModelError::MissingTensor { tensor, .. } => assert_eq!(tensor, "model.layers.1.mlp.up_proj.weight"),
        other => panic!("{other}"),
    }
}

#[test]
fn an_unknown_pre_tokenizer_is_refused_by_name() {
    let path = rewritten(
        |metadata| {
            metadata.insert("tokenizer.ggml.pre".into(), Value::String("deepseek-llm".into()));
        },
        "",
    );
    let error = model::load(&path, model::Precision::Full).unwrap_err();
    let ModelError::Tokenizer { source, .. } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("`deepseek-llm`"), "{source}");
}

#[test]
fn stretched_rotation_is_refused() {
    let path = rewritten(
        |metadata| {
            metadata.insert("llama.rope.scaling.type".into(), Value::String("yarn".into()));
        },
        "",
    );
    assert!(matches!(refused(&path), ModelError::Unsupported { .. }));
}

#[test]
fn rows_paired_by_neighbours_come_back_as_halves() {
    let rows: Vec<f32> = (0_u8..8).flat_map(|row| [f32::from(row); 2]).collect();
    let ordered: Vec<f32> = unpermute(&rows, 2, 2).chunks(2).map(|row| row[0]).collect();
    assert_eq!(ordered, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
}
