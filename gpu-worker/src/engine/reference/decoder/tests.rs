//! Checks decoding: pieces, batches, scores, refusals.

#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test values are small")]

use std::sync::Arc;

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};

use super::{PASS_ROWS, ReferenceDecoder, passes};
use crate::{
    engine::{
        AdapterWeights, Batch, Decoder, Engine, IGNORED, SequenceId, TargetModule,
        reference::{
            ReferenceEngine,
            testing::{lora, random_model, refuses_the_impossible, tiny_config},
        },
    },
    model::{BaseModel, HostTensor, ModelConfig, Quantised},
    ops::{
        ggml::{BlockFormat, BlockMatrix},
        testing::{assert_close, random},
    },
};

fn tokens(seed: u64, count: usize) -> Vec<u32> {
    random(seed, count).iter().map(|v| ((v + 1.0) * 15.4) as u32).collect()
}

fn adapter(seed: u64) -> AdapterWeights {
    let mut engine = ReferenceEngine::new(random_model(tiny_config())).unwrap();
    engine.init_adapter(&lora(), seed).unwrap();
    let mut adapter = engine.save().unwrap().adapter;
    for (index, tensor) in adapter.tensors.values_mut().enumerate() {
        tensor.values = random(seed * 100 + index as u64, tensor.values.len());
        for v in &mut tensor.values {
            *v *= 0.4;
        }
    }
    adapter
}

/// A decoder with the adapters `one` and `two`.
fn decoder() -> ReferenceDecoder {
    let mut decoder = ReferenceDecoder::new(random_model(tiny_config())).unwrap();
    decoder.add_adapter("one", &adapter(1)).unwrap();
    decoder.add_adapter("two", &adapter(2)).unwrap();
    decoder
}

fn once(decoder: &mut ReferenceDecoder, adapter: Option<&str>, tokens: &[u32]) -> Vec<f32> {
    let id = decoder.open(adapter).unwrap();
    let logits = decoder.extend(&[(id, tokens)]).unwrap().remove(0);
    decoder.close(id).unwrap();
    logits
}

#[test]
fn extending_in_pieces_equals_extending_at_once() {
    let mut decoder = decoder();
    let text = tokens(1, 90);
    let expected = once(&mut decoder, Some("one"), &text);
    let id = decoder.open(Some("one")).unwrap();
    let mut last = Vec::new();
    for piece in [&text[..70], &text[70..71], &text[71..89], &text[89..]] {
        last = decoder.extend(&[(id, piece)]).unwrap().remove(0);
    }
    assert_eq!(decoder.length(id).unwrap(), 90);
    assert_close(&last, &expected, 1e-4);
}

/// A model whose linear layers are in blocks, as most GGUF files have them.
fn blocks_model() -> Arc<BaseModel> {
    let config = ModelConfig { hidden_size: 64, intermediate_size: 192, head_dim: 16, ..tiny_config() };
    let mut model = Arc::unwrap_or_clone(random_model(config));
    for layer in 0..model.config.layers {
        for module in TargetModule::ALL {
            let name = module.weight_name(layer);
            let HostTensor { shape, values } = model.tensors.remove(&name).unwrap();
            let shape = [shape[0], shape[1]];
            let values = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap();
            let stored = QTensor::quantize(&values, GgmlDType::Q4_1).unwrap();
            let blocks =
                BlockMatrix::new(BlockFormat::Q4_1, shape, &stored.data().unwrap(), |row| row).unwrap();
            model.quantised.insert(name, Quantised::Blocks(blocks));
        }
    }
    Arc::new(model)
}

#[test]
fn answers_over_blocks_do_not_depend_on_what_is_answered_beside_them() {
    let base = blocks_model();
    let mut engine = ReferenceEngine::new(Arc::clone(&base)).unwrap();
    engine.init_adapter(&lora(), 1).unwrap();
    let mut adapter = engine.save().unwrap().adapter;
    for (seed, tensor) in (50..).zip(adapter.tensors.values_mut()) {
        tensor.values = random(seed, tensor.values.len());
    }
    let mut decoder = ReferenceDecoder::new(base).unwrap();
    decoder.add_adapter("one", &adapter).unwrap();
    let texts: Vec<Vec<u32>> = (0..9).map(|seed| tokens(seed, 90 + 10 * seed as usize)).collect();
    let prompt = |text: &[u32]| text.len() - 4;
    let run = |decoder: &mut ReferenceDecoder, texts: &[&Vec<u32>]| {
        let ids: Vec<SequenceId> = texts.iter().map(|_| decoder.open(Some("one")).unwrap()).collect();
        let prompts = ids.iter().zip(texts).map(|(id, text)| (*id, &text[..prompt(text)]));
        let mut logits = vec![decoder.extend(&prompts.collect::<Vec<_>>()).unwrap()];
        for step in 0..4 {
            let next = ids.iter().zip(texts).map(|(id, text)| (*id, &text[prompt(text) + step..][..1]));
            logits.push(decoder.extend(&next.collect::<Vec<_>>()).unwrap());
        }
        for id in ids {
            decoder.close(id).unwrap();
        }
        logits
    };
    let together = run(&mut decoder, &texts.iter().collect::<Vec<_>>());
    for (index, text) in texts.iter().enumerate() {
        let alone = run(&mut decoder, &[text]);
        for (step, (together, alone)) in together.iter().zip(&alone).enumerate() {
            // But for the head, which is in f32 here: its rounding depends on how many rows it gets.
            assert_close(&together[index], &alone[0], 1e-6);
            assert!(alone[0].iter().any(|logit| *logit != 0.0), "text {index}, step {step}");
        }
    }
}

