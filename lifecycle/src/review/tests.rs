//! Tests of review records, comparison of texts and priorities.

use super::*;
use crate::{
    digest::Digest,
    gate::GatePolicy,
    golden::Difficulty,
    score::{
        AnswerDetails, CheckFinding, CriterionVote, Evaluation, Flag, JudgeHealth, JudgeIdentity, JudgeVote,
        SampleScore, Scoring, Summary, Unscored, UnscoredReason,
    },
};

const ANNA: Reviewer<'_> = Reviewer { name: "anna", at: "2026-01-01T10:00:00Z" };
const BERT: Reviewer<'_> = Reviewer { name: "bert", at: "2026-01-01T11:00:00Z" };

fn all(score: f64) -> CriteriaScores {
    CriteriaScores::new(Criterion::ALL.map(|criterion| (criterion, score)).into()).unwrap()
}

fn score(sample_id: &str, score: f64, details: AnswerDetails) -> SampleScore {
    SampleScore {
        sample_id: sample_id.to_owned(),
        adapter_id: "law-lora-v1.0.0".to_owned(),
        prompt: "Was regelt § 35 BauGB?".to_owned(),
        adapter_output: "Das Bauen.".to_owned(),
        expected_output: "Das Bauen im Außenbereich.".to_owned(),
        overall_score: score * 10.0,
        criteria_scores: all(score),
        judge_reasoning: String::new(),
        passed: score >= 7.0,
        evaluated_at: ANNA.at.to_owned(),
        judge_model: "judge".to_owned(),
        difficulty: Difficulty::Medium,
        cluster: None,
        details,
    }
}

fn subject(results: Vec<SampleScore>, unscored: &[&str]) -> Subject {
    let judge = JudgeIdentity {
        judge_id: "judge-1".into(),
        model: "judge".into(),
        url: "http://localhost/v1".into(),
        rubric_version: "de-1".into(),
        rubric_digest: Digest::of(b"rubric"),
        prompt_digest: Digest::of(b"prompt"),
        calibrated: false,
        fingerprint: None,
    };
    let overall: Vec<_> = results.iter().map(|score| score.overall_score).collect();
    let summary = Summary {
        total_samples: 2,
        scored: 2,
        unscored: 0,
        passed: 1,
        failed: 1,
        pass_rate: None,
        average_score: crate::statistics::mean(&overall),
        min_score: None,
        max_score: None,
        criteria_averages: BTreeMap::new(),
        adapter_id: "law-lora-v1.0.0".into(),
        golden_dataset_id: "law-golden@1.0.0".into(),
        evaluated_at: ANNA.at.into(),
        knowledge_gaps_detected: 0,
    };
    let unscored = unscored.iter().map(|id| Unscored {
        sample_id: (*id).to_owned(),
        adapter_id: "law-lora-v1.0.0".to_owned(),
        reason: UnscoredReason::Unparsable,
        detail: "nonsense".to_owned(),
    });
    let evaluation = Evaluation {
        format: 1,
        summary,
        results,
        knowledge_gaps: Vec::new(),
        judge,
        rubric: None,
        offsets: crate::attempt::JudgeOffsets::new(),
        unscored: unscored.collect(),
        champion: None,
        panel: Vec::new(),
        pairwise: None,
        health: JudgeHealth::default(),
        golden_digest: None,
    };
    Subject { evaluation, answers: None, golden: None, policy: GatePolicy::default(), report: None }
}

fn two() -> Subject {
    subject(
        vec![score("a", 9.0, AnswerDetails::default()), score("b", 6.0, AnswerDetails::default())],
        &["c"],
    )
}

fn override_of(sample_id: &str, scores: &[(Criterion, f64)], based_on: u64) -> ReviewChange {
    let scores = scores.iter().copied().collect();
    ReviewChange::Override {
        sample_id: sample_id.to_owned(),
        scores,
        reason: "cites a repealed law".into(),
        based_on,
    }
}

