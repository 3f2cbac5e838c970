//! Checks training: gradients, determinism, restoring, refusals.

#![expect(clippy::cast_precision_loss, reason = "test values are small")]

use std::sync::Arc;

use super::{
    ReferenceEngine,
    testing::{lora, packed, random_model, tiny_config},
};
use crate::{
    engine::{Batch, Engine, EngineError, IGNORED, LoraConfig, StepOptions, TargetModule},
    model::{Llama3Scaling, ModelConfig, RopeScaling},
};

fn engine(config: ModelConfig) -> ReferenceEngine {
    let mut engine = ReferenceEngine::new(random_model(config)).unwrap();
    engine.init_adapter(&lora(), 5).unwrap();
    let mut adapter = engine.save().unwrap().adapter;
    for (seed, (name, tensor)) in adapter.tensors.iter_mut().enumerate() {
        if name.contains("lora_B") {
            tensor.values = crate::ops::testing::random(seed as u64, tensor.values.len());
            for v in &mut tensor.values {
                *v *= 0.2;
            }
        }
    }
    engine.load_adapter(&adapter).unwrap();
    engine
}

fn targets(batch: &Batch) -> usize {
    batch.labels.iter().filter(|label| **label != IGNORED).count()
}

fn check_against_finite_differences(config: ModelConfig) {
    let batch = packed(&[9, 5], config.vocab_size);
    let mut engine = engine(config);
    let loss = engine.forward_backward(&batch, 7).unwrap();
    let evaluated = engine.evaluate(&batch).unwrap();
    assert!((loss.loss_sum - evaluated.loss_sum).abs() < 1e-4);
    let loss_of = |engine: &mut ReferenceEngine| engine.evaluate(&batch).unwrap().loss_sum;
    check_gradients(&mut engine, loss_of);
}

/// Compares the gathered gradients with differences of `loss_of`, the summed loss of the batch of 7 target tokens.
fn check_gradients(engine: &mut ReferenceEngine, loss_of: impl Fn(&mut ReferenceEngine) -> f64) {
    let gradients = engine.gradients().unwrap();
    let adapter = engine.save().unwrap().adapter;
    for (name, gradient) in &gradients {
        let largest = gradient.values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        assert!(largest > 1e-4, "the gradient of {name} is zero");
        for index in (0..gradient.values.len()).step_by(5) {
            let loss_at = |engine: &mut ReferenceEngine, step: f32| {
                let mut moved = adapter.clone();
                moved.tensors.get_mut(name).unwrap().values[index] += step;
                engine.load_adapter(&moved).unwrap();
                loss_of(engine) / 7.0
            };
            let step = 5e-3_f32;
            let difference = (loss_at(engine, step) - loss_at(engine, -step)) / (2.0 * f64::from(step));
            let got = f64::from(gradient.values[index]);
            assert!(
                (got - difference).abs() < 2e-3 * f64::from(largest).max(0.05),
                "{name}[{index}]: got {got}, finite difference {difference}"
            );
        }
    }
}

#[test]
fn gradients_of_the_whole_model_agree_with_finite_differences() {
    check_against_finite_differences(tiny_config());
}

/// An engine whose adapter is trained with dropout, before its first pass.
fn dropping_engine(seed: u64) -> ReferenceEngine {
    let mut engine = engine(tiny_config());
    let mut adapter = engine.save().unwrap().adapter;
    adapter.config.dropout = 0.3;
    engine.load_adapter(&adapter).unwrap();
    engine.seed_dropout(seed);
    engine
}

#[test]
fn gradients_under_dropout_agree_with_finite_differences() {
    let batch = packed(&[9, 5], tiny_config().vocab_size);
    let mut engine = dropping_engine(11);
    let loss = engine.forward_backward(&batch, 7).unwrap();
    let evaluated = engine.evaluate(&batch).unwrap();
    assert!((loss.loss_sum - evaluated.loss_sum).abs() > 1e-3, "dropout changes nothing");
    // A loaded adapter begins with the same zeroes again.
    check_gradients(&mut engine, |engine| engine.forward_backward(&batch, 7).unwrap().loss_sum);
}

#[test]
fn dropout_follows_from_seed_step_and_batch_alone() {
    let batch = packed(&[9, 5], tiny_config().vocab_size);
    let losses = |engine: &mut ReferenceEngine| {
        [0; 2].map(|_| engine.forward_backward(&batch, 14).unwrap().loss_sum.to_bits())
    };
    let mut engine = dropping_engine(11);
    let first = losses(&mut engine);
    assert_ne!(first[0], first[1], "two batches of a step have the same zeroes");
    engine.step(&StepOptions::default()).unwrap();
    let saved = engine.save().unwrap();
    let second = losses(&mut engine);
    engine.restore(&saved).unwrap();
    assert_eq!(losses(&mut engine), second);
    assert_eq!(losses(&mut dropping_engine(11)), first);
    assert_ne!(losses(&mut dropping_engine(12)), first);
}

