//! The decoder on every device at hand against the reference decoder.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "test values are small"
)]

use super::{
    super::tests::{config, gemma_config, model, nf4_model, qwen_config},
    *,
};
use crate::{
    cuda::testing::{devices, emulated_gpu},
    engine::{
        Engine, LoraConfig, TargetModule,
        reference::{
            ReferenceDecoder, ReferenceEngine,
            testing::{lora, refuses_the_impossible},
        },
    },
    ops::testing::random,
};

/// Of the length of the expected logits.
const TOLERANCE: f64 = 0.03;

fn tokens(seed: u64, count: usize) -> Vec<u32> {
    random(seed, count).iter().map(|v| ((v + 1.0) * 30.4) as u32).collect()
}

/// An adapter that changes the logits much.
fn adapter(base: &Arc<BaseModel>, config: &LoraConfig, seed: u64) -> AdapterWeights {
    let mut engine = ReferenceEngine::new(Arc::clone(base)).unwrap();
    engine.init_adapter(config, seed).unwrap();
    let mut adapter = engine.save().unwrap().adapter;
    for (index, tensor) in adapter.tensors.values_mut().enumerate() {
        let noise = random(seed * 100 + index as u64, tensor.values.len());
        let [_, columns] = tensor.shape[..] else {
            tensor
                .values
                .iter_mut()
                .zip(noise)
                .for_each(|(magnitude, noise)| *magnitude *= 1.0 + 0.3 * noise);
            continue;
        };
        let size = 1.0 / (columns as f32).sqrt();
        tensor.values = noise;
        tensor.values.iter_mut().for_each(|value| *value = half::bf16::from_f32(*value * size).to_f32());
    }
    adapter
}

fn narrow() -> LoraConfig {
    let targets = vec![TargetModule::Query, TargetModule::Value, TargetModule::Down];
    LoraConfig { rank: 3, alpha: 4.5, targets, ..lora() }
}

fn wide() -> LoraConfig {
    LoraConfig { rank: 11, alpha: 11.0, ..lora() }
}

fn dora(config: LoraConfig) -> LoraConfig {
    LoraConfig { dora: true, ..config }
}

#[track_caller]
fn assert_near(got: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let error = squares(&mut got.iter().zip(expected).map(|(got, expected)| got - expected));
    let size = squares(&mut expected.iter().copied());
    assert!((error / size).sqrt() < tolerance, "{} of the expected length", (error / size).sqrt());
}

/// Two decoders that are asked the same.
struct Pair {
    cuda: CudaDecoder,
    reference: ReferenceDecoder,
}

impl Pair {
    fn new(device: Arc<dyn Device>, base: &Arc<BaseModel>) -> Self {
        let cuda = CudaDecoder::new(device, Arc::clone(base)).unwrap();
        let reference = ReferenceDecoder::new(Arc::clone(base)).unwrap().exact();
        Self { cuda, reference }
    }

    fn add(&mut self, name: &str, adapter: &AdapterWeights) {
        self.cuda.add_adapter(name, adapter).unwrap();
        self.reference.add_adapter(name, adapter).unwrap();
    }

    fn open(&mut self, adapter: Option<&str>) -> SequenceId {
        let id = self.cuda.open(adapter).unwrap();
        assert_eq!(self.reference.open(adapter).unwrap(), id);
        id
    }

    fn close(&mut self, id: SequenceId) {
        self.cuda.close(id).unwrap();
        self.reference.close(id).unwrap();
    }

    #[track_caller]
    fn extend(&mut self, inputs: &[(SequenceId, Vec<u32>)]) -> Vec<Vec<f32>> {
        let inputs: Vec<(SequenceId, &[u32])> =
            inputs.iter().map(|(id, tokens)| (*id, tokens.as_slice())).collect();
        let got = self.cuda.extend(&inputs).unwrap();
        let expected = self.reference.extend(&inputs).unwrap();
        assert_eq!(got.len(), expected.len());
        for (((id, _), got), expected) in inputs.iter().zip(&got).zip(&expected) {
            assert_near(got, expected, TOLERANCE);
            assert_eq!(self.cuda.length(*id), self.reference.length(*id));
        }
        got
    }
}

/// Prompts of several adapters, single tokens, pieces, and both at once.
fn agree(base: &Arc<BaseModel>, [first, second]: [LoraConfig; 2]) {
    for device in devices() {
        let mut pair = Pair::new(device, base);
        pair.add("first", &adapter(base, &first, 1));
        pair.add("second", &adapter(base, &second, 2));
        let cases = [(Some("second"), 5), (None, 40), (Some("first"), 1), (Some("first"), 66)];
        let ids = cases.map(|(adapter, _)| pair.open(adapter));
        let prompts: Vec<_> =
            (0..).zip(cases).zip(ids).map(|((seed, (_, length)), id)| (id, tokens(seed, length))).collect();
        pair.extend(&prompts);
        for step in 10..12 {
            let next: Vec<_> = (step * 10..).zip(ids).map(|(seed, id)| (id, tokens(seed, 1))).collect();
            pair.extend(&next);
        }
        pair.close(ids[0]);
        let late = pair.open(Some("first"));
        let mixed = [
            (ids[1], tokens(30, 1)),
            (ids[3], tokens(31, 7)),
            (late, tokens(32, 20)),
            (ids[2], tokens(33, 2)),
        ];
        pair.extend(&mixed);
        pair.extend(&[(late, tokens(34, 1))]);
    }
}