#[test]
fn the_second_reviewer_is_told_who_changed_the_scores_what_and_when() {
    let (mut record, subject) = (ReviewNotes::default(), two());
    record.apply(&override_of("a", &[(Criterion::Accuracy, 3.0)], 0), ANNA, &subject).unwrap();
    let before = record.clone();
    let refused =
        record.apply(&override_of("a", &[(Criterion::Accuracy, 8.0)], 0), BERT, &subject).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a was changed meanwhile: anna accuracy 9.0 → 3.0 at 2026-01-01T10:00:00Z; look again"
    );
    assert_eq!(record, before);
    record.apply(&override_of("a", &[(Criterion::Accuracy, 8.0)], 1), BERT, &subject).unwrap();
    assert_eq!(record.notes("a").changed.unwrap().what, "accuracy 3.0 → 8.0");
    record.apply(&override_of("b", &[(Criterion::Style, 5.0)], 0), BERT, &subject).unwrap();
    assert_eq!(record.revision, 3);
}

#[test]
fn a_verdict_on_scores_that_changed_meanwhile_is_refused() {
    let (mut record, subject) = (ReviewNotes::default(), two());
    record.check_verdict("law-lora-v1.0.0", 0).unwrap();
    record.apply(&override_of("a", &[(Criterion::Accuracy, 3.0)], 0), ANNA, &subject).unwrap();
    let refused = record.check_verdict("law-lora-v1.0.0", 0).unwrap_err().to_string();
    assert!(refused.contains("anna accuracy 9.0 → 3.0 of a"), "{refused}");
    record.check_verdict("law-lora-v1.0.0", 1).unwrap();
}

#[test]
fn an_override_counts_beside_the_evaluation_and_becomes_a_label() {
    let (mut record, subject) = (ReviewNotes::default(), two());
    let untouched = subject.clone();
    record.apply(&override_of("a", &[(Criterion::Accuracy, 2.0)], 0), ANNA, &subject).unwrap();
    let sheet = subject.sheet("law-lora-v1.0.0", crate::adapter::AdapterStatus::InReview, &record, "anna");
    let line = sheet.lines.iter().find(|line| line.sample_id == "a").unwrap();
    // Accuracy weighs 2 of 7: (2·2 + 9·5) / 7 · 10.
    assert!((line.corrected.unwrap() - 70.0).abs() < 1e-9, "{line:?}");
    assert_eq!((line.overall, line.passed), (Some(90.0), true));
    assert!((sheet.corrected_mean.unwrap() - 65.0).abs() < 1e-9);
    assert_eq!((sheet.mean, &subject), (Some(75.0), &untouched));
    let label = subject.label("a", &record.notes("a")).unwrap();
    assert_eq!(label.scores, BTreeMap::from([(Criterion::Accuracy, 2.0)]));
    assert_eq!(label.judged["judge-1"][&Criterion::Accuracy].to_bits(), 9.0_f64.to_bits());
    record.apply(&override_of("a", &[], 1), BERT, &subject).unwrap();
    assert_eq!(subject.label("a", &record.notes("a")), None);
}

#[test]
fn an_override_of_some_criteria_counts_by_the_rubric_and_cannot_buy_back_a_hard_failure() {
    let check =
        CheckFinding { code: "citation_missing".into(), is_hard: true, text: "§ 35 is missing".into() };
    let hard = AnswerDetails { checks: vec![check], ..AnswerDetails::default() };
    let some = [(Criterion::Accuracy, 4.0), (Criterion::Style, 4.0)];
    let partial = SampleScore {
        criteria_scores: CriteriaScores::of(some.into()).unwrap(),
        ..score("partial", 4.0, AnswerDetails::default())
    };
    let mut subject = subject(vec![partial, score("hard", 4.0, hard)], &[]);
    let mut rubric = crate::rubric::Rubric::built_in(crate::rubric::Language::German);
    for entry in &mut rubric.criteria {
        entry.weight = if entry.criterion == Criterion::Accuracy { 3.0 } else { 1.0 };
    }
    subject.evaluation.rubric = Some(rubric);
    let mut record = ReviewNotes::default();
    for sample_id in ["partial", "hard"] {
        record.apply(&override_of(sample_id, &[(Criterion::Style, 10.0)], 0), ANNA, &subject).unwrap();
    }
    record.apply(&override_of("hard", &Criterion::ALL.map(|of| (of, 10.0)), 1), ANNA, &subject).unwrap();
    let lines = subject.lines(&record, "anna");
    let corrected =
        |id: &str| lines.iter().find(|line| line.sample_id == id).and_then(|line| line.corrected).unwrap();
    // (3·4 + 1·10) / 4 · 10
    assert!((corrected("partial") - 55.0).abs() < 1e-9, "{lines:?}");
    assert!((corrected("hard") - crate::score::HARD_CHECK_OVERALL).abs() < 1e-9, "{lines:?}");
    assert!(lines.iter().all(|line| !line.passed));
}

