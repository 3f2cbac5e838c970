//! The loop on a tiny model: it learns, stops, continues with the same bytes and names what goes wrong.

use std::{path::Path, sync::Arc};

use clara_lifecycle::{
    dataset::{TrainingContent, TrainingRecord},
    spec::{AdapterInit, Method, TrainingOptions},
};
use clara_runtime::stop::{StopSwitch, stop_switch};

use super::*;
use crate::{
    collate::TextTools,
    engine::{Batch, EngineError, LoraConfig, StepReport, TrainingState, reference::ReferenceEngine},
    model::{self, LoadedModel},
};

pub(super) fn tiny() -> LoadedModel {
    tiny_for(Method::Lora)
}

fn tiny_for(method: Method) -> LoadedModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny-llama");
    model::load(&folder, method.into()).unwrap()
}

pub(super) fn options() -> TrainingOptions {
    TrainingOptions {
        rank: 4,
        epochs: 3,
        accumulation: 2,
        sequence_length: 48,
        learning_rate: 5e-3,
        validate_every: 2,
        checkpoint_every: 2,
        ..TrainingOptions::default()
    }
}

fn records(count: usize) -> Vec<TrainingRecord> {
    let text =
        |index: usize| format!("Nr. {index}: Die Baugenehmigung ist zu erteilen, wenn nichts entgegensteht.");
    let record = |index| TrainingRecord {
        document_id: format!("doc-{index}"),
        content: TrainingContent::Text { text: text(index) },
    };
    (0..count).map(record).collect()
}

pub(super) fn input(model: &LoadedModel, options: TrainingOptions) -> Result<TrainingInput, TrainError> {
    input_for(Method::Lora, model, options)
}

fn input_for(
    method: Method,
    model: &LoadedModel,
    options: TrainingOptions,
) -> Result<TrainingInput, TrainError> {
    let tools = TextTools { tokenizer: &model.tokenizer, chat_template: &model.chat_template };
    let (train, validation) = (records(9), records(2));
    TrainingInput::new(
        method,
        options,
        TrainingSources { base: &model.base, tools, train: &train, validation: &validation },
        None,
    )
}

fn engine(model: LoadedModel) -> ReferenceEngine {
    ReferenceEngine::new(Arc::new(model.base)).unwrap()
}

/// Keeps checkpoints in memory and stops the training after some rows.
#[derive(Default)]
struct Probe {
    checkpoints: Vec<Checkpoint>,
    rows: usize,
    stop_after: Option<(usize, StopSwitch, StopReason)>,
}

impl TrainObserver for Probe {
    fn row_passed(&mut self) {
        self.rows += 1;
        if let Some((rows, switch, reason)) = &self.stop_after
            && *rows == self.rows
        {
            switch.stop(*reason);
        }
    }

    fn stepped(&mut self, _record: &StepRecord, _total_steps: u64) -> Result<(), SaveError> {
        Ok(())
    }

    fn validated(&mut self, _record: &ValidationRecord) -> Result<(), SaveError> {
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), SaveError> {
        self.checkpoints.push(checkpoint.clone());
        Ok(())
    }
}

fn undisturbed(options: TrainingOptions) -> (Trained, Vec<Checkpoint>) {
    undisturbed_by(Method::Lora, options)
}

fn undisturbed_by(method: Method, options: TrainingOptions) -> (Trained, Vec<Checkpoint>) {
    let model = tiny_for(method);
    let input = input_for(method, &model, options).unwrap();
    let mut probe = Probe::default();
    let (_switch, stop) = stop_switch();
    match train(&mut engine(model), &input, None, &mut probe, &stop).unwrap() {
        Outcome::Finished(trained) => (*trained, probe.checkpoints),
        Outcome::Stopped(reason) => panic!("stopped: {reason:?}"),
    }
}

fn bytes(trained: &Trained) -> Vec<u8> {
    crate::peft::encode_tensors(&trained.adapter.tensors).unwrap()
}

#[test]
fn the_validation_loss_falls() {
    let (trained, _) = undisturbed(options());
    let (first, last) = (trained.validations.first().unwrap(), trained.validations.last().unwrap());
    assert!(last.loss < first.loss - 0.05, "{} to {}", first.loss, last.loss);
    assert_eq!((first.step, last.step), (0, trained.steps.len() as u64));
}

