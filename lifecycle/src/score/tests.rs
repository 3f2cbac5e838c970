//! Tests of scores and evaluations.

use std::collections::BTreeMap;

use super::{
    AnswerDetails, CheckCode, CriteriaScores, Criterion, Evaluation, EvaluationContext, GapSeverity,
    HARD_CHECK_ACCURACY, HARD_CHECK_OVERALL, InvalidScores, JudgeIdentity, Judgement, Scored, UnscoredReason,
};
use crate::{
    answers::{Answer, Answers, FinishReason, SampleAnswers},
    digest::Digest,
    golden::{GoldenDataset, GoldenSample},
    rubric::{Language, Rubric},
};

fn all(score: f64) -> CriteriaScores {
    CriteriaScores::new(Criterion::ALL.map(|criterion| (criterion, score)).into()).unwrap()
}

fn scored(score: f64) -> Judgement {
    Judgement::Scored(Scored {
        scores: all(score),
        reply: format!("reply {score}"),
        details: AnswerDetails::default(),
    })
}

fn unscored() -> Judgement {
    Judgement::Unscored { reason: UnscoredReason::Unparsable, detail: "nonsense".into() }
}

fn identity() -> JudgeIdentity {
    JudgeIdentity {
        judge_id: "judge".into(),
        model: "model".into(),
        url: "http://localhost/v1".into(),
        rubric_version: "de-1".into(),
        rubric_digest: Digest::of(b"rubric"),
        prompt_digest: Digest::of(b"prompt"),
        calibrated: true,
        fingerprint: None,
    }
}

fn answer(text: &str) -> Answer {
    let (tokens, expected_tokens) = (1, 1);
    Answer {
        text: text.into(),
        finish_reason: FinishReason::Stop,
        tokens,
        expected_nll: 1.0,
        expected_tokens,
        opening: Vec::new(),
    }
}

fn golden() -> GoldenDataset {
    let (id, domain) = ("golden".parse().unwrap(), "baurecht".parse().unwrap());
    let mut golden = GoldenDataset::new(id, domain, "anna".into(), "2026-01-01T00:00:00Z".into());
    for number in 1..=3 {
        let mut sample = GoldenSample::new(format!("prompt {number}"), "expected".into());
        sample.tags = vec!["solar".into()];
        golden.add(sample);
    }
    golden
}

fn answers(golden: &GoldenDataset, champion: bool) -> Answers {
    let samples = golden.samples.iter().map(|sample| SampleAnswers {
        sample_id: sample.sample_id.clone(),
        candidate: answer("candidate"),
        champion: champion.then(|| answer("champion")),
        base: answer("base"),
    });
    Answers {
        format: 1,
        adapter_id: "baurecht-lora-v1.1.0".into(),
        champion_id: champion.then(|| "baurecht-lora-v1.0.0".into()),
        base_model: "base".into(),
        golden_dataset: "golden@1.0.0".into(),
        golden_digest: golden.digest(),
        generation: crate::spec::GenerationOptions::default(),
        samples: samples.collect(),
    }
}

fn evaluate(candidate: [Judgement; 3], champion: Option<[Judgement; 3]>) -> Evaluation {
    evaluate_with(candidate, champion, 70.0)
}

fn evaluate_with(candidate: [Judgement; 3], champion: Option<[Judgement; 3]>, pass_at: f64) -> Evaluation {
    let golden = golden();
    let answers = answers(&golden, champion.is_some());
    let judge = identity();
    let by_id = |judgements: [Judgement; 3]| -> BTreeMap<String, Judgement> {
        golden.samples.iter().map(|sample| sample.sample_id.clone()).zip(judgements).collect()
    };
    let context = EvaluationContext {
        golden: &golden,
        answers: &answers,
        judge: &judge,
        rubric: &Rubric::built_in(Language::German),
        pass_at,
        evaluated_at: "2026-02-03T04:05:06Z",
    };
    Evaluation::new(context, &by_id(candidate), champion.map(by_id).as_ref())
}

#[test]
fn the_overall_score_weighs_the_criteria() {
    let scores = [
        (Criterion::Accuracy, 10.0),
        (Criterion::Relevance, 8.0),
        (Criterion::Style, 6.0),
        (Criterion::Completeness, 4.0),
        (Criterion::Coherence, 2.0),
    ];
    // (20 + 12 + 6 + 6 + 2) / 7 · 10
    let overall = CriteriaScores::new(scores.into()).unwrap().overall();
    assert!((overall - 460.0 / 7.0).abs() < 1e-9, "{overall}");
    assert!((all(8.5).overall() - 85.0).abs() < 1e-9);
    assert!(all(0.0).overall().abs() < 1e-9 && (all(10.0).overall() - 100.0).abs() < 1e-9);
}

