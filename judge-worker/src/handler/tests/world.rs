//! An assignment to judge, with its artifacts in a folder of their own.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clara_lifecycle::{
    answers::{Answer, Answers, FinishReason, SampleAnswers},
    artifact::ArtifactRef,
    attempt::{Assignment, GoldenInput, Progress},
    gate::GatePolicy,
    golden::{GoldenDataset, GoldenSample},
    id::{Attempt, ClassName, Fence},
    results::{AnswersResult, EvaluationResult, StageResult},
    retry::RetryPolicy,
    score::Evaluation,
    spec::{GenerationOptions, IngestOptions, JobSpec, JudgeOptions, Method, TrainingOptions},
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::{
    artifacts::ArtifactStore,
    clock::TestClock,
    stop::{StopReason, StopSignal, StopSwitch, stop_switch},
    worker::{AttemptContext, ProgressSender, StageFailure, StageHandler},
};
use tokio::sync::watch;

use crate::{JudgeConfig, JudgeHandler};

/// An assignment to judge, and what it needs.
pub(super) struct World {
    pub(super) assignment: Assignment,
    pub(super) config: JudgeConfig,
    folder: tempfile::TempDir,
    artifacts: ArtifactStore,
    progress: (ProgressSender, watch::Receiver<Progress>),
    stop: (StopSwitch, StopSignal),
    attempts: AtomicUsize,
}

impl World {
    /// `samples` answered samples that are to be judged at `url`.
    pub(super) async fn new(url: &str, samples: usize, champion: bool) -> Self {
        let golden = golden(samples);
        let answers = answers(&golden, champion);
        Self::of(url, &golden, answers).await
    }

    /// These answers to this golden dataset are to be judged at `url`.
    pub(super) async fn of(url: &str, golden: &GoldenDataset, answers: Answers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = ArtifactStore::local(folder.path().join("store")).unwrap();
        let golden_file = serde_json::to_vec(golden).unwrap();
        let answers_file = serde_json::to_vec(&answers).unwrap();
        let golden_artifact = put(&artifacts, folder.path(), "golden", &golden_file).await;
        let answers_artifact = put(&artifacts, folder.path(), "answers", &answers_file).await;
        let generated = AnswersResult {
            answers: answers_artifact,
            candidate_nll: 1.0,
            champion_nll: None,
            base_nll: 1.5,
        };
        let assignment = Assignment {
            job: "job-1".parse().unwrap(),
            stage: Stage::Judge,
            attempt: Attempt::FIRST,
            fence: Fence(1),
            spec: spec(url, golden),
            golden: GoldenInput {
                reference: golden.reference().to_string(),
                digest: golden.digest(),
                artifact: golden_artifact,
            },
            results: vec![StageResult::Generate(generated)],
            adapter_id: Some(answers.adapter_id),
            champion: None,
            checkpoint: None,
            calibrations: Vec::new(),
            judge_offsets: std::collections::BTreeMap::new(),
            evaluations: 0,
            earlier: clara_lifecycle::results::EarlierDatasets::default(),
        };
        let config = JudgeConfig {
            first_pause: Duration::from_millis(1),
            clock: Arc::new(TestClock::at(Timestamp(1_700_000_000_000))),
            variable: |name| (name == "JUDGE_API_KEY").then(|| "key-of-the-judge".to_owned()),
            ..JudgeConfig::default()
        };
        let (progress, stop) = (ProgressSender::new(), stop_switch());
        Self { assignment, config, folder, artifacts, progress, stop, attempts: AtomicUsize::new(0) }
    }

    /// The job's judge options.
    pub(super) fn options(&mut self) -> &mut JudgeOptions {
        &mut self.assignment.spec.judge
    }

    /// The attempt is told to stop.
    pub(super) fn stop(&self, reason: StopReason) {
        self.stop.0.stop(reason);
    }