#[test]
fn caches_that_grow_with_a_panel_begun_lose_nothing() {
    let mut decoder = decoder();
    let text = tokens(3, 270);
    let expected = once(&mut decoder, Some("one"), &text);
    let id = decoder.open(Some("one")).unwrap();
    let mut last = Vec::new();
    // Room for 128, 256 and 512 rows, one after another.
    for piece in [&text[..100], &text[100..160], &text[160..254]] {
        decoder.extend(&[(id, piece)]).unwrap();
    }
    for token in text[254..].chunks(1) {
        last = decoder.extend(&[(id, token)]).unwrap().remove(0);
    }
    assert_close(&last, &expected, 1e-4);
}

#[test]
fn capped_logits_stay_below_the_cap_and_in_order() {
    let mut config = tiny_config();
    let bare = once(&mut ReferenceDecoder::new(random_model(config.clone())).unwrap(), None, &tokens(1, 9));
    config.variant.logit_cap = Some(0.5);
    let capped = once(&mut ReferenceDecoder::new(random_model(config)).unwrap(), None, &tokens(1, 9));
    assert!(bare.iter().any(|logit| logit.abs() > 0.5), "the cap counts");
    let expected: Vec<f32> = bare.iter().map(|logit| 0.5 * (logit / 0.5).tanh()).collect();
    assert_close(&capped, &expected, 1e-6);
}

#[test]
fn sequences_of_one_pass_do_not_touch_each_other() {
    let mut decoder = decoder();
    let cases = [(Some("one"), 5), (None, 40), (Some("two"), 1), (Some("two"), 66), (Some("one"), 3)];
    let texts: Vec<Vec<u32>> = (0..).zip(cases).map(|(seed, (_, length))| tokens(seed, length)).collect();
    let expected: Vec<Vec<f32>> =
        texts.iter().zip(cases).map(|(text, (adapter, _))| once(&mut decoder, adapter, text)).collect();
    let ids: Vec<SequenceId> = cases.iter().map(|(adapter, _)| decoder.open(*adapter).unwrap()).collect();
    let inputs: Vec<(SequenceId, &[u32])> =
        ids.iter().copied().zip(texts.iter().map(Vec::as_slice)).collect();
    for (got, expected) in decoder.extend(&inputs).unwrap().iter().zip(&expected) {
        assert_close(got, expected, 1e-4);
    }
    assert_ne!(once(&mut decoder, Some("one"), &texts[1]), once(&mut decoder, Some("two"), &texts[1]));
}

#[test]
fn long_inputs_take_several_passes_with_the_same_result() {
    let mut decoder = decoder();
    let (long, short) = (tokens(1, 600), tokens(2, 30));
    let expected = [once(&mut decoder, None, &long), once(&mut decoder, Some("one"), &short)];
    let (first, second) = (decoder.open(None).unwrap(), decoder.open(Some("one")).unwrap());
    let got = decoder.extend(&[(first, &long), (second, &short)]).unwrap();
    assert_close(&got[0], &expected[0], 1e-4);
    assert_close(&got[1], &expected[1], 1e-4);
    assert_eq!(
        passes([600, 30].into_iter(), PASS_ROWS),
        [vec![(0, 0..512)], vec![(0, 512..600), (1, 0..30)]]
    );
    assert_eq!(
        passes([40, 500, 0, 20].into_iter(), PASS_ROWS),
        [vec![(0, 0..40)], vec![(1, 0..500)], vec![(3, 0..20)]],
        "cut as it would be alone"
    );
}

#[test]
fn scores_agree_with_the_training_loss_and_with_the_logits() {
    let text = tokens(3, 560);
    let mut engine = ReferenceEngine::new(random_model(tiny_config())).unwrap();
    engine.load_adapter(&adapter(1)).unwrap();
    let mut labels: Vec<i64> = text[1..].iter().map(|token| i64::from(*token)).collect();
    labels.push(IGNORED);
    labels[..9].fill(IGNORED);
    let batch = Batch { tokens: text.clone(), labels, documents: std::iter::once(0..560).collect() };
    let loss = engine.evaluate(&batch).unwrap();

    let mut decoder = decoder();
    let scores = decoder.score(Some("one"), &text, 10).unwrap();
    assert_eq!(scores.len(), 550);
    let sum: f64 = scores.iter().map(|score| f64::from(*score)).sum();
    assert!((sum + loss.loss_sum).abs() < 1e-3 * loss.loss_sum, "{sum} against {}", loss.loss_sum);

    let logits = once(&mut decoder, Some("one"), &text[..10]);
    let log_sum = logits.iter().map(|l| f64::from(*l).exp()).sum::<f64>().ln();
    assert!((f64::from(scores[0]) - (f64::from(logits[text[10] as usize]) - log_sum)).abs() < 1e-4);
    assert!(decoder.score(None, &text, 560).unwrap().is_empty());
}

#[test]
fn impossible_requests_are_refused_and_change_nothing() {
    let mut decoder = decoder();
    refuses_the_impossible(&mut decoder, &tiny_config());
    assert_eq!(Arc::strong_count(&decoder.base), 1);
}
