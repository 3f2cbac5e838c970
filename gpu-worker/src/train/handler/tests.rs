//! The train stage over a real artifact store: results, checkpoints, stops and refusals.

use std::collections::BTreeMap;

use clara_lifecycle::{
    attempt::{GoldenInput, Progress},
    curve::TrainingCurve,
    digest::Digest,
    id::{Attempt, ClassName, Fence},
    spec::{JobSpec, Method, TrainingOptions},
};
use clara_runtime::{
    artifacts::ArtifactStore,
    stop::{StopSwitch, stop_switch},
    worker::ProgressSender,
};
use tokio::sync::watch;

use super::*;

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
        training: TrainingOptions {
            rank: 4,
            epochs: 4,
            accumulation: 2,
            sequence_length: 48,
            learning_rate: 5e-3,
            validate_every: 0,
            checkpoint_every: 2,
            ..TrainingOptions::default()
        },
        generation: clara_lifecycle::spec::GenerationOptions::default(),
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

fn lines(count: usize) -> String {
    let line = |index| {
        format!("{{\"document_id\":\"d{index}\",\"text\":\"Nr. {index}: Der Bescheid ist nichtig.\"}}\n")
    };
    (0..count).map(line).collect()
}

struct Rig {
    folder: tempfile::TempDir,
    artifacts: ArtifactStore,
    assignment: Assignment,
}

/// A started attempt.
struct Started {
    progress: watch::Receiver<Progress>,
    switch: StopSwitch,
    outcome: std::pin::Pin<Box<dyn Future<Output = Result<StageResult, StageFailure>> + Send>>,
}

impl Rig {
    async fn new() -> Self {
        Self::with_dataset(&lines(20)).await
    }