#[test]
fn recomputed_blocks_give_the_same_bytes() {
    let batch = packed(&[9, 5], tiny_config().vocab_size);
    let state = |mut engine: ReferenceEngine| {
        let mut config = lora();
        (config.dora, config.dropout) = (true, 0.2);
        engine.init_adapter(&config, 5).unwrap();
        for _ in 0..3 {
            engine.forward_backward(&batch, 7).unwrap();
            engine.step(&StepOptions::default()).unwrap();
        }
        engine.save().unwrap()
    };
    let base = random_model(tiny_config());
    let keeping = ReferenceEngine::new(Arc::clone(&base)).unwrap();
    let recomputing = ReferenceEngine::new(base).unwrap().recomputing();
    assert_eq!(state(keeping), state(recomputing));
}

#[test]
fn gradients_agree_with_an_untied_head_and_scaled_positions() {
    let scaling = Llama3Scaling {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 64,
    };
    let config = ModelConfig {
        tie_word_embeddings: false,
        rope_scaling: Some(RopeScaling::Llama3(scaling)),
        ..tiny_config()
    };
    check_against_finite_differences(config);
}

#[test]
fn a_packed_batch_equals_its_documents_alone() {
    let (mut together, mut apart) = (engine(tiny_config()), engine(tiny_config()));
    let batch = packed(&[70, 9], 31);
    let loss = together.forward_backward(&batch, targets(&batch)).unwrap();
    let mut sum = 0.0;
    for document in &batch.documents {
        let alone = Batch {
            tokens: batch.tokens[document.clone()].to_vec(),
            labels: batch.labels[document.clone()].to_vec(),
            documents: std::iter::once(0..document.len()).collect(),
        };
        sum += apart.forward_backward(&alone, targets(&batch)).unwrap().loss_sum;
    }
    assert!((loss.loss_sum - sum).abs() < 1e-4 * sum);
    let (together, apart) = (together.gradients().unwrap(), apart.gradients().unwrap());
    for (name, gradient) in &together {
        crate::ops::testing::assert_close(&gradient.values, &apart[name].values, 1e-4);
    }
}

#[test]
fn steps_lower_the_loss() {
    let batch = packed(&[40], 31);
    let mut engine = engine(tiny_config());
    let before = engine.evaluate(&batch).unwrap().loss_sum;
    let options = StepOptions { learning_rate: 1e-2, ..StepOptions::default() };
    for _ in 0..20 {
        engine.forward_backward(&batch, targets(&batch)).unwrap();
        let report = engine.step(&options).unwrap();
        assert!(report.grad_norm > 0.0);
    }
    let after = engine.evaluate(&batch).unwrap().loss_sum;
    assert!(after < 0.8 * before, "loss {before} before, {after} after");
}

#[test]
fn a_restored_state_continues_with_the_same_bytes() {
    let batch = packed(&[30, 12], 31);
    let mut first = engine(tiny_config());
    let advance = |engine: &mut ReferenceEngine, steps| {
        for _ in 0..steps {
            engine.forward_backward(&batch, targets(&batch)).unwrap();
            engine.step(&StepOptions::default()).unwrap();
        }
    };
    advance(&mut first, 2);
    let state = first.save().unwrap();
    let mut second = ReferenceEngine::new(random_model(tiny_config())).unwrap();
    second.restore(&state).unwrap();
    assert_eq!(second.save().unwrap(), state);
    advance(&mut first, 3);
    advance(&mut second, 3);
    assert_eq!(first.save().unwrap(), second.save().unwrap());
}

#[test]
fn the_number_of_threads_does_not_change_a_byte() {
    let config = ModelConfig { hidden_size: 144, intermediate_size: 400, ..tiny_config() };
    let train = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let batch = packed(&[150, 90], 31);
            let mut engine = engine(config.clone());
            for _ in 0..2 {
                engine.forward_backward(&batch, targets(&batch)).unwrap();
                engine.step(&StepOptions::default()).unwrap();
            }
            engine.save().unwrap()
        })
    };
    let single = train(1);
    assert_eq!(single, train(2));
    assert_eq!(single, train(5));
}

#[test]
fn the_same_seed_gives_the_same_adapter_and_b_starts_at_zero() {
    let mut engine = ReferenceEngine::new(random_model(tiny_config())).unwrap();
    let mut adapter = |seed| {
        engine.init_adapter(&lora(), seed).unwrap();
        engine.save().unwrap().adapter
    };
    let (first, again, other) = (adapter(1), adapter(1), adapter(2));
    assert_eq!(first, again);
    assert_ne!(first, other);
    for (name, tensor) in &first.tensors {
        let bound = 1.0 / (tensor.shape[1] as f32).sqrt();
        let zero = name.contains("lora_B");
        assert!(
            tensor.values.iter().all(|v| if zero { *v == 0.0 } else { *v != 0.0 && v.abs() <= bound }),
            "{name}"
        );
    }
}