    /// Carries out the stage.
    pub(super) async fn judge(&self) -> Result<(Evaluation, EvaluationResult), StageFailure> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let scratch = self.folder.path().join(format!("scratch-{attempt}"));
        std::fs::create_dir_all(&scratch).unwrap();
        let mut assignment = self.assignment.clone();
        // As with every claim.
        assignment.fence = Fence(attempt as u64 + 1);
        let context = AttemptContext {
            assignment,
            artifacts: self.artifacts.clone(),
            scratch,
            progress: self.progress.0.clone(),
            stop: self.stop.1.clone(),
        };
        match JudgeHandler::new(self.config.clone()).run(context).await? {
            StageResult::Judge(result) => {
                let evaluation =
                    serde_json::from_slice(&self.read(&result, "evaluation.json").await).unwrap();
                Ok((evaluation, result))
            }
            other => panic!("the judge stage gave {other:?}"),
        }
    }

    /// One stored file of a result.
    pub(super) async fn read(&self, result: &EvaluationResult, path: &str) -> Vec<u8> {
        self.artifacts.read(&result.evaluation, path).await.unwrap().to_vec()
    }

    /// How far the attempt has come.
    pub(super) fn progress(&self) -> Progress {
        self.progress.1.borrow().clone()
    }
}

async fn put(artifacts: &ArtifactStore, folder: &Path, name: &str, content: &[u8]) -> ArtifactRef {
    let source = folder.join(name);
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join(format!("{name}.json")), content).unwrap();
    artifacts.put_folder(&format!("inputs/{name}"), &source).await.unwrap()
}

fn golden(samples: usize) -> GoldenDataset {
    let (id, domain) = ("golden".parse().unwrap(), "baurecht".parse().unwrap());
    let mut golden = GoldenDataset::new(id, domain, "anna".into(), "2026-01-01T00:00:00Z".into());
    for number in 1..=samples {
        let mut sample = GoldenSample::new(format!("Frage {number}?"), format!("Erwartet {number}."));
        sample.criteria.insert("accuracy".into(), format!("muss § {number} nennen"));
        golden.add(sample);
    }
    golden
}

fn answers(golden: &GoldenDataset, champion: bool) -> Answers {
    let answer = |text: String| {
        let (finish_reason, tokens, expected_nll, expected_tokens) = (FinishReason::Stop, 5, 1.0, 5);
        Answer { text, finish_reason, tokens, expected_nll, expected_tokens, opening: Vec::new() }
    };
    let samples = golden.samples.iter().enumerate().map(|(index, sample)| SampleAnswers {
        sample_id: sample.sample_id.clone(),
        candidate: answer(format!("candidate {}", index + 1)),
        champion: champion.then(|| answer(format!("champion {}", index + 1))),
        base: answer("base".into()),
    });
    Answers {
        format: 1,
        adapter_id: "baurecht-lora-v1.1.0".into(),
        champion_id: champion.then(|| "baurecht-lora-v1.0.0".into()),
        base_model: "base".into(),
        golden_dataset: golden.reference().to_string(),
        golden_digest: golden.digest(),
        generation: GenerationOptions::default(),
        samples: samples.collect(),
    }
}

fn spec(url: &str, golden: &GoldenDataset) -> JobSpec {
    JobSpec {
        domain: golden.domain.clone(),
        ingest: IngestOptions::default(),
        golden_dataset: golden.reference(),
        base_model: "base".into(),
        method: Method::Lora,
        training: TrainingOptions::default(),
        generation: GenerationOptions::default(),
        judge: JudgeOptions {
            url: Some(url.to_owned()),
            reasoning: false,
            canaries: 0,
            ..JudgeOptions::default()
        },
        gate: GatePolicy::default(),
        retry: RetryPolicy::default(),
        version: None,
        rollout_targets: Vec::new(),
        priority: 5,
        resource_class: ClassName::default(),
        labels: std::collections::BTreeMap::new(),
        idempotency_key: None,
    }
}