    async fn with_dataset(train: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = ArtifactStore::local(folder.path().join("store")).unwrap();
        let source = folder.path().join("dataset");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("train.jsonl"), train).unwrap();
        std::fs::write(source.join("validation.jsonl"), lines(2)).unwrap();
        let dataset = artifacts.put_folder("dataset", &source).await.unwrap();
        let dataset = DatasetResult {
            dataset,
            documents_read: 22,
            documents_kept: 22,
            dropped: BTreeMap::new(),
            train_records: 20,
            validation_records: 2,
            source_digest: Digest::of(b"source"),
            key: None,
            reused_from: None,
        };
        let artifact = ArtifactRef { prefix: "golden".into(), files: Vec::new() };
        let assignment = Assignment {
            job: "job-1".parse().unwrap(),
            stage: Stage::Train,
            attempt: Attempt::FIRST,
            fence: Fence(3),
            spec: spec(),
            golden: GoldenInput { reference: "probe@1.0.0".into(), digest: Digest::of(b"golden"), artifact },
            results: vec![StageResult::Ingest(dataset)],
            adapter_id: None,
            champion: None,
            checkpoint: None,
            calibrations: Vec::new(),
            judge_offsets: std::collections::BTreeMap::new(),
            evaluations: 0,
            earlier: clara_lifecycle::results::EarlierDatasets::default(),
        };
        Self { folder, artifacts, assignment }
    }

    fn start(&self) -> Started {
        self.start_with(TrainConfig::default())
    }

    fn start_with(&self, config: TrainConfig) -> Started {
        let (sender, progress) = ProgressSender::new();
        let (switch, stop) = stop_switch();
        let scratch = self.folder.path().join(format!("scratch-{}", self.assignment.fence));
        let context = AttemptContext {
            assignment: self.assignment.clone(),
            artifacts: self.artifacts.clone(),
            scratch,
            progress: sender,
            stop,
        };
        let handler = TrainHandler::new(config);
        Started { progress, switch, outcome: Box::pin(async move { handler.run(context).await }) }
    }

    async fn result(&self) -> TrainingResult {
        let started = self.start();
        match started.outcome.await.unwrap() {
            StageResult::Train(result) => result,
            other => panic!("another stage's result: {other:?}"),
        }
    }

    async fn failure(&self) -> (String, bool) {
        match self.start().outcome.await {
            Err(StageFailure::Failed { message, retryable }) => (message, retryable),
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    /// Runs until `steps` are done, tells the attempt to stop and returns how it ended and its last progress.
    async fn stopped_after(
        &self,
        steps: u64,
        reason: StopReason,
    ) -> (Result<StageResult, StageFailure>, Progress) {
        let Started { mut progress, switch, outcome } = self.start();
        let mut newest = progress.clone();
        let stop = async {
            progress.wait_for(|progress| progress.done >= steps).await.unwrap();
            switch.stop(reason);
        };
        let (outcome, ()) = tokio::join!(outcome, stop);
        (outcome, newest.borrow_and_update().clone())
    }

    fn stored(&self, name: &str) -> bool {
        self.folder.path().join("store").join(self.assignment.prefix(name)).exists()
    }

    fn next_attempt(&mut self, checkpoint: Option<ArtifactRef>) {
        self.assignment.attempt = self.assignment.attempt.next();
        self.assignment.fence = self.assignment.fence.next();
        self.assignment.checkpoint = checkpoint;
    }
}

#[tokio::test]
async fn the_stage_stores_adapter_and_report() {
    let rig = Rig::new().await;
    let result = rig.result().await;
    assert_eq!(result.adapter.prefix, "jobs/job-1/train/attempt-1-fence-3/adapter");
    assert_eq!((result.base_model.as_str(), result.steps > 4), ("tiny-llama", true));
    assert!(result.validation_loss_after < result.validation_loss_before);
    let read = async |artifact: &ArtifactRef, file: &str| rig.artifacts.read(artifact, file).await.unwrap();
    let config = read(&result.adapter, peft::CONFIG_FILE).await;
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!((&config["base_model_name_or_path"], &config["r"]), (&"tiny-llama".into(), &4.into()));
    let metrics = read(&result.report, "metrics.jsonl").await;
    let curve = TrainingCurve::of_lines(&String::from_utf8_lossy(&metrics)).unwrap();
    assert_eq!(curve.steps.len() as u64, result.steps);
    let (first, last) = (curve.validations.first().unwrap(), curve.validations.last().unwrap());
    assert_eq!((first.step, Some(first.validation_loss)), (0, result.validation_loss_before));
    assert_eq!((last.step, Some(last.validation_loss)), (result.steps, result.validation_loss_after));
    let report: serde_json::Value =
        serde_json::from_slice(&read(&result.report, "training.json").await).unwrap();
    let export = &report["exports"][0];
    assert_eq!(
        (&export["format"], &export["max_logit_difference"], &export["same_top_token"]),
        (&"peft".into(), &0.0.into(), &1.0.into())
    );
    assert!(
        export["positions"].as_u64() > Some(10) && export["adapter_effect"].as_f64() > Some(1e-4),
        "{export}"
    );
}

#[tokio::test]
async fn the_same_job_gives_the_same_adapter_bytes() {
    let (one, two) = (Rig::new().await, Rig::new().await);
    assert_eq!(one.result().await.adapter.digest(), two.result().await.adapter.digest());
}

#[tokio::test]
async fn progress_tells_steps_loss_speed_and_checkpoint() {
    let rig = Rig::new().await;
    let started = rig.start();
    started.outcome.await.unwrap();
    let progress = started.progress.borrow().clone();
    assert_eq!((Some(progress.done), progress.unit.as_str()), (progress.total, "steps"));
    assert!(progress.counter > progress.done);
    let figures =
        ["loss", "validation_loss", "learning_rate", "grad_norm", "tokens_per_second", "seconds_left"];
    for figure in figures {
        assert!(progress.figures.contains_key(figure), "{figure}");
    }
    assert_eq!(progress.figures.contains_key("resident_bytes"), cfg!(target_os = "linux"));
    let mut curve = TrainingCurve::default();
    for point in &progress.points {
        curve.add(*point);
    }
    assert_eq!(
        curve.steps.last().map(|point| (point.step, point.loss)),
        Some((progress.done, progress.figures["loss"]))
    );
    assert_eq!(
        curve.validations.last().map(|point| point.validation_loss),
        progress.figures.get("validation_loss").copied()
    );
    let checkpoint = progress.checkpoint.unwrap();
    assert!(
        checkpoint.prefix.starts_with("jobs/job-1/train/attempt-1-fence-3/checkpoint-"),
        "{checkpoint:?}"
    );
}

#[tokio::test]
async fn a_drained_attempt_hands_on_and_the_next_ends_with_the_same_bytes() {
    let undisturbed = Rig::new().await.result().await.adapter.digest();
    for steps in [1, 2, 5] {
        let mut rig = Rig::new().await;
        let (outcome, progress) = rig.stopped_after(steps, StopReason::Drain).await;
        match outcome {
            Err(StageFailure::Stopped(StopReason::Drain)) => {
                rig.next_attempt(progress.checkpoint);
                assert!(rig.assignment.checkpoint.is_some());
            }
            // The signal came after the last step.
            Ok(_) => continue,
            Err(other) => panic!("{other}"),
        }
        assert_eq!(rig.result().await.adapter.digest(), undisturbed, "drained after step {steps}");
    }
}

#[tokio::test]
async fn an_attempt_continues_from_the_checkpoint_of_a_lost_one() {
    let mut rig = Rig::new().await;
    let started = rig.start();
    let StageResult::Train(whole) = started.outcome.await.unwrap() else { panic!("another stage's result") };
    let checkpoint = started.progress.borrow().checkpoint.clone();
    rig.next_attempt(checkpoint);
    let continued = rig.result().await;
    assert_eq!(continued.adapter.digest(), whole.adapter.digest());
    assert_eq!(continued.steps, whole.steps);
}

#[tokio::test]
async fn each_method_gives_an_adapter_of_its_own() {
    let mut digests = Vec::new();
    for method in [Method::Lora, Method::Dora, Method::Qlora] {
        let mut rig = Rig::new().await;
        rig.assignment.spec.method = method;
        let result = rig.result().await;
        let (before, after) = (result.validation_loss_before.unwrap(), result.validation_loss_after.unwrap());
        assert!(after < before, "{method}: {before} to {after}");
        digests.push((result.adapter.digest(), result.base_model_digest));
    }
    let [(lora, full), (dora, also_full), (qlora, quantised)] = digests.try_into().unwrap();
    assert!(lora != dora && lora != qlora && dora != qlora);
    assert!(full == also_full && full != quantised, "an adapter answers on the base that it was trained on");
}

#[tokio::test]
async fn a_cancelled_or_fenced_attempt_stores_nothing_more() {
    for reason in [StopReason::Cancel, StopReason::Fenced] {
        let mut rig = Rig::new().await;
        rig.assignment.spec.training.checkpoint_every = 0;
        // Long enough that the signal never comes after the last step.
        rig.assignment.spec.training.epochs = 100;
        let (outcome, progress) = rig.stopped_after(1, reason).await;
        assert_eq!(outcome, Err(StageFailure::Stopped(reason)));
        assert_eq!(progress.checkpoint, None);
        assert!(!rig.stored("adapter") && !rig.stored("report"));
    }
}

#[tokio::test]
async fn bad_input_is_refused_for_good() {
    let mut rig = Rig::new().await;
    rig.assignment.spec.training.rank = 65;
    let (message, retryable) = rig.failure().await;
    assert!(message.contains("rank 65 is larger than layer") && !retryable, "{message}");

    let mut rig = Rig::new().await;
    rig.assignment.spec.base_model = "no/such/model".into();
    let (message, retryable) = rig.failure().await;
    assert!(message.contains("does not exist") && !retryable, "{message}");

    let (message, retryable) = Rig::with_dataset("{\"text\": 5}\n").await.failure().await;
    assert!(message.contains("train.jsonl:1: `text` is 5") && !retryable, "{message}");

    let (message, retryable) = Rig::with_dataset("\n").await.failure().await;
    assert!(message.contains("no token to learn") && !retryable, "{message}");
}

#[tokio::test]
async fn a_checkpoint_of_another_training_is_refused_for_good() {
    let mut rig = Rig::new().await;
    let started = rig.start();
    started.outcome.await.unwrap();
    let checkpoint = started.progress.borrow().checkpoint.clone();
    rig.next_attempt(checkpoint);
    rig.assignment.spec.training.seed = 43;
    let (message, retryable) = rig.failure().await;
    assert!(message.contains("belongs to another training") && !retryable, "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapters_that_train_together_on_one_base_model_are_those_trained_alone() {
    let (mut one, mut other) = (Rig::new().await, Rig::new().await);
    other.assignment.spec.training.seed = 7;
    other.assignment.spec.training.rank = 2;
    let alone = [one.result().await, other.result().await];
    assert_ne!(alone[0].adapter.files, alone[1].adapter.files);
    one.next_attempt(None);
    other.next_attempt(None);
    let config = TrainConfig::default();
    let model = config.models.load(&fixture("tiny-llama"), Method::Lora.into()).unwrap();
    let (first, second) = (one.start_with(config.clone()), other.start_with(config.clone()));
    let (first, second) = tokio::join!(first.outcome, second.outcome);
    let together = [first.unwrap(), second.unwrap()];
    for (alone, together) in alone.iter().zip(together) {
        let StageResult::Train(together) = together else { panic!("another stage's result") };
        assert_eq!(together.adapter.files, alone.adapter.files);
    }
    // Nobody has loaded a model of their own: this one is still the cache's.
    assert!(Arc::ptr_eq(&model, &config.models.load(&fixture("tiny-llama"), Method::Lora.into()).unwrap()));
}

#[tokio::test]
async fn a_training_that_does_not_fit_is_refused_before_its_first_step() {
    let rig = Rig::new().await;
    let config = TrainConfig { memory_limit: Some(10_000), ..TrainConfig::default() };
    let started = rig.start_with(config);
    let Err(StageFailure::Failed { message, retryable }) = started.outcome.await else { panic!("it fits") };
    assert!(message.contains("are free"), "{message}");
    assert!(!retryable);
    assert_eq!(started.progress.borrow().done, 0);
}