#[test]
fn chosen_targets_get_the_values_they_have_among_all() {
    let mut engine = ReferenceEngine::new(random_model(tiny_config())).unwrap();
    engine.init_adapter(&lora(), 1).unwrap();
    let all = engine.save().unwrap().adapter.tensors;
    let some = LoraConfig { targets: vec![TargetModule::Value, TargetModule::Down], ..lora() };
    engine.init_adapter(&some, 1).unwrap();
    let chosen = engine.save().unwrap().adapter.tensors;
    assert_eq!(chosen.len(), 8);
    for (name, tensor) in &chosen {
        assert_eq!(tensor, &all[name], "{name}");
    }
    let batch = packed(&[20], 31);
    engine.forward_backward(&batch, targets(&batch)).unwrap();
    let gradients = engine.gradients().unwrap();
    for (name, gradient) in gradients.iter().filter(|(name, _)| name.contains("lora_B")) {
        assert!(gradient.values.iter().any(|v| *v != 0.0), "{name}");
    }
}

#[test]
fn adapters_that_the_model_cannot_carry_are_refused() {
    let mut engine = ReferenceEngine::new(random_model(tiny_config())).unwrap();
    let refused = engine.init_adapter(&LoraConfig { rank: 13, ..lora() }, 1).unwrap_err();
    assert!(
        matches!(refused, EngineError::Rank { rank: 13, module: "k_proj", in_features: 12, out_features: 8 }),
        "{refused}"
    );
    let principal = LoraConfig { rank: 18, frozen_rank: 9, targets: vec![TargetModule::Down], ..lora() };
    assert!(engine.init_adapter(&principal, 1).is_ok());
    let beyond = LoraConfig { rank: 18, frozen_rank: 9, targets: vec![TargetModule::Key], ..lora() };
    assert!(engine.init_adapter(&beyond, 1).is_err(), "a weight of 8 rows has no 9 directions");
    let refused = engine.init_adapter(&LoraConfig { targets: vec![], ..lora() }, 1).unwrap_err();
    assert_eq!(refused, EngineError::NoTargets);
    let twice = LoraConfig { targets: vec![TargetModule::Up, TargetModule::Up], ..lora() };
    assert_eq!(
        engine.init_adapter(&twice, 1).unwrap_err(),
        EngineError::DuplicateTarget { module: "up_proj" }
    );

    engine.init_adapter(&lora(), 1).unwrap();
    let good = engine.save().unwrap().adapter;
    let name = TargetModule::Key.lora_b_name(1);
    let mut missing = good.clone();
    missing.tensors.remove(&name);
    assert!(
        matches!(engine.load_adapter(&missing).unwrap_err(), EngineError::MissingTensor { tensor, .. } if tensor == name)
    );
    let mut misshaped = good.clone();
    misshaped.tensors.get_mut(&name).unwrap().shape = vec![3, 8];
    assert!(
        matches!(engine.load_adapter(&misshaped).unwrap_err(), EngineError::TensorShape { tensor, .. } if tensor == name)
    );
    let mut stray = good;
    stray.tensors.insert("stray".to_owned(), stray.tensors[&name].clone());
    assert_eq!(
        engine.load_adapter(&stray).unwrap_err(),
        EngineError::UnexpectedTensor { tensor: "stray".to_owned() }
    );
}

#[test]
fn malformed_batches_are_refused_and_leave_no_gradient() {
    let mut bare = ReferenceEngine::new(random_model(tiny_config())).unwrap();
    let good = packed(&[6, 4], 31);
    assert_eq!(bare.forward_backward(&good, 8).unwrap_err(), EngineError::NoAdapter);
    let mut engine = engine(tiny_config());
    let mut refuse = |change: &dyn Fn(&mut Batch)| {
        let mut batch = good.clone();
        change(&mut batch);
        engine.forward_backward(&batch, 8).unwrap_err()
    };
    assert!(matches!(refuse(&|b| b.labels.fill(IGNORED)), EngineError::NoTargetTokens { positions: 10 }));
    assert!(matches!(refuse(&|b| b.tokens[3] = 31), EngineError::TokenRange { token: 31, position: 3, .. }));
    assert!(matches!(refuse(&|b| b.labels[2] = -1), EngineError::TokenRange { token: -1, position: 2, .. }));
    assert!(matches!(refuse(&|b| b.documents[1] = 7..10), EngineError::Batch { .. }));
    assert!(matches!(refuse(&|b| b.documents.truncate(1)), EngineError::Batch { .. }));
    assert!(matches!(refuse(&|b| b.labels.truncate(9)), EngineError::Batch { .. }));
    assert!(engine.gradients().unwrap().values().all(|g| g.values.iter().all(|v| *v == 0.0)));
}