#[test]
fn agrees_with_the_reference() {
    agree(&model(config()), [narrow(), wide()]);
}

#[test]
fn agrees_for_the_shapes_of_qwen_and_gemma() {
    agree(&model(qwen_config()), [narrow(), wide()]);
    let base = model(ModelConfig { tie_word_embeddings: false, ..gemma_config() });
    agree(&base, [narrow(), wide()]);
}

#[test]
fn agrees_for_weights_of_four_bits() {
    agree(&nf4_model(config()), [narrow(), wide()]);
}

#[test]
fn dora_agrees_beside_a_plain_adapter() {
    let base = model(config());
    agree(&base, [narrow(), dora(wide())]);
    // Among the layers of the wide one are some that the narrow one leaves alone, in its groups and in others.
    agree(&base, [dora(narrow()), wide()]);
    agree(&base, [dora(narrow()), dora(wide())]);
}

#[test]
fn dora_agrees_for_the_shapes_of_qwen_and_gemma() {
    for base in [model(qwen_config()), model(gemma_config())] {
        agree(&base, [narrow(), dora(wide())]);
        agree(&base, [dora(narrow()), wide()]);
    }
}

#[test]
fn dora_agrees_for_weights_of_four_bits() {
    agree(&nf4_model(config()), [narrow(), dora(wide())]);
    agree(&nf4_model(qwen_config()), [dora(narrow()), wide()]);
}

#[test]
fn a_cache_grows_and_long_inputs_take_several_passes() {
    let base = model(config());
    for device in devices() {
        let mut pair = Pair::new(device, &base);
        pair.cuda = pair.cuda.with_passes_of(150);
        pair.add("one", &adapter(&base, &narrow(), 1));
        let (long, short) = (pair.open(Some("one")), pair.open(Some("one")));
        pair.extend(&[(short, tokens(1, 30)), (long, tokens(2, 254))]);
        for step in 0..3 {
            pair.extend(&[(long, tokens(3 + step, 1)), (short, tokens(6 + step, 1))]);
        }
        pair.extend(&[(long, tokens(10, 300))]);
        assert_eq!(pair.cuda.length(long), Ok(557));
    }
}

#[test]
fn a_wider_adapter_may_come_while_sequences_are_open() {
    a_wider_one_comes([narrow(), wide(), narrow()]);
}

#[test]
fn a_dora_adapter_may_come_and_go_while_sequences_are_open() {
    a_wider_one_comes([narrow(), dora(narrow()), narrow()]);
    a_wider_one_comes([dora(narrow()), wide(), dora(wide())]);
}

/// The last adapter takes the place of the second.
fn a_wider_one_comes([first, second, last]: [LoraConfig; 3]) {
    let base = model(config());
    for device in devices() {
        let mut pair = Pair::new(device, &base);
        let plain = pair.open(None);
        pair.extend(&[(plain, tokens(1, 9))]);
        pair.add("first", &adapter(&base, &first, 1));
        let first = pair.open(Some("first"));
        pair.extend(&[(first, tokens(2, 12)), (plain, tokens(3, 1))]);
        pair.add("second", &adapter(&base, &second, 2));
        let second = pair.open(Some("second"));
        let different = pair.extend(&[(first, tokens(4, 1)), (second, tokens(2, 13)), (plain, tokens(5, 1))]);
        assert_ne!(different[0], different[1]);

        pair.close(second);
        pair.add("second", &adapter(&base, &last, 3));
        let second = pair.open(Some("second"));
        pair.extend(&[(second, tokens(2, 13)), (first, tokens(6, 1))]);
        pair.close(second);
        pair.cuda.remove_adapter("second").unwrap();
        pair.extend(&[(first, tokens(7, 1)), (plain, tokens(8, 2))]);
    }
}

#[test]
fn recorded_steps_agree_with_the_reference() {
    let base = model(config());
    let device: Arc<dyn Device> = Arc::new(emulated_gpu(false));
    let mut pair = Pair::new(device, &base);
    pair.add("one", &adapter(&base, &wide(), 1));
    pair.add("two", &adapter(&base, &narrow(), 2));
    let ids = [Some("one"), None, Some("two"), Some("one")].map(|adapter| pair.open(adapter));
    let prompts: Vec<_> =
        (0..).zip(ids).map(|(seed, id)| (id, tokens(seed, 3 + 7 * seed as usize))).collect();
    pair.extend(&prompts);
    for step in 1..5 {
        let next: Vec<_> = (step * 10..).zip(ids).map(|(seed, id)| (id, tokens(seed, 1))).collect();
        pair.extend(&next);
    }
    let recorded = |pair: &Pair| pair.cuda.model.memory.as_ref().unwrap().graphs.count();
    assert_eq!(recorded(&pair), 3, "one of each adapter and one without");
    // Fewer sequences, and other ones in their rows.
    pair.close(ids[0]);
    for step in 5..8 {
        pair.extend(&[(ids[3], tokens(step, 1)), (ids[1], tokens(step + 1, 2))]);
    }
    // All memory is laid out anew, and recordings go.
    pair.extend(&[(ids[2], tokens(90, 80))]);
    for step in 8..12 {
        pair.extend(&[(ids[2], tokens(step, 1)), (ids[3], tokens(step + 1, 1))]);
    }
    assert_eq!(recorded(&pair), 2);
}