#[test]
fn the_same_training_gives_the_same_bytes_and_another_seed_others() {
    let (one, _) = undisturbed(options());
    let (two, _) = undisturbed(options());
    let (other, _) = undisturbed(TrainingOptions { seed: 7, ..options() });
    assert_eq!(bytes(&one), bytes(&two));
    assert_ne!(bytes(&one), bytes(&other));
}

#[test]
fn a_training_continued_from_any_checkpoint_ends_with_the_same_bytes() {
    let plus = TrainingOptions { loraplus_lr_ratio: 4.0, use_rslora: true, ..options() };
    for (method, options) in [
        (Method::Lora, options()),
        (Method::Lora, plus),
        (Method::Dora, options()),
        (Method::Qlora, options()),
        (Method::Lora, TrainingOptions { dropout: 0.2, ..options() }),
        (Method::Lora, TrainingOptions { init: AdapterInit::Pissa, weight_decay: 0.01, ..options() }),
    ] {
        let (whole, checkpoints) = undisturbed_by(method, options.clone());
        assert!(checkpoints.len() > 3);
        let place = tempfile::tempdir().unwrap();
        for (index, checkpoint) in checkpoints.iter().enumerate() {
            let folder = place.path().join(index.to_string());
            checkpoint.write(&folder).unwrap();
            let restored = Checkpoint::read(&folder).unwrap();
            assert_eq!(&restored, checkpoint);
            let model = tiny_for(method);
            let input = input_for(method, &model, options.clone()).unwrap();
            let (_switch, stop) = stop_switch();
            let outcome =
                train(&mut engine(model), &input, Some(restored), &mut Probe::default(), &stop).unwrap();
            let Outcome::Finished(continued) = outcome else { panic!("stopped") };
            assert_eq!(bytes(&whole), bytes(&continued), "{method} from step {}", checkpoint.state.steps);
            let losses = |trained: &Trained| trained.steps.iter().map(|step| step.loss).collect::<Vec<_>>();
            assert_eq!(losses(&whole), losses(&continued));
            assert_eq!(whole.validations, continued.validations);
        }
    }
}

#[test]
fn a_training_that_stops_improving_ends_with_the_adapter_of_its_best_validation() {
    // A rate that soon does harm.
    let impatient = TrainingOptions {
        learning_rate: 0.4,
        epochs: 40,
        validate_every: 1,
        early_stopping_patience: 3,
        checkpoint_every: 1,
        ..options()
    };
    let (trained, checkpoints) = undisturbed(impatient.clone());
    let best = best_of(&trained.validations).unwrap();
    assert_eq!(trained.kept_step, best.step);
    assert_eq!(trained.validation_loss(), Some(best.loss));
    assert_eq!(trained.steps.len() as u64, best.step + 3, "three validations without a better loss");
    // Continued from its last checkpoint it ends with the same bytes: the best adapter is kept with it.
    let model = tiny();
    let input = input(&model, impatient).unwrap();
    let (_switch, stop) = stop_switch();
    let from = checkpoints.last().cloned();
    let outcome = train(&mut engine(model), &input, from, &mut Probe::default(), &stop).unwrap();
    let Outcome::Finished(continued) = outcome else { panic!("stopped") };
    assert_eq!(bytes(&trained), bytes(&continued));
}

#[test]
fn a_drained_training_continues_with_the_same_bytes_wherever_it_was_stopped() {
    let patient = TrainingOptions { early_stopping_patience: 5, validate_every: 1, ..options() };
    let (whole, _) = undisturbed(patient.clone());
    for rows in [1, 3, 4, 5, 6, 7, 8, 11] {
        let model = tiny();
        let input = input(&model, patient.clone()).unwrap();
        let (switch, stop) = stop_switch();
        let mut probe = Probe { stop_after: Some((rows, switch, StopReason::Drain)), ..Probe::default() };
        let mut engine = engine(model);
        let outcome = train(&mut engine, &input, None, &mut probe, &stop).unwrap();
        assert_eq!(outcome, Outcome::Stopped(StopReason::Drain));
        assert_eq!(probe.rows, rows, "no row passes after the signal");
        let (_switch, stop) = stop_switch();
        let from = probe.checkpoints.last().cloned();
        let outcome = train(&mut engine, &input, from, &mut Probe::default(), &stop).unwrap();
        let Outcome::Finished(continued) = outcome else { panic!("stopped") };
        assert_eq!(bytes(&whole), bytes(&continued), "stopped after {rows} rows");
        assert_eq!(whole.validations, continued.validations, "stopped after {rows} rows");
    }
}

