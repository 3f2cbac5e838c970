//! Gaps of evaluations: listed, resolved, and trained away.

use clara_lifecycle::{
    answers::{Answer, Answers, FinishReason, SampleAnswers},
    gate::Decision,
    results::EvaluationResult,
    rubric::{Language, Rubric},
    samples,
    score::{
        AnswerDetails, CriteriaScores, Criterion, EvaluationContext, GapSeverity, JudgeIdentity, Judgement,
        Scored,
    },
    spec::GenerationOptions,
};

use super::*;
use crate::testing::{House, complete, complete_until, golden, remove_old, result};

/// `evaluation.json` of a version whose only answer has this overall score.
async fn evaluation(house: &House, adapter_id: &str, score: f64) -> EvaluationResult {
    let golden = golden("1.0.0");
    let answer = || Answer {
        text: "Das weiß ich nicht.".into(),
        finish_reason: FinishReason::Stop,
        tokens: 4,
        expected_nll: 2.0,
        expected_tokens: 4,
        opening: Vec::new(),
    };
    let sample_id = golden.samples[0].sample_id.clone();
    let answers = Answers {
        format: 1,
        adapter_id: adapter_id.into(),
        champion_id: None,
        base_model: "tiny".into(),
        golden_dataset: "law-golden@1.0.0".into(),
        golden_digest: golden.digest(),
        generation: GenerationOptions::default(),
        samples: vec![SampleAnswers {
            sample_id: sample_id.clone(),
            candidate: answer(),
            champion: None,
            base: answer(),
        }],
    };
    let judge = JudgeIdentity {
        judge_id: "judge".into(),
        model: "model".into(),
        url: "http://localhost/v1".into(),
        rubric_version: "de-1".into(),
        rubric_digest: samples::digest("rubric"),
        prompt_digest: samples::digest("prompt"),
        calibrated: false,
        fingerprint: None,
    };
    let context = EvaluationContext {
        golden: &golden,
        answers: &answers,
        judge: &judge,
        rubric: &Rubric::built_in(Language::German),
        pass_at: 70.0,
        evaluated_at: "2026-02-01T00:00:00Z",
    };
    let scores =
        CriteriaScores::new(Criterion::ALL.map(|criterion| (criterion, score / 10.0)).into()).unwrap();
    let judged = Judgement::Scored(Scored { scores, reply: "…".into(), details: AnswerDetails::default() });
    let evaluation = Evaluation::new(context, &BTreeMap::from([(sample_id, judged)]), None);
    let folder = tempfile::tempdir().unwrap();
    let json = serde_json::to_vec(&evaluation).unwrap();
    std::fs::write(folder.path().join("evaluation.json"), json).unwrap();
    let prefix = format!("evaluations/{adapter_id}");
    let evaluation = house.artifacts.put_folder(&prefix, folder.path()).await.unwrap();
    EvaluationResult { evaluation, samples: 1, unscored: 0, average_score: Some(score), pass_rate: Some(0.0) }
}

/// A job whose version got this score and was rejected.
async fn judged(house: &House, score: f64) -> Job {
    let mut spec = samples::spec();
    spec.ingest.query = Some("Bauen".into());
    let job = house.submit(spec).await;
    complete_until(&house.driver, &job.id, Some(Stage::Judge), Decision::Reject).await;
    let adapter_id = house.job(&job.id).await.adapter_id.unwrap();
    let judged = evaluation(house, &adapter_id, score).await;
    complete(&house.driver, &job.id, StageResult::Judge(judged)).await.unwrap();
    complete(&house.driver, &job.id, result(Stage::Gate, Decision::Reject)).await.unwrap()
}

async fn all(house: &House) -> Vec<KnowledgeGap> {
    let query = GapQuery { all_versions: true, ..GapQuery::default() };
    house.driver.gaps(&query, &house.artifacts).await.unwrap()
}

fn training(dry_run: bool) -> GapTraining {
    GapTraining { limit: 50, keep_query: false, dry_run, actor: "anna".into() }
}