#[test]
fn an_incomplete_model_is_refused_by_the_name_of_the_tensor() {
    let mut model = (*random_model(tiny_config())).clone();
    model.tensors.remove("model.layers.1.mlp.up_proj.weight");
    let refused = ReferenceEngine::new(Arc::new(model)).unwrap_err();
    assert!(
        matches!(refused, EngineError::MissingTensor { tensor, .. } if tensor == "model.layers.1.mlp.up_proj.weight")
    );
}

#[test]
fn gradients_that_are_not_numbers_stop_the_step() {
    let mut engine = engine(tiny_config());
    let mut adapter = engine.save().unwrap().adapter;
    adapter.tensors.get_mut(&TargetModule::Down.lora_a_name(0)).unwrap().values[0] = f32::NAN;
    engine.load_adapter(&adapter).unwrap();
    let batch = packed(&[6], 31);
    engine.forward_backward(&batch, 4).unwrap();
    assert!(matches!(engine.step(&StepOptions::default()).unwrap_err(), EngineError::NotFinite { .. }));
}

#[test]
fn a_principal_adapter_begins_as_the_base_model_and_learns_only_its_first_half() {
    let batch = packed(&[9, 5], tiny_config().vocab_size);
    let mut bare = ReferenceEngine::new(random_model(tiny_config())).unwrap();
    let base_loss = bare.evaluate(&batch).unwrap().loss_sum;
    let config = LoraConfig { rank: 6, frozen_rank: 3, ..lora() };
    let mut engine = ReferenceEngine::new(random_model(tiny_config())).unwrap();
    engine.init_adapter(&config, 5).unwrap();
    assert!((engine.evaluate(&batch).unwrap().loss_sum - base_loss).abs() < 1e-4);
    let begun = engine.save().unwrap().adapter;
    let decaying = StepOptions { weight_decay: 0.1, learning_rate: 1e-2, ..StepOptions::default() };
    for _ in 0..5 {
        engine.forward_backward(&batch, 7).unwrap();
        engine.step(&decaying).unwrap();
    }
    let trained = engine.save().unwrap().adapter;
    assert!(engine.evaluate(&batch).unwrap().loss_sum < base_loss - 0.01);
    for (name, before) in &begun.tensors {
        let after = &trained.tensors[name];
        // `A` has a direction in each row, `B` in each column.
        let direction = |index: usize| {
            if name.contains("lora_A") { index / before.shape[1] } else { index % before.shape[1] }
        };
        for (index, (before, after)) in before.values.iter().zip(&after.values).enumerate() {
            let has_moved = before.to_bits() != after.to_bits();
            assert_eq!(has_moved, direction(index) < 3, "{name}[{index}]: {before} became {after}");
        }
    }
}

#[test]
fn the_factors_of_a_principal_adapter_are_those_of_the_weight() {
    let base = random_model(tiny_config());
    let config = LoraConfig { rank: 6, frozen_rank: 3, alpha: 12.0, ..lora() };
    let mut engine = ReferenceEngine::new(Arc::clone(&base)).unwrap();
    engine.init_adapter(&config, 5).unwrap();
    let adapter = engine.save().unwrap().adapter;
    let weight = &base.tensors["model.layers.0.mlp.down_proj.weight"];
    let a = &adapter.tensors[&TargetModule::Down.lora_a_name(0)];
    let b = &adapter.tensors[&TargetModule::Down.lora_b_name(0)];
    let (rows, columns) = (weight.shape[0], weight.shape[1]);
    // What is left of the weight has nothing along the directions taken: A·(W − s·B·A)ᵀ = 0.
    let scale = 2.0;
    let learned = |row: usize, column: usize| -> f32 {
        (0..3).map(|k| b.values[row * 6 + k] * a.values[k * columns + column]).sum::<f32>() * scale
    };
    for k in 0..3 {
        for row in 0..rows {
            let left = |column: usize| weight.values[row * columns + column] - learned(row, column);
            let along: f32 = (0..columns).map(|column| a.values[k * columns + column] * left(column)).sum();
            let of_weight: f32 = (0..columns)
                .map(|column| a.values[k * columns + column] * weight.values[row * columns + column])
                .sum();
            assert!(
                along.abs() < 1e-3 * of_weight.abs().max(0.1),
                "direction {k}, row {row}: {along} of {of_weight}"
            );
        }
    }
}