#[test]
fn scores_are_complete_and_from_0_to_10_or_refused() {
    let with = |criterion, score| {
        let mut scores: BTreeMap<_, _> = Criterion::ALL.map(|criterion| (criterion, 5.0)).into();
        scores.insert(criterion, score);
        CriteriaScores::new(scores)
    };
    for score in [-0.1, 10.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(with(Criterion::Style, score), Err(InvalidScores::OutOfRange { .. })), "{score}");
    }
    let mut scores: BTreeMap<_, _> = Criterion::ALL.map(|criterion| (criterion, 5.0)).into();
    scores.remove(&Criterion::Coherence);
    assert_eq!(CriteriaScores::new(scores), Err(InvalidScores::Missing(Criterion::Coherence)));
    assert!(serde_json::from_str::<CriteriaScores>("{}").is_err());
    // A criterion that does not apply has no score.
    let some: CriteriaScores = serde_json::from_str(r#"{"accuracy": 5, "style": 10}"#).unwrap();
    assert!((some.overall() - 20.0 / 3.0 * 10.0).abs() < 1e-9);
}

#[test]
fn an_unscored_sample_counts_neither_as_passed_nor_as_failed() {
    let evaluation = evaluate([scored(9.0), unscored(), scored(4.5)], None);
    let summary = &evaluation.summary;
    assert_eq!((summary.total_samples, summary.scored, summary.unscored), (3, 2, 1));
    assert_eq!((summary.passed, summary.failed), (1, 1));
    assert_eq!(summary.pass_rate, Some(50.0));
    assert!((summary.average_score.unwrap() - 67.5).abs() < 1e-9);
    assert_eq!(evaluation.unscored[0].sample_id, "golden-2");
    assert_eq!(evaluation.unscored[0].reason, UnscoredReason::Unparsable);
    let input = evaluation.gate_input();
    assert_eq!((input.samples.len(), input.unscored, input.has_champion), (2, 1, false));
}

#[test]
fn an_evaluation_without_any_score_has_no_average() {
    let evaluation = evaluate([unscored(), unscored(), unscored()], None);
    let value = serde_json::to_value(&evaluation).unwrap();
    assert!(value["summary"]["average_score"].is_null() && value["summary"]["pass_rate"].is_null());
    assert_eq!(value["unscored"].as_array().unwrap().len(), 3);
    assert_eq!(evaluation.gate_input().samples, Vec::new());
}

const SUMMARY: &str = "total_samples passed failed pass_rate average_score min_score max_score criteria_averages \
                       adapter_id golden_dataset_id evaluated_at knowledge_gaps_detected";
const RESULT: &str = "sample_id adapter_id prompt adapter_output expected_output overall_score criteria_scores \
                      judge_reasoning passed evaluated_at judge_model";
const GAP: &str = "gap_id domain adapter_id topic severity source prompt expected_output actual_output \
                   confidence_score evaluation_score detected_at detected_by tags status resolved_at \
                   resolution_notes requires_training_data suggested_data_query training_samples_collected";

#[test]
fn the_file_has_the_familiar_names() {
    let value = serde_json::to_value(evaluate([scored(9.0), scored(9.0), scored(4.0)], None)).unwrap();
    let parts =
        [(&value["summary"], SUMMARY), (&value["results"][0], RESULT), (&value["knowledge_gaps"][0], GAP)];
    for (part, names) in parts {
        let missing: Vec<_> = names.split_whitespace().filter(|name| part.get(name).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
    let read: Evaluation = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), value);
}

#[test]
fn every_failed_sample_becomes_a_gap_with_a_lasting_id() {
    let first = evaluate([scored(4.0), scored(9.0), scored(6.5)], None);
    let gaps: Vec<_> = first.knowledge_gaps.iter().map(|gap| (gap.topic.as_str(), gap.severity)).collect();
    assert_eq!(gaps, [("solar", GapSeverity::Critical), ("solar", GapSeverity::Medium)]);
    let again = evaluate([scored(5.0), scored(9.0), scored(9.0)], None);
    assert_eq!(first.knowledge_gaps[0].gap_id, again.knowledge_gaps[0].gap_id);
    assert_ne!(first.knowledge_gaps[0].gap_id, first.knowledge_gaps[1].gap_id);
    let groups: Vec<_> = again.knowledge_gaps[0].gap_id.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12]);
}