#[test]
fn recorded_steps_know_whose_magnitudes_they_are() {
    let base = model(config());
    let mut pair = Pair::new(Arc::new(emulated_gpu(false)), &base);
    pair.add("plain", &adapter(&base, &wide(), 1));
    for (seed, config) in (2..).zip([dora(narrow()), wide(), dora(wide())]) {
        pair.add("another", &adapter(&base, &config, seed));
        let ids = [Some("another"), Some("plain"), None].map(|adapter| pair.open(adapter));
        pair.extend(&ids.map(|id| (id, tokens(seed, 9))));
        for step in 0..4 {
            pair.extend(&ids.map(|id| (id, tokens(10 * seed + step, 1))));
        }
        for id in ids {
            pair.close(id);
        }
    }
    assert!(pair.cuda.model.memory.as_ref().unwrap().graphs.count() >= 3);
}

#[test]
fn equal_calls_give_equal_bytes() {
    let base = model(config());
    for device in devices() {
        let run = || {
            let mut decoder = CudaDecoder::new(Arc::clone(&device), Arc::clone(&base)).unwrap();
            decoder.add_adapter("one", &adapter(&base, &wide(), 1)).unwrap();
            let ids = [decoder.open(Some("one")).unwrap(), decoder.open(None).unwrap()];
            let mut all = decoder.extend(&[(ids[0], &tokens(1, 40)), (ids[1], &tokens(2, 5))]).unwrap();
            all.extend(decoder.extend(&[(ids[0], &[3]), (ids[1], &[4])]).unwrap());
            all
        };
        assert_eq!(run(), run());
    }
}

#[test]
fn scores_agree_with_the_reference() {
    let base = model(config());
    let text = tokens(3, 120);
    for device in devices() {
        for rows in [4096, 50] {
            let mut pair = Pair::new(Arc::clone(&device), &base);
            pair.cuda = pair.cuda.with_passes_of(rows);
            pair.add("one", &adapter(&base, &wide(), 1));
            pair.add("dora", &adapter(&base, &dora(narrow()), 2));
            let cases = [(None, 1), (Some("one"), 10), (Some("dora"), 1), (Some("one"), 75), (None, 119)];
            for (adapter, from) in cases {
                let got = pair.cuda.score(adapter, &text, from).unwrap();
                let expected = pair.reference.score(adapter, &text, from).unwrap();
                assert_eq!(got.len(), 120 - from);
                assert_near(&got, &expected, TOLERANCE);
            }
            assert!(pair.cuda.score(None, &text, 120).unwrap().is_empty());
            assert!(pair.cuda.score(None, &[5], 1).unwrap().is_empty());
        }
    }
}

#[test]
fn impossible_requests_are_refused_and_change_nothing() {
    let base = model(config());
    for device in devices() {
        let mut decoder = CudaDecoder::new(device, Arc::clone(&base)).unwrap();
        let one = adapter(&base, &narrow(), 1);
        decoder.add_adapter("one", &one).unwrap();
        refuses_the_impossible(&mut decoder, &base.config);
        let mut broken = one;
        broken.tensors.pop_last();
        assert!(matches!(decoder.add_adapter("one", &broken), Err(EngineError::MissingTensor { .. })));
    }
}

#[test]
fn an_output_without_length_is_refused_at_its_first_sequence() {
    let whole = model(config());
    let mut base = Arc::unwrap_or_clone(Arc::clone(&whole));
    let name = TargetModule::Down.weight_name(1);
    base.tensors.get_mut(&name).unwrap().values[..88].fill(0.0);
    let base = Arc::new(base);
    let mut without = adapter(&whole, &dora(narrow()), 1);
    without.tensors.get_mut(&TargetModule::Down.lora_b_name(1)).unwrap().values.fill(0.0);
    for device in devices() {
        let mut pair = Pair::new(device, &base);
        pair.cuda.add_adapter("without", &without).unwrap();
        for _ in 0..2 {
            let refused = pair.cuda.open(Some("without")).unwrap_err();
            assert!(matches!(&refused, EngineError::NoLength { tensor } if *tensor == name), "{refused}");
            assert_eq!(pair.cuda.score(Some("without"), &[1, 2], 1), Err(refused));
        }
        assert!(pair.reference.add_adapter("without", &without).is_err());
        pair.add("plain", &adapter(&base, &wide(), 2));
        let scores = pair.cuda.score(Some("plain"), &[1, 2, 3], 1).unwrap();
        assert_near(&scores, &pair.reference.score(Some("plain"), &[1, 2, 3], 1).unwrap(), TOLERANCE);
    }
}