#[test]
fn an_incomplete_override_changes_nothing() {
    let (mut record, subject) = (ReviewNotes::default(), two());
    let mut refused = |change, by| record.apply(&change, by, &subject).unwrap_err();
    let nobody = Reviewer { name: " ", at: ANNA.at };
    let accuracy = Criterion::Accuracy;
    assert_eq!(refused(override_of("a", &[(accuracy, 3.0)], 0), nobody), ReviewError::NobodyNamed);
    assert_eq!(
        refused(override_of("a", &[(accuracy, 11.0)], 0), ANNA),
        ReviewError::OutOfRange { criterion: accuracy, found: 11.0 }
    );
    assert_eq!(
        refused(override_of("c", &[(accuracy, 3.0)], 0), ANNA),
        ReviewError::Incomplete { sample_id: "c".into(), missing: Criterion::Relevance }
    );
    assert_eq!(refused(override_of("x", &[], 0), ANNA), ReviewError::UnknownSample { sample_id: "x".into() });
    assert_eq!(
        refused(override_of("a", &[], 0), ANNA),
        ReviewError::NothingToTakeBack { sample_id: "a".into() }
    );
    let ReviewChange::Override { sample_id, scores, based_on, .. } = override_of("a", &[(accuracy, 3.0)], 0)
    else {
        panic!("an override")
    };
    let silent = ReviewChange::Override { sample_id, scores, based_on, reason: " ".into() };
    assert_eq!(refused(silent, ANNA), ReviewError::ReasonMissing);
    let long = ReviewChange::Comment { sample_id: "a".into(), text: "x".repeat(LONGEST_TEXT + 1) };
    assert_eq!(refused(long, ANNA), ReviewError::TooLong { found: LONGEST_TEXT + 1 });
    assert_eq!(record, ReviewNotes::default());
}

#[test]
fn comments_and_drafts_belong_to_one_person_and_can_be_taken_back() {
    let (mut record, subject) = (ReviewNotes::default(), two());
    let comment = |text: &str| ReviewChange::Comment { sample_id: "a".into(), text: text.into() };
    record.apply(&comment("good"), ANNA, &subject).unwrap();
    record.apply(&comment("hm"), BERT, &subject).unwrap();
    assert_eq!(record.notes("a").comments.len(), 2);
    record.apply(&comment(" "), BERT, &subject).unwrap();
    assert_eq!(record.notes("a").comments.keys().collect::<Vec<_>>(), ["anna"]);
    record.apply(&ReviewChange::Draft { text: "so far".into() }, ANNA, &subject).unwrap();
    assert_eq!(record.drafts, BTreeMap::from([("anna".to_owned(), "so far".to_owned())]));
    assert_eq!(record.revision, 0, "no verdict rests on them");
}

#[test]
fn a_reviewer_resumes_at_the_first_answer_not_seen() {
    let (mut record, subject) = (ReviewNotes::default(), two());
    let next = |record: &ReviewNotes, who| {
        subject.sheet("law-lora-v1.0.0", crate::adapter::AdapterStatus::InReview, record, who).next.unwrap()
    };
    assert_eq!(next(&record, "anna"), "c", "without a score");
    record.apply(&ReviewChange::Seen { sample_id: "c".into() }, ANNA, &subject).unwrap();
    assert_eq!((next(&record, "anna").as_str(), next(&record, "bert").as_str()), ("b", "c"));
}

