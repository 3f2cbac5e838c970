//! Methods beside plain LoRA against the reference engine, which has the same masks of dropout and the same beginnings.

use super::*;
use crate::cuda::testing::emulated_gpu;

/// Distances of the factors `A` and `B` and of magnitudes, where there are any.
fn distances(
    got: &BTreeMap<String, HostTensor>,
    expected: &BTreeMap<String, HostTensor>,
) -> Vec<(&'static str, f64)> {
    let of = |tensors: &BTreeMap<String, HostTensor>, kind: &str| -> BTreeMap<String, HostTensor> {
        tensors.iter().filter(|(name, _)| name.contains(kind)).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    assert_eq!(got.len(), expected.len());
    let kinds = ["lora_A", "lora_B", "magnitude"].into_iter();
    let kinds = kinds.map(|kind| (kind, of(got, kind), of(expected, kind)));
    let kinds = kinds
        .filter(|(.., expected)| expected.values().any(|tensor| tensor.values.iter().any(|v| *v != 0.0)));
    kinds.map(|(kind, got, expected)| (kind, distance(&got, &expected))).collect()
}

#[track_caller]
fn assert_near(got: &BTreeMap<String, HostTensor>, expected: &BTreeMap<String, HostTensor>, tolerance: f64) {
    let distances = distances(got, expected);
    assert!(!distances.is_empty());
    assert!(distances.iter().all(|(_, distance)| *distance < tolerance), "{distances:?}");
}

/// An adapter whose every part does something: no factor is zero, no output keeps its length.
fn moved(adapter: &AdapterWeights) -> AdapterWeights {
    let mut adapter = adapter.clone();
    for (seed, (name, tensor)) in (50..).zip(&mut adapter.tensors) {
        let noise = random(seed, tensor.values.len());
        for (value, noise) in tensor.values.iter_mut().zip(noise) {
            if name.contains("lora_B") {
                *value += 0.1 * noise;
            } else if name.contains("magnitude") {
                *value *= 1.0 + 0.3 * noise;
            }
        }
    }
    adapter
}

/// Beginnings, then losses and gradients of several passes and steps.
fn agree(base: &Arc<BaseModel>, lora: &LoraConfig) {
    let tolerance = 0.01;
    let batches = [packed(&[5, 70, 1, 30], base.config.vocab_size), packed(&[64], base.config.vocab_size)];
    let targets = batches.iter().flat_map(|batch| &batch.labels).filter(|label| **label >= 0).count();
    let options =
        StepOptions { learning_rate: 1e-2, weight_decay: 0.1, b_rate_ratio: 2.0, ..StepOptions::default() };
    for device in devices() {
        let mut reference = ReferenceEngine::new(Arc::clone(base)).unwrap();
        let mut engine = CudaEngine::new(device, Arc::clone(base)).unwrap();
        reference.seed_dropout(3);
        engine.seed_dropout(3);
        reference.init_adapter(lora, 7).unwrap();
        engine.init_adapter(lora, 7).unwrap();
        let begun = reference.save().unwrap().adapter;
        assert_near(&engine.save().unwrap().adapter.tensors, &begun.tensors, 2e-3);
        for start in [begun.clone(), moved(&begun)] {
            reference.load_adapter(&start).unwrap();
            engine.load_adapter(&start).unwrap();
            for step in 0..2 {
                for batch in &batches {
                    let expected = reference.forward_backward(batch, targets).unwrap();
                    let got = engine.forward_backward(batch, targets).unwrap();
                    let ratio = got.loss_sum / expected.loss_sum;
                    assert!((ratio - 1.0).abs() < tolerance, "step {step}: {got:?} against {expected:?}");
                }
                let expected = reference.gradients().unwrap();
                assert_near(&engine.gradients().unwrap(), &expected, 4.0 * tolerance);
                reference.step(&options).unwrap();
                engine.step(&options).unwrap();
                let (got, expected) =
                    (engine.evaluate(&batches[0]).unwrap(), reference.evaluate(&batches[0]).unwrap());
                let ratio = got.loss_sum / expected.loss_sum;
                assert!((ratio - 1.0).abs() < 2.0 * tolerance, "after step {step}: {got:?} {expected:?}");
                // The first steps of AdamW go by signs: what is left apart then is not the engine's.
                engine.restore(&reference.save().unwrap()).unwrap();
            }
        }
        continues_with_the_same_bytes(engine, base, &batches);
    }
}

/// A state that was saved continues in another engine, which keeps fewer activations, with the same bytes.
fn continues_with_the_same_bytes(mut engine: CudaEngine, base: &Arc<BaseModel>, batches: &[Batch]) {
    let advance = |engine: &mut CudaEngine| {
        let losses: Vec<u64> = [0, 1, 0]
            .map(|batch: usize| engine.forward_backward(&batches[batch], 100).unwrap().loss_sum.to_bits())
            .to_vec();
        engine.step(&StepOptions::default()).unwrap();
        (losses, engine.save().unwrap())
    };
    let (_, state) = advance(&mut engine);
    let another = CudaEngine::new(Arc::clone(&engine.device), Arc::clone(base)).unwrap();
    let mut another = another.keeping_at_most(1);
    another.seed_dropout(3);
    another.restore(&state).unwrap();
    assert_eq!(another.save().unwrap(), state);
    for _ in 0..2 {
        assert_eq!(advance(&mut engine), advance(&mut another));
    }
}

fn dora() -> LoraConfig {
    LoraConfig { dora: true, ..lora() }
}

/// Two of three layers of the first group, none of the second, one of two of the third.
fn some_targets() -> Vec<TargetModule> {
    vec![TargetModule::Query, TargetModule::Value, TargetModule::Up, TargetModule::Down]
}

#[test]
fn dora_agrees() {
    agree(&model(config()), &dora());
}

#[test]
fn dora_agrees_on_some_layers() {
    agree(&model(config()), &LoraConfig { rank: 9, targets: some_targets(), ..dora() });
    agree(
        &model(config()),
        &LoraConfig { targets: vec![TargetModule::Output, TargetModule::Gate], ..dora() },
    );
}

#[test]
fn dora_agrees_with_biases_and_norms() {
    agree(&model(qwen_config()), &dora());
    agree(&model(gemma_config()), &dora());
    agree(&model(gemma_config()), &LoraConfig { targets: some_targets(), ..dora() });
}

#[test]
fn dora_agrees_on_four_bits() {
    agree(&nf4_model(config()), &dora());
    agree(&nf4_model(qwen_config()), &LoraConfig { targets: some_targets(), ..dora() });
}

fn dropping(lora: LoraConfig) -> LoraConfig {
    LoraConfig { dropout: 0.1, ..lora }
}

#[test]
fn dropout_agrees() {
    agree(&model(config()), &dropping(lora()));
}

#[test]
fn dropout_agrees_on_some_layers_and_with_norms() {
    agree(&model(qwen_config()), &LoraConfig { rank: 9, targets: some_targets(), ..dropping(lora()) });
    agree(&model(gemma_config()), &dropping(lora()));
}

#[test]
fn dropout_agrees_under_dora_and_on_four_bits() {
    agree(&model(gemma_config()), &dropping(dora()));
    agree(&nf4_model(config()), &dropping(dora()));
}

#[test]
fn masks_change_in_recorded_passes() {
    let base = model(config());
    let mut reference = ReferenceEngine::new(Arc::clone(&base)).unwrap();
    let mut engine = CudaEngine::new(Arc::new(emulated_gpu(false)), Arc::clone(&base)).unwrap();
    let half = LoraConfig { dropout: 0.5, ..lora() };
    reference.init_adapter(&half, 7).unwrap();
    let start = moved(&reference.save().unwrap().adapter);
    reference.load_adapter(&start).unwrap();
    engine.load_adapter(&start).unwrap();
    let batch = packed(&[40, 24], base.config.vocab_size);
    // The same pass over and over: without masks of their own each would add the same.
    for _ in 0..6 {
        reference.forward_backward(&batch, 60).unwrap();
        engine.forward_backward(&batch, 60).unwrap();
    }
    assert_eq!(engine.memory.as_ref().unwrap().graphs.count(), 2);
    assert_near(&engine.gradients().unwrap(), &reference.gradients().unwrap(), 0.04);
}

#[test]
fn an_engine_leaves_no_recordings_on_its_device() {
    let base = model(config());
    let device = Arc::new(emulated_gpu(false));
    let mut engine = CudaEngine::new(Arc::clone(&device) as Arc<dyn Device>, Arc::clone(&base)).unwrap();
    let batch = packed(&[40, 24], base.config.vocab_size);
    for _ in 0..2 {
        engine.init_adapter(&lora(), 7).unwrap();
        for _ in 0..2 {
            engine.forward_backward(&batch, 60).unwrap();
        }
        assert_eq!(device.recordings(), 2, "forward and backward, of this adapter alone");
    }
    drop(engine);
    assert_eq!(device.recordings(), 0);
}

fn principal() -> LoraConfig {
    LoraConfig { rank: 6, frozen_rank: 3, ..lora() }
}

#[test]
fn principal_adapters_agree() {
    agree(&model(config()), &principal());
    let some = LoraConfig { rank: 18, frozen_rank: 9, targets: some_targets(), ..principal() };
    agree(&model(qwen_config()), &some);
}

#[test]
fn principal_adapters_agree_under_every_other_method() {
    agree(&nf4_model(gemma_config()), &LoraConfig { dora: true, dropout: 0.1, ..principal() });
}

#[test]
fn frozen_directions_stay_as_they_began() {
    let base = model(config());
    let batch = packed(&[40, 24], base.config.vocab_size);
    for device in devices() {
        let mut engine = CudaEngine::new(device, Arc::clone(&base)).unwrap();
        engine.init_adapter(&principal(), 5).unwrap();
        let begun = engine.save().unwrap().adapter;
        let decaying = StepOptions { weight_decay: 0.1, learning_rate: 1e-2, ..StepOptions::default() };
        for _ in 0..3 {
            engine.forward_backward(&batch, 60).unwrap();
            engine.step(&decaying).unwrap();
        }
        let trained = engine.save().unwrap().adapter;
        for (name, before) in &begun.tensors {
            let after = &trained.tensors[name].values;
            for (index, (before_value, after)) in before.values.iter().zip(after).enumerate() {
                let width = before.shape[1];
                let direction = if name.contains("lora_A") { index / width } else { index % width };
                let has_moved = before_value.to_bits() != after.to_bits();
                assert_eq!(has_moved, direction < 3, "{name}[{index}]: {before_value} became {after}");
            }
        }
    }
}

#[test]
fn an_output_without_length_is_refused() {
    let mut base = Arc::unwrap_or_clone(model(config()));
    let name = TargetModule::Up.weight_name(1);
    let tensor = base.tensors.get_mut(&name).unwrap();
    tensor.values[..48].fill(0.0);
    for device in devices() {
        let mut engine = CudaEngine::new(device, Arc::new(base.clone())).unwrap();
        let refused = engine.init_adapter(&dora(), 1).unwrap_err();
        assert!(matches!(&refused, EngineError::NoLength { tensor } if *tensor == name), "{refused}");
    }
}