#[test]
fn severity_bands_end_below_their_limit() {
    let table = [
        (49.9, GapSeverity::Critical),
        (50.0, GapSeverity::High),
        (60.0, GapSeverity::Medium),
        (69.9, GapSeverity::Medium),
        (70.0, GapSeverity::Low),
    ];
    for (score, severity) in table {
        assert_eq!(GapSeverity::of_score(score), severity, "{score}");
    }
}

#[test]
fn the_champion_is_compared_on_the_samples_that_both_have_scores_for() {
    let candidate = [scored(9.0), unscored(), scored(8.0)];
    let evaluation = evaluate(candidate, Some([scored(7.0), scored(7.0), unscored()]));
    let input = evaluation.gate_input();
    let pairs: Vec<_> =
        input.samples.iter().filter_map(|sample| Some((sample.score, sample.champion?))).collect();
    assert!(input.has_champion);
    assert_eq!(pairs.len(), 1);
    assert!((pairs[0].0 - 90.0).abs() < 1e-9 && (pairs[0].1 - 70.0).abs() < 1e-9);
    let champion = evaluation.champion.unwrap();
    assert_eq!((champion.adapter_id.as_str(), champion.results.len()), ("baurecht-lora-v1.0.0", 2));
    assert_eq!(champion.unscored[0].adapter_id, "baurecht-lora-v1.0.0");
}

#[test]
fn every_reason_for_no_score_is_documented() {
    let documentation = include_str!("../../../docs/judge.md");
    for reason in UnscoredReason::ALL {
        let row = format!("| `{reason}` |");
        assert!(documentation.contains(&row), "docs/judge.md has no row that starts with {row}");
    }
    let rows = documentation.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 3);
    assert_eq!(rows.count(), UnscoredReason::ALL.len(), "docs/judge.md lists a reason that does not exist");
}

#[test]
fn a_failed_hard_check_caps_the_scores_of_candidate_and_champion_and_no_limit_lets_it_pass() {
    let failed = |hard: bool| {
        let text = "`§ 35 BauGB` is not cited".to_owned();
        let finding =
            if hard { CheckCode::CitationMissing.hard(text) } else { CheckCode::CitationMissing.soft(text) };
        let details = AnswerDetails { checks: vec![finding], ..AnswerDetails::default() };
        Judgement::Scored(Scored { scores: all(10.0), reply: "10".into(), details })
    };
    let champion = [failed(true), scored(8.0), scored(8.0)];
    let evaluation = evaluate([failed(true), failed(false), scored(9.0)], Some(champion));
    let overall: Vec<_> = evaluation.results.iter().map(|result| result.overall_score).collect();
    assert_eq!(overall, [HARD_CHECK_OVERALL, 100.0, 90.0]);
    let accuracy = evaluation.results[0].criteria_scores.iter().find(|(of, _)| *of == Criterion::Accuracy);
    assert_eq!(accuracy, Some((Criterion::Accuracy, HARD_CHECK_ACCURACY)));
    assert_eq!((evaluation.summary.passed, evaluation.knowledge_gaps.len()), (2, 1));
    let champion = &evaluation.champion.as_ref().unwrap().results;
    assert!((champion[0].overall_score - HARD_CHECK_OVERALL).abs() < 1e-9);
    let lenient = evaluate_with([failed(true), failed(true), failed(true)], None, 0.0);
    assert_eq!(lenient.summary.passed, 0);
}

#[test]
fn an_answer_that_no_judge_saw_has_no_word_of_a_judge() {
    let details =
        AnswerDetails { checks: vec![CheckCode::Empty.hard("nothing".into())], ..AnswerDetails::default() };
    let unseen = Judgement::Scored(Scored { scores: all(0.0), reply: "not judged".into(), details });
    let evaluation = evaluate([unseen, scored(9.0), unscored()], None);
    let judged = |index: usize| evaluation.judged(&evaluation.results[index].sample_id);
    assert_eq!(judged(0), BTreeMap::new());
    assert_eq!(judged(1).keys().collect::<Vec<_>>(), ["judge"]);
}

#[test]
fn every_check_code_is_documented() {
    let page = include_str!("../../../docs/judge.md");
    for code in CheckCode::ALL {
        assert!(page.contains(&format!("`{code}`")), "docs/judge.md does not name {code}");
    }
}