#[tokio::test]
async fn a_gap_is_listed_and_closed_by_hand_with_a_reason_in_the_audit_log() {
    let house = House::new().await;
    judged(&house, 40.0).await;
    let gaps = all(&house).await;
    assert_eq!((gaps.len(), gaps[0].severity, gaps[0].status), (1, GapSeverity::Critical, GapStatus::Open));
    let ids = [gaps[0].gap_id.clone()];
    let refused = house.driver.resolve_gaps(&ids, ("anna", " "), &house.artifacts).await.unwrap_err();
    assert!(refused.to_string().contains("--notes"), "{refused}");
    let closed = house.driver.resolve_gaps(&ids, ("anna", "asked wrongly"), &house.artifacts).await.unwrap();
    assert_eq!(closed[0].status, GapStatus::Resolved);
    assert_eq!(closed[0].resolution_notes.as_deref(), Some("anna: asked wrongly"));
    let (log, broken) = house.driver.audit_log(Some("law-lora-v1.0.0")).await.unwrap();
    assert_eq!(broken, None);
    assert!(log.iter().any(|entry| entry.action == "gap.resolved" && entry.actor == "anna"), "{log:?}");
}

#[tokio::test]
async fn a_job_for_gaps_asks_for_their_data_and_takes_them_once() {
    let house = House::new().await;
    judged(&house, 40.0).await;
    let (check, query) = ((None, &house.artifacts), GapQuery::default());
    let rehearsed = house.driver.train_gaps(query.clone(), &training(true), check).await.unwrap();
    assert!(rehearsed.job.is_none());
    assert_eq!(all(&house).await[0].status, GapStatus::Open);
    let submitted = house.driver.train_gaps(query.clone(), &training(false), check).await.unwrap();
    let job = submitted.job.unwrap();
    assert_eq!(job.spec.ingest.query.as_deref(), Some("law Was regelt § 35 BauGB"));
    assert_eq!(job.spec.labels.get("gaps").map(String::as_str), Some("1"));
    let gap = &all(&house).await[0];
    assert_eq!((gap.status, gap.training_samples_collected), (GapStatus::InProgress, 0));
    complete(&house.driver, &job.id, result(Stage::Ingest, Decision::Reject)).await.unwrap();
    assert_eq!(all(&house).await[0].training_samples_collected, 9);
    let refused = house.driver.train_gaps(query, &training(false), check).await.unwrap_err();
    assert!(refused.to_string().contains("no open gaps"), "{refused}");
}

#[tokio::test]
async fn the_query_of_the_job_before_is_kept_when_asked_for() {
    let house = House::new().await;
    judged(&house, 40.0).await;
    let keep = GapTraining { keep_query: true, ..training(true) };
    let query = GapQuery::default();
    let rehearsed = house.driver.train_gaps(query, &keep, (None, &house.artifacts)).await.unwrap();
    assert_eq!(rehearsed.spec.ingest.query.as_deref(), Some("Bauen law Was regelt § 35 BauGB"));
}

#[tokio::test]
async fn a_newer_version_that_answers_well_closes_the_gap() {
    let house = House::new().await;
    judged(&house, 40.0).await;
    judged(&house, 90.0).await;
    let gaps = all(&house).await;
    assert_eq!((gaps.len(), gaps[0].status), (1, GapStatus::Resolved));
    assert_eq!(gaps[0].resolution_notes.as_deref(), Some("passes in law-lora-v1.0.1"));
    let newest = house.driver.gaps(&GapQuery::default(), &house.artifacts).await.unwrap();
    assert_eq!(newest, []);
}

#[tokio::test]
async fn an_unknown_gap_is_refused_by_its_name() {
    let house = House::new().await;
    judged(&house, 40.0).await;
    let ids = ["nothing".to_owned()];
    let refused = house.driver.resolve_gaps(&ids, ("anna", "done"), &house.artifacts).await.unwrap_err();
    assert!(refused.to_string().contains("there is no gap nothing"), "{refused}");
}

#[tokio::test]
async fn gaps_outlive_the_records_of_the_jobs_that_found_and_filled_them() {
    let house = House::new().await;
    judged(&house, 40.0).await;
    let check = (None, &house.artifacts);
    let filling = house.driver.train_gaps(GapQuery::default(), &training(false), check).await.unwrap();
    let filling = filling.job.unwrap();
    complete_until(&house.driver, &filling.id, Some(Stage::Judge), Decision::Reject).await;
    let adapter_id = house.job(&filling.id).await.adapter_id.unwrap();
    let better = evaluation(&house, &adapter_id, 90.0).await;
    complete(&house.driver, &filling.id, StageResult::Judge(better)).await.unwrap();
    complete(&house.driver, &filling.id, result(Stage::Gate, Decision::Reject)).await.unwrap();
    let before = all(&house).await;
    assert_eq!((before.len(), before[0].training_samples_collected), (1, 9));
    assert_eq!(remove_old(&house).await.len(), 2);
    assert_eq!(all(&house).await, before);
}