#[test]
fn a_cancelled_training_keeps_nothing() {
    for reason in [StopReason::Cancel, StopReason::Fenced] {
        let model = tiny();
        let input = input(&model, TrainingOptions { checkpoint_every: 0, ..options() }).unwrap();
        let (switch, stop) = stop_switch();
        let mut probe = Probe { stop_after: Some((5, switch, reason)), ..Probe::default() };
        let outcome = train(&mut engine(model), &input, None, &mut probe, &stop).unwrap();
        assert_eq!(outcome, Outcome::Stopped(reason));
        assert!(probe.checkpoints.is_empty());
    }
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let (_, checkpoints) = undisturbed(options());
    let model = tiny();
    let other = input(&model, TrainingOptions { learning_rate: 1e-3, ..options() }).unwrap();
    let (_switch, stop) = stop_switch();
    let from = checkpoints.first().cloned();
    let refused = train(&mut engine(model), &other, from, &mut Probe::default(), &stop).unwrap_err();
    assert!(matches!(refused, TrainError::OtherTraining { .. }), "{refused}");
}

#[test]
fn the_plan_ends_at_the_step_limit() {
    let (trained, _) = undisturbed(TrainingOptions { max_steps: 3, ..options() });
    assert_eq!(trained.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn options_that_do_not_fit_the_model_are_refused_before_training() {
    let model = tiny();
    for (options, part) in [
        (TrainingOptions { rank: 65, ..options() }, "rank 65 is larger than layer"),
        (TrainingOptions { sequence_length: 4096, ..options() }, "made for 2048 tokens"),
        (TrainingOptions { target_modules: vec!["lm_head".into()], ..options() }, "`lm_head` is unknown"),
        (TrainingOptions { dropout: 1.0, ..options() }, "dropout is 1; expected 0 to below 1"),
        (TrainingOptions { epochs: 0, ..options() }, "training.epochs is 0"),
        (TrainingOptions { learning_rate: f32::NAN, ..options() }, "learning_rate is NaN"),
        (TrainingOptions { loraplus_lr_ratio: 0.0, ..options() }, "loraplus_lr_ratio is 0"),
        (TrainingOptions { min_lr_ratio: 5.0, ..options() }, "min_lr_ratio is 5"),
        (TrainingOptions { early_stopping_patience: 2, validate_every: 0, ..options() }, "needs validations"),
    ] {
        let refused = input(&model, options).unwrap_err();
        assert!(refused.to_string().contains(part), "{refused}");
        assert!(!refused.is_retryable());
    }
}

/// Fails as a diverging training does.
struct Diverging {
    inner: ReferenceEngine,
    loss: f64,
}

impl Engine for Diverging {
    fn seed_dropout(&mut self, seed: u64) {
        self.inner.seed_dropout(seed);
    }

    fn init_adapter(&mut self, config: &LoraConfig, seed: u64) -> Result<(), EngineError> {
        self.inner.init_adapter(config, seed)
    }

    fn load_adapter(&mut self, adapter: &AdapterWeights) -> Result<(), EngineError> {
        self.inner.load_adapter(adapter)
    }

    fn forward_backward(&mut self, batch: &Batch, _: usize) -> Result<BatchLoss, EngineError> {
        Ok(BatchLoss { loss_sum: self.loss, target_tokens: batch.tokens.len() })
    }

    fn step(&mut self, _: &StepOptions) -> Result<StepReport, EngineError> {
        Err(EngineError::NotFinite { norm: f64::INFINITY })
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<BatchLoss, EngineError> {
        self.inner.evaluate(batch)
    }

    fn gradients(&self) -> Result<std::collections::BTreeMap<String, model::HostTensor>, EngineError> {
        self.inner.gradients()
    }

    fn save(&self) -> Result<TrainingState, EngineError> {
        self.inner.save()
    }

    fn restore(&mut self, state: &TrainingState) -> Result<(), EngineError> {
        self.inner.restore(state)
    }
}

#[test]
fn a_diverging_training_names_step_and_documents() {
    for loss in [f64::NAN, 1.0] {
        let model = tiny();
        let input = input(&model, TrainingOptions { shuffle: false, packing: false, ..options() }).unwrap();
        let (_switch, stop) = stop_switch();
        let mut engine = Diverging { inner: engine(model), loss };
        let error = train(&mut engine, &input, None, &mut Probe::default(), &stop).unwrap_err().to_string();
        assert!(error.contains("step 1") && error.contains("documents doc-0"), "{error}");
    }
}
