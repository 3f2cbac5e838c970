//! Behaviour of the generate stage over a real artifact store.

use std::collections::BTreeMap;

use clara_lifecycle::{
    artifact::ArtifactRef,
    attempt::{ChampionInput, GoldenInput},
    digest::Digest,
    golden::GoldenSample,
    id::{Attempt, ClassName, Fence},
    spec::{GenerationOptions, JobSpec, Method},
};
use clara_runtime::{artifacts::ArtifactStore, stop::stop_switch};

use super::*;
use crate::generate::tests::model;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn spec() -> JobSpec {
    JobSpec {
        domain: "baurecht".parse().unwrap(),
        ingest: clara_lifecycle::spec::IngestOptions::default(),
        golden_dataset: "probe".parse().unwrap(),
        base_model: fixture("tiny-llama").to_string_lossy().into_owned(),
        method: Method::Lora,
        training: clara_lifecycle::spec::TrainingOptions::default(),
        generation: GenerationOptions { max_new_tokens: 4, ..GenerationOptions::default() },
        judge: clara_lifecycle::spec::JudgeOptions::default(),
        gate: clara_lifecycle::gate::GatePolicy::default(),
        retry: clara_lifecycle::retry::RetryPolicy::default(),
        version: None,
        rollout_targets: Vec::new(),
        priority: 5,
        resource_class: ClassName::default(),
        labels: BTreeMap::new(),
        idempotency_key: None,
    }
}

fn golden() -> GoldenDataset {
    let (id, domain) = ("probe".parse().unwrap(), "baurecht".parse().unwrap());
    let mut dataset = GoldenDataset::new(id, domain, "test".into(), "2026-01-01T00:00:00Z".into());
    dataset.add(GoldenSample::new("Was gilt im Außenbereich?".into(), "Es gilt § 35 BauGB.".into()));
    dataset.add(GoldenSample::new("Wie lang ist die Frist?".into(), "Ein Monat.".into()));
    dataset
}

fn training(adapter: ArtifactRef) -> TrainingResult {
    TrainingResult {
        report: ArtifactRef { prefix: "jobs/j/train/report".into(), files: Vec::new() },
        adapter,
        base_model: "tiny-llama".into(),
        base_model_digest: model().base.digest.parse().unwrap(),
        validation_loss_before: None,
        validation_loss_after: None,
        training_loss: 1.0,
        steps: 1,
        tokens: 1,
    }
}

struct Rig {
    folder: tempfile::TempDir,
    artifacts: ArtifactStore,
    assignment: Assignment,
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = ArtifactStore::local(folder.path().join("store")).unwrap();
        let candidate = artifacts.put_folder("candidate", &fixture("peft-tiny/final")).await.unwrap();
        let champion = artifacts.put_folder("champion", &fixture("peft-tiny/init")).await.unwrap();
        let source = folder.path().join("golden");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join(GOLDEN_FILE), serde_json::to_vec(&golden()).unwrap()).unwrap();
        let golden_artifact = artifacts.put_folder("golden", &source).await.unwrap();
        let assignment = Assignment {
            job: "job-1".parse().unwrap(),
            stage: Stage::Generate,
            attempt: Attempt::FIRST,
            fence: Fence(3),
            spec: spec(),
            golden: GoldenInput {
                reference: golden().reference().to_string(),
                digest: golden().digest(),
                artifact: golden_artifact,
            },
            results: vec![StageResult::Train(training(candidate))],
            adapter_id: Some("baurecht-lora-v1.1.0".into()),
            champion: Some(ChampionInput { adapter_id: "baurecht-lora-v1.0.0".into(), adapter: champion }),
            checkpoint: None,
            calibrations: Vec::new(),
            judge_offsets: std::collections::BTreeMap::new(),
            evaluations: 0,
            earlier: clara_lifecycle::results::EarlierDatasets::default(),
        };
        Self { folder, artifacts, assignment }
    }

    async fn run(&self) -> (Result<StageResult, StageFailure>, clara_lifecycle::attempt::Progress) {
        let (progress, newest) = ProgressSender::new();
        let (_switch, stop) = stop_switch();
        let context = AttemptContext {
            assignment: self.assignment.clone(),
            artifacts: self.artifacts.clone(),
            scratch: self.folder.path().join("scratch"),
            progress,
            stop,
        };
        let result = GenerateHandler::new(GenerateConfig::default()).run(context).await;
        let progress = newest.borrow().clone();
        (result, progress)
    }

    async fn failure(&self) -> (String, bool) {
        match self.run().await.0 {
            Err(StageFailure::Failed { message, retryable }) => (message, retryable),
            other => panic!("expected a failure, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_stage_stores_the_answers_of_candidate_champion_and_base() {
    let rig = Rig::new().await;
    let (result, progress) = rig.run().await;
    let StageResult::Generate(result) = result.unwrap() else { panic!("another stage's result") };
    assert_eq!(result.answers.prefix, "jobs/job-1/generate/attempt-1-fence-3/answers");
    let bytes = rig.artifacts.read(&result.answers, "answers.json").await.unwrap();
    let answers: Answers = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((answers.format, answers.samples.len()), (1, 2));
    assert_eq!(answers.champion_id.as_deref(), Some("baurecht-lora-v1.0.0"));
    assert_eq!(answers.golden_digest, golden().digest());
    let weighted = |nll: &dyn Fn(usize) -> f64| {
        let tokens = |index: usize| f64::from(answers.samples[index].base.expected_tokens);
        (nll(0) * tokens(0) + nll(1) * tokens(1)) / (tokens(0) + tokens(1))
    };
    let base = weighted(&|index| answers.samples[index].base.expected_nll);
    assert!((result.base_nll - base).abs() < 1e-12);
    assert!(result.champion_nll.is_some() && result.candidate_nll > 0.0);
    assert_eq!((progress.done, progress.total, progress.unit.as_str()), (6, Some(6), "answers"));
}

#[tokio::test]
async fn another_base_model_than_the_trainings_is_refused_for_good() {
    let mut rig = Rig::new().await;
    if let Some(StageResult::Train(training)) = rig.assignment.results.first_mut() {
        training.base_model_digest = Digest::of(b"another model");
    }
    let (message, retryable) = rig.failure().await;
    assert!(message.contains("the adapter was trained on") && !retryable, "{message}");
}

#[tokio::test]
async fn a_changed_golden_dataset_is_refused_for_good() {
    let mut rig = Rig::new().await;
    rig.assignment.golden.digest = Digest::of(b"another dataset");
    let (message, retryable) = rig.failure().await;
    assert!(message.contains("the job pinned") && !retryable, "{message}");
}

#[tokio::test]
async fn a_job_without_a_trained_adapter_is_refused_for_good() {
    let mut rig = Rig::new().await;
    rig.assignment.results.clear();
    assert_eq!(
        rig.failure().await,
        ("the job has no trained adapter; retry it from train".to_owned(), false)
    );
}

#[tokio::test]
async fn a_told_stop_is_reported_as_such() {
    let rig = Rig::new().await;
    let (progress, _newest) = ProgressSender::new();
    let (switch, stop) = stop_switch();
    switch.stop(StopReason::Drain);
    let mut observer = StageObserver { progress, stop, tokens_counted: 0 };
    let folders = Folders { candidate: fixture("peft-tiny/final"), champion: None };
    let config = GenerateConfig { models: ModelCache::new(), ..GenerateConfig::default() };
    let stopped = answer_all(&config, &rig.assignment, &golden(), &folders, &mut observer).unwrap_err();
    assert_eq!(stopped, StageFailure::Stopped(StopReason::Drain));
}