#[test]
fn hard_failures_come_before_unclear_answers_and_those_before_clear_ones() {
    let check =
        CheckFinding { code: "citation_missing".into(), is_hard: true, text: "§ 35 is missing".into() };
    let hard = AnswerDetails { checks: vec![check], ..AnswerDetails::default() };
    let vote = |judge_id: &str, mean, entropy| JudgeVote {
        judge_id: judge_id.to_owned(),
        criteria: Criterion::ALL
            .map(|criterion| (criterion, CriterionVote { mean, mode: mean, entropy, reason: None }))
            .into(),
        scoring: Scoring::Repeats,
        replies: Vec::new(),
    };
    let apart =
        AnswerDetails { votes: vec![vote("x", 10.0, 0.0), vote("y", 6.0, 1.0)], ..AnswerDetails::default() };
    let injected = AnswerDetails { flags: vec![Flag::Injection], ..AnswerDetails::default() };
    let subject = subject(
        vec![
            score("clear", 10.0, AnswerDetails::default()),
            score("near", 7.0, AnswerDetails::default()),
            score("apart", 10.0, apart),
            score("injected", 10.0, injected),
            score("hard", 10.0, hard),
        ],
        &["unscored"],
    );
    let lines = subject.lines(&ReviewNotes::default(), "anna");
    let order: Vec<_> = lines.iter().map(|line| line.sample_id.as_str()).collect();
    assert_eq!(order, ["hard", "unscored", "injected", "apart", "near", "clear"]);
    let why: Vec<_> = lines.iter().map(|line| line.priority.concerns.clone()).collect();
    assert_eq!(why[0], [Concern::HardCheck]);
    assert_eq!(why[3], [Concern::Disagreement]);
    assert_eq!(why[4], [Concern::NearLimit]);
    assert!(why[5].is_empty());
    // A mean at a threshold and nothing else, beside a mean far from both.
    let calm = Priority::default();
    let near = version_priority(Some(85.0), [85.0, 70.0], std::iter::once(&calm));
    let far = version_priority(Some(20.0), [85.0, 70.0], std::iter::once(&calm));
    assert!((near - 2.0).abs() < 1e-9 && far.abs() < 1e-9);
    let hard = &lines[0].priority;
    assert!(version_priority(Some(20.0), [85.0, 70.0], std::iter::once(hard)) > near);
}

#[test]
fn a_comparison_gives_both_texts_back_and_marks_what_differs() {
    let reference = "Nach § 35 BauGB ist das Vorhaben zulässig.";
    let answer = "Nach § 34 BauGB ist das Vorhaben unzulässig, Art. 14 GG.";
    let pieces = compare(reference, answer);
    let without = |change| {
        pieces
            .iter()
            .filter(|piece| piece.change != change)
            .map(|piece| piece.text.as_str())
            .collect::<String>()
    };
    assert_eq!(without(PieceChange::Removed), answer);
    assert_eq!(without(PieceChange::Added), reference);
    let of = |change, mark| {
        pieces
            .iter()
            .filter(|piece| piece.change == change && piece.citation == Some(mark))
            .map(|piece| piece.text.as_str())
            .collect::<String>()
    };
    assert_eq!(of(PieceChange::Removed, CitationMark::Alone), "35");
    assert!(of(PieceChange::Added, CitationMark::Alone).starts_with("34"));
    let same = marked("wie § 35 Abs. 1 BauGB", reference);
    assert_eq!(same.last().unwrap().citation, Some(CitationMark::Shared));
}

#[test]
fn the_blind_order_is_a_fair_coin_that_stays_as_it_fell() {
    let first = |n: u32| candidate_stands_first("law-lora-v1.0.0", &format!("s-{n}"), "anna");
    let heads = (0..400).filter(|n| first(*n)).count();
    assert!((150..=250).contains(&heads), "{heads} of 400");
    assert!((0..400).all(|n| first(n) == first(n)));
    assert!(
        (0..400).any(|n| first(n) != candidate_stands_first("law-lora-v1.0.0", &format!("s-{n}"), "bert"))
    );
}
