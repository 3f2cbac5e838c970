//! GGUF files: equal to the Hugging Face folder of the same model, and clear about what is wrong.

use std::fs;

use candle_core::quantized::{QTensor, gguf_file::Value};

use super::*;
use crate::{
    engine::{
        Batch, Decoder as _, Engine as _, IGNORED, LoraConfig, TargetModule,
        reference::{ReferenceDecoder, ReferenceEngine},
    },
    ops::testing::assert_close,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// A copy of the fixture with other metadata and without one tensor.
fn rewritten(
    edit: impl FnOnce(&mut std::collections::HashMap<String, Value>),
    left_out: &str,
) -> tempfile::TempPath {
    rewritten_from("tiny-llama.gguf", edit, left_out)
}

fn rewritten_from(
    name: &str,
    edit: impl FnOnce(&mut std::collections::HashMap<String, Value>),
    left_out: &str,
) -> tempfile::TempPath {
    let path = fixture(name);
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
    let shape = architecture::Shape { hidden_size: 32, layers: 7, window: Some(7), logit_cap: None };
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
fn a_gemma_may_cap_its_logits_and_nothing_else() {
    let capped = |name: &str, key: &str, cap: f32| {
        rewritten_from(
            name,
            |metadata| {
                metadata.insert(key.to_owned(), Value::F32(cap));
            },
            "",
        )
    };
    let gemma = |cap| capped("families/gemma3.gguf", "gemma3.final_logit_softcapping", cap);
    for (cap, expected) in [(30.0, Some(30.0)), (0.0, None)] {
        assert_eq!(model::inspect(&gemma(cap)).unwrap().config.variant.logit_cap, expected);
    }
    for cap in [-1.0, f32::NAN, f32::INFINITY] {
        let message = refused(&gemma(cap)).to_string();
        assert!(message.contains("expected a number above 0"), "{message}");
    }
    for (name, key) in [
        ("tiny-llama.gguf", "llama.final_logit_softcapping"),
        ("families/gemma3.gguf", "gemma3.attn_logit_softcapping"),
    ] {
        let message = refused(&capped(name, key, 30.0)).to_string();
        assert!(message.contains("logit_softcapping = 30"), "{message}");
    }
}

#[test]
fn rows_paired_by_neighbours_come_back_as_halves() {
    let rows: Vec<usize> = (0..8).map(|row| interleaved_row(row, 4)).collect();
    assert_eq!(rows, [0, 2, 1, 3, 4, 6, 5, 7]);
}

/// The tiny model with its matrices in blocks: the embedding in `Q8_0`, the rest in `Q4_1`.
fn quantised() -> tempfile::TempPath {
    let mut file = File::open(fixture("tiny-llama.gguf")).unwrap();
    let content = Content::read(&mut file).unwrap();
    let quantise = |name: &String| {
        let stored = content.tensor(&mut File::open(fixture("tiny-llama.gguf")).unwrap(), name, &Device::Cpu);
        let stored = stored.unwrap();
        if stored.shape().rank() < 2 {
            return (name.clone(), stored);
        }
        let dtype = if name == "token_embd.weight" { GgmlDType::Q8_0 } else { GgmlDType::Q4_1 };
        let values = stored.dequantize(&Device::Cpu).unwrap();
        (name.clone(), QTensor::quantize(&values, dtype).unwrap())
    };
    let tensors: Vec<_> = content.tensor_infos.keys().map(quantise).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let metadata: Vec<_> = content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let copy = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    candle_core::quantized::gguf_file::write(&mut copy.reopen().unwrap(), &metadata, &tensors).unwrap();
    copy.into_temp_path()
}

#[test]
fn blocks_that_stay_as_they_are_hold_the_same_weights() {
    let path = quantised();
    let full = model::load(&path, Precision::Full).unwrap().base;
    for precision in [Precision::Stored, Precision::Nf4] {
        let stored = model::load(&path, precision).unwrap().base;
        assert_eq!(stored.digest, full.digest, "an adapter fits whichever way the base is held");
        assert_eq!(stored.tensors.len() + stored.quantised.len(), full.tensors.len());
        assert!(stored.tensors.values().all(|tensor| tensor.shape.len() == 1));
        for (name, tensor) in &stored.quantised {
            assert!(matches!(tensor, Quantised::Blocks(_)), "{name} is not quantised a second time");
            assert_eq!(tensor.widen(), full.tensors[name], "{name}");
        }
    }
}

#[test]
fn blocks_score_and_train_as_their_values_do_and_generate_nearly_so() {
    let path = quantised();
    let [full, stored] = [Precision::Full, Precision::Stored]
        .map(|precision| std::sync::Arc::new(model::load(&path, precision).unwrap().base));
    let tokens: Vec<u32> = (20..60).collect();
    let score = |base: &std::sync::Arc<BaseModel>| {
        ReferenceDecoder::new(base.clone()).unwrap().score(None, &tokens, 1).unwrap()
    };
    assert_eq!(score(&full), score(&stored));

    let continued = |base: &std::sync::Arc<BaseModel>| {
        let mut decoder = ReferenceDecoder::new(base.clone()).unwrap();
        let id = decoder.open(None).unwrap();
        decoder.extend(&[(id, tokens.as_slice())]).unwrap().remove(0)
    };
    let (exact, rounded) = (continued(&full), continued(&stored));
    let spread = exact.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
    for (exact, rounded) in exact.iter().zip(&rounded) {
        assert!((exact - rounded).abs() <= 0.03 * spread, "{exact} and {rounded} of {spread}");
    }
    assert_ne!(exact, rounded, "blocks are multiplied as they are");

    let trained = |base: &std::sync::Arc<BaseModel>| {
        let mut engine = ReferenceEngine::new(base.clone()).unwrap();
        let targets = TargetModule::ALL.to_vec();
        engine
            .init_adapter(
                &LoraConfig { rank: 3, frozen_rank: 0, alpha: 6.0, targets, dora: false, dropout: 0.0 },
                1,
            )
            .unwrap();
        let labels: Vec<i64> =
            tokens.iter().skip(1).map(|token| i64::from(*token)).chain([IGNORED]).collect();
        let batch =
            Batch { documents: std::iter::once(0..tokens.len()).collect(), tokens: tokens.clone(), labels };
        let loss = engine.forward_backward(&batch, tokens.len() - 1).unwrap().loss_sum;
        (loss, engine.gradients().unwrap())
    };
    let ((full_loss, full_gradients), (stored_loss, stored_gradients)) = (trained(&full), trained(&stored));
    assert_eq!(full_loss.to_bits(), stored_loss.to_bits());
    for (name, gradient) in &full_gradients {
        assert_close(&stored_gradients[name].values, &gradient.values, 1e-5);
    }
}
