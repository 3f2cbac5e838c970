//! Behaviour of answering a golden dataset with the tiny random model.

use std::path::Path;

use super::*;
use crate::{
    engine::{Engine, reference::ReferenceEngine},
    model_cache::ModelCache,
    peft,
};

pub(super) fn model() -> Arc<SharedModel> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny-llama");
    ModelCache::new().load(&path, crate::model::Precision::Full).unwrap()
}

fn adapter(model: &SharedModel, name: &str) -> AdapterWeights {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/peft-tiny").join(name);
    peft::read(&folder, &model.base.config).unwrap()
}

/// An adapter with `B` zero, which changes nothing.
fn untrained(model: &SharedModel) -> AdapterWeights {
    let mut engine = ReferenceEngine::new(Arc::clone(&model.base)).unwrap();
    engine.init_adapter(&adapter(model, "final").config, 1).unwrap();
    engine.save().unwrap().adapter
}

fn samples(count: usize) -> Vec<GoldenSample> {
    (0..count)
        .map(|index| GoldenSample {
            sample_id: format!("probe-{index}"),
            context: (index % 2 == 1).then(|| "§ 35 BauGB".to_owned()),
            ..GoldenSample::new(
                format!("Frage {index}: ist das zulässig?"),
                format!("Ja, nach Nummer {index}."),
            )
        })
        .collect()
}

fn options() -> GenerationOptions {
    GenerationOptions {
        max_new_tokens: 6,
        system_prompt: Some("Antworte kurz.".into()),
        ..Default::default()
    }
}

#[derive(Default)]
struct Watch {
    seen: Vec<AnswersProgress>,
    stop_after: Option<usize>,
}

impl Observer for Watch {
    fn stop(&self) -> Option<StopReason> {
        self.stop_after.filter(|steps| self.seen.len() >= *steps).map(|_| StopReason::Cancel)
    }

    fn progress(&mut self, progress: AnswersProgress) {
        self.seen.push(progress);
    }
}

fn answered(contestants: &Contestants, limits: BatchLimits) -> Vec<SampleAnswers> {
    answer(&model(), contestants, &samples(5), &options(), limits, &mut Watch::default()).unwrap()
}

#[test]
fn every_contestant_answers_every_sample_in_the_datasets_order() {
    let model = model();
    let contestants = Contestants { candidate: adapter(&model, "final"), champion: Some(untrained(&model)) };
    let mut watch = Watch::default();
    let answers =
        answer(&model, &contestants, &samples(5), &options(), BatchLimits::default(), &mut watch).unwrap();
    let ids: Vec<_> = answers.iter().map(|sample| sample.sample_id.as_str()).collect();
    assert_eq!(ids, ["probe-0", "probe-1", "probe-2", "probe-3", "probe-4"]);
    for sample in &answers {
        let champion = sample.champion.as_ref().unwrap();
        assert_ne!(sample.candidate.expected_nll.to_bits(), sample.base.expected_nll.to_bits());
        assert_eq!(champion.text, sample.base.text);
        assert!((champion.expected_nll - sample.base.expected_nll).abs() < 1e-5);
        assert!(sample.base.tokens <= 6 && sample.base.expected_tokens > 3);
    }
    let last = watch.seen.last().unwrap();
    assert_eq!((last.done, last.total), (15, 15));
    assert!(watch.seen.windows(2).all(|pair| pair[0].done <= pair[1].done));
}

#[test]
fn the_same_golden_dataset_is_answered_the_same_way() {
    let contestants = Contestants { candidate: adapter(&model(), "final"), champion: None };
    let first = answered(&contestants, BatchLimits::default());
    assert_eq!(first, answered(&contestants, BatchLimits::default()));
    assert!(first.iter().all(|sample| sample.champion.is_none()));
    let alone = answered(&contestants, BatchLimits { sequences: 1, ..BatchLimits::default() });
    let texts = |answers: &[SampleAnswers]| {
        answers.iter().map(|sample| sample.candidate.text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&first), texts(&alone));
}

#[test]
fn the_measured_likelihood_is_the_loss_of_the_training_engine() {
    let model = model();
    let contestants = Contestants { candidate: adapter(&model, "final"), champion: None };
    let answers = answered(&contestants, BatchLimits::default());
    let sample = &samples(5)[1];
    let question = Question::new(&model, sample, &options()).unwrap();
    let mut tokens = question.prompt.clone();
    tokens.extend(&question.expected);
    let labels = (1..=tokens.len()).map(|next| match tokens.get(next) {
        Some(token) if next >= question.prompt.len() => i64::from(*token),
        _ => crate::engine::IGNORED,
    });
    let documents = std::iter::once(0..tokens.len()).collect();
    let batch = crate::engine::Batch { labels: labels.collect(), documents, tokens: tokens.clone() };
    let mut engine = ReferenceEngine::new(Arc::clone(&model.base)).unwrap();
    engine.load_adapter(&contestants.candidate).unwrap();
    let loss = engine.evaluate(&batch).unwrap();
    let expected = loss.loss_sum / f64::from(u32::try_from(loss.target_tokens).unwrap());
    assert!((answers[1].candidate.expected_nll - expected).abs() < 1e-4, "{expected}");
}

#[test]
fn the_context_stands_before_the_prompt_and_the_system_prompt_before_both() {
    let turns = question_turns(&samples(2)[1], &options());
    assert_eq!(turns[0].content, "Antworte kurz.");
    assert_eq!(turns[1].content, "§ 35 BauGB\n\nFrage 1: ist das zulässig?");
}

#[test]
fn a_stop_is_honoured_between_two_tokens() {
    let contestants = Contestants { candidate: adapter(&model(), "final"), champion: None };
    let mut watch = Watch { stop_after: Some(2), ..Watch::default() };
    let stopped = answer(&model(), &contestants, &samples(5), &options(), BatchLimits::default(), &mut watch)
        .unwrap_err();
    assert!(matches!(stopped, GenerateError::Stopped(StopReason::Cancel)));
    assert_eq!(watch.seen.len(), 2);
}

#[test]
fn a_sample_beyond_the_context_is_named_before_any_token() {
    let contestants = Contestants { candidate: adapter(&model(), "final"), champion: None };
    let mut samples = samples(2);
    samples[1].prompt = "wort ".repeat(3_000);
    let mut watch = Watch::default();
    let error =
        answer(&model(), &contestants, &samples, &options(), BatchLimits::default(), &mut watch).unwrap_err();
    assert!(error.to_string().contains("golden sample probe-1 takes"), "{error}");
    assert!(watch.seen.is_empty());
    samples[1] =
        GoldenSample { sample_id: "leer".into(), ..GoldenSample::new("Frage?".into(), String::new()) };
    let error =
        answer(&model(), &contestants, &samples, &options(), BatchLimits::default(), &mut watch).unwrap_err();
    assert!(error.to_string().contains("golden sample leer has no expected output"), "{error}");
}
