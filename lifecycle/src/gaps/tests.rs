//! Tests of the list of knowledge gaps.

use std::collections::BTreeMap;

use super::*;
use crate::{
    answers::{Answer, Answers, FinishReason, SampleAnswers},
    digest::Digest,
    golden::{GoldenDataset, GoldenSample},
    rubric::{Language, Rubric},
    samples,
    score::{AnswerDetails, CriteriaScores, Criterion, EvaluationContext, JudgeIdentity, Judgement, Scored},
    spec::GenerationOptions,
};

fn golden() -> GoldenDataset {
    let (id, domain) = ("golden".parse().unwrap(), "baurecht".parse().unwrap());
    let mut golden = GoldenDataset::new(id, domain, "anna".into(), "2026-01-01T00:00:00Z".into());
    for prompt in ["Wer plant?", "Wer genehmigt?", "Wer haftet?"] {
        golden.add(GoldenSample::new(prompt.into(), "Die Gemeinde.".into()));
    }
    golden
}

/// The evaluation of version `adapter_id` with these overall scores, sample by sample.
fn evaluation(adapter_id: &str, scores: [f64; 3]) -> Evaluation {
    let golden = golden();
    let answer = Answer {
        text: "Der Bund.".into(),
        finish_reason: FinishReason::Stop,
        tokens: 2,
        expected_nll: 1.0,
        expected_tokens: 2,
        opening: Vec::new(),
    };
    let judge = JudgeIdentity {
        judge_id: "judge".into(),
        model: "model".into(),
        url: "http://localhost/v1".into(),
        rubric_version: "de-1".into(),
        rubric_digest: samples::digest("rubric"),
        prompt_digest: samples::digest("prompt"),
        calibrated: true,
        fingerprint: None,
    };
    let of = |id: &String| SampleAnswers {
        sample_id: id.clone(),
        candidate: answer.clone(),
        champion: None,
        base: answer.clone(),
    };
    let ids: Vec<String> = golden.samples.iter().map(|sample| sample.sample_id.clone()).collect();
    let answers = Answers {
        format: 1,
        adapter_id: adapter_id.into(),
        champion_id: None,
        base_model: "tiny".into(),
        golden_dataset: golden.reference().to_string(),
        golden_digest: Digest::of(b"golden"),
        generation: GenerationOptions::default(),
        samples: ids.iter().map(of).collect(),
    };
    let context = EvaluationContext {
        golden: &golden,
        answers: &answers,
        judge: &judge,
        rubric: &Rubric::built_in(Language::German),
        pass_at: 70.0,
        evaluated_at: "2026-02-01T00:00:00Z",
    };
    let judged = |score: f64| {
        let scores = CriteriaScores::new(Criterion::ALL.map(|criterion| (criterion, score / 10.0)).into());
        let details = AnswerDetails::default();
        Judgement::Scored(Scored { scores: scores.unwrap(), reply: String::new(), details })
    };
    Evaluation::new(context, &ids.into_iter().zip(scores.map(judged)).collect(), None)
}

fn note(gap: &KnowledgeGap, status: GapStatus) -> BTreeMap<String, GapNote> {
    let note = GapNote {
        gap_id: gap.gap_id.clone(),
        status,
        actor: "anna".into(),
        at: "2026-03-01T00:00:00Z".into(),
        notes: "added § 36 BauGB".into(),
        job: None,
    };
    BTreeMap::from([(gap.gap_id.clone(), note)])
}

#[test]
fn a_gap_of_an_older_version_is_resolved_when_its_sample_passes_later() {
    let evaluations = [
        evaluation("law-lora-v1.1.0", [90.0, 40.0, 90.0]),
        evaluation("law-lora-v1.0.0", [30.0, 55.0, 90.0]),
    ];
    let gaps = gaps_of(&evaluations, &BTreeMap::new());
    let seen: Vec<_> = gaps
        .iter()
        .map(|gap| (gap.adapter_id.as_deref().unwrap(), gap.prompt.as_str(), gap.status))
        .collect();
    assert_eq!(
        seen,
        [
            ("law-lora-v1.1.0", "Wer genehmigt?", GapStatus::Open),
            ("law-lora-v1.0.0", "Wer plant?", GapStatus::Resolved),
            ("law-lora-v1.0.0", "Wer genehmigt?", GapStatus::Open),
        ]
    );
    assert_eq!(gaps[1].resolution_notes.as_deref(), Some("passes in law-lora-v1.1.0"));
}

#[test]
fn what_a_person_did_about_a_gap_counts() {
    let evaluations = [evaluation("law-lora-v1.0.0", [30.0, 90.0, 90.0])];
    let open = gaps_of(&evaluations, &BTreeMap::new());
    let resolved = gaps_of(&evaluations, &note(&open[0], GapStatus::Resolved));
    assert_eq!(resolved[0].status, GapStatus::Resolved);
    assert_eq!(resolved[0].resolved_at.as_deref(), Some("2026-03-01T00:00:00Z"));
    let begun = gaps_of(&evaluations, &note(&open[0], GapStatus::InProgress));
    assert_eq!((begun[0].status, begun[0].resolved_at.as_deref()), (GapStatus::InProgress, None));
}

#[test]
fn the_worst_gaps_come_first_and_the_filter_takes_what_is_bad_enough() {
    let mut gaps = gaps_of(&[evaluation("law-lora-v1.0.0", [65.0, 30.0, 20.0])], &BTreeMap::new());
    sort_by_severity(&mut gaps);
    let scores: Vec<_> = gaps.iter().filter_map(|gap| gap.evaluation_score).map(f64::round).collect();
    assert_eq!(scores, [20.0, 30.0, 65.0]);
    let critical = GapFilter { severity: Some(GapSeverity::Critical), ..GapFilter::default() };
    assert_eq!(gaps.iter().filter(|gap| critical.takes(gap)).count(), 2);
    let named = GapFilter { gap_ids: vec![gaps[2].gap_id.clone()], ..GapFilter::default() };
    assert_eq!(gaps.iter().filter(|gap| named.takes(gap)).count(), 1);
}

#[test]
fn a_query_holds_each_word_once_and_ends_at_a_word() {
    let gaps = gaps_of(&[evaluation("law-lora-v1.0.0", [20.0, 30.0, 40.0])], &BTreeMap::new());
    assert_eq!(query_of(&gaps), "baurecht Wer plant genehmigt haftet");
    let mut long = gaps[0].clone();
    long.suggested_data_query = Some((0..500).map(|n| format!("wort{n}")).collect::<Vec<_>>().join(" "));
    let query = query_of(&[long]);
    assert!(query.chars().count() <= QUERY_CHARS, "{}", query.len());
    assert!(query.ends_with(|end: char| end.is_ascii_digit()), "{query}");
    assert_eq!(query_of(&[]), "");
}

#[test]
fn signs_and_operators_of_queries_do_not_come_into_one() {
    let mut gap = gaps_of(&[evaluation("law-lora-v1.0.0", [20.0, 30.0, 40.0])], &BTreeMap::new()).remove(0);
    gap.suggested_data_query = Some("Was gilt „im Zweifel“ für Bürger(innen) OR (NOT) Höfe?".to_owned());
    assert_eq!(query_of(&[gap]), "baurecht Was gilt im Zweifel für Bürger innen Höfe");
}
