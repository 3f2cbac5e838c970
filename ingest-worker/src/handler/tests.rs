//! The stage as the worker loop sees it.

use std::{fs, path::Path, sync::Arc};

use clara_lifecycle::{
    attempt::{Assignment, GoldenInput, Progress},
    dataset::{DatasetManifest, DropReason},
    digest::Digest,
    gate::GatePolicy,
    id::{Attempt, ClassName, Fence},
    results::{DatasetResult, StageResult},
    retry::RetryPolicy,
    spec::{GenerationOptions, IngestOptions, JobSpec, JudgeOptions, Method, TrainingOptions},
    stage::Stage,
};
use clara_runtime::{
    artifacts::ArtifactStore,
    stop::{StopReason, StopSignal, stop_switch},
    worker::{AttemptContext, ProgressSender, StageFailure, StageHandler as _},
};
use object_store::memory::InMemory;

use super::IngestHandler;
use crate::fetch::testing::World;

const GOLDEN: &str = r#"{
    "dataset_id": "bau-golden", "domain": "verwaltungsrecht", "version": "1.0.0", "description": "",
    "created_at": "2026-01-05T10:00:00Z", "created_by": "test", "tags": [],
    "samples": [{"sample_id": "bau-1", "prompt": "Wer erteilt die Baugenehmigung für ein Wohnhaus?",
                 "expected_output": "Die untere Bauaufsichtsbehörde erteilt die Baugenehmigung."}]
}"#;

const LAW: &str = concat!(
    r#"{"id":"a","text":"Der Bauantrag ist schriftlich bei der Gemeinde einzureichen."}"#,
    "\n",
    r#"{"id":"b","text":"Die Nachbarn sind vor der Erteilung einer Befreiung zu hören."}"#,
    "\n",
    r#"{"id":"c","text":"Die untere Bauaufsichtsbehörde erteilt die Baugenehmigung."}"#,
    "\n",
);

fn spec(source: &Path) -> JobSpec {
    let sources = vec![source.to_str().unwrap().to_owned()];
    JobSpec {
        domain: "verwaltungsrecht".parse().unwrap(),
        ingest: IngestOptions { sources, ..IngestOptions::default() },
        golden_dataset: "bau-golden@1.0.0".parse().unwrap(),
        base_model: "model".into(),
        method: Method::Lora,
        training: TrainingOptions::default(),
        generation: GenerationOptions::default(),
        judge: JudgeOptions::default(),
        gate: GatePolicy::default(),
        retry: RetryPolicy::default(),
        version: None,
        rollout_targets: Vec::new(),
        priority: 5,
        resource_class: ClassName::default(),
        labels: [].into(),
        idempotency_key: None,
    }
}

fn assignment(spec: JobSpec, golden: GoldenInput) -> Assignment {
    Assignment {
        job: "job-1".parse().unwrap(),
        stage: Stage::Ingest,
        attempt: Attempt::FIRST,
        fence: Fence(3),
        spec,
        golden,
        results: Vec::new(),
        adapter_id: None,
        champion: None,
        checkpoint: None,
        calibrations: Vec::new(),
        judge_offsets: std::collections::BTreeMap::new(),
        evaluations: 0,
    }
}

/// Runs the handler over a source with `law`, in memory but for the scratch folder.
async fn run(
    law: &str,
    golden: &str,
    stop: StopSignal,
) -> (Result<StageResult, StageFailure>, ArtifactStore) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("law.jsonl");
    fs::write(&source, law).unwrap();
    let golden_folder = folder.path().join("golden");
    fs::create_dir(&golden_folder).unwrap();
    fs::write(golden_folder.join("golden.json"), golden).unwrap();
    let scratch = folder.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let artifacts = ArtifactStore::new(Arc::new(InMemory::new()));
    let artifact = artifacts.put_folder("golden/bau-golden", &golden_folder).await.unwrap();
    let golden =
        GoldenInput { reference: "bau-golden@1.0.0".into(), digest: Digest::of(b"golden"), artifact };
    let assignment = assignment(spec(&source), golden);
    let (progress, _newest) = ProgressSender::new();
    let context = AttemptContext { assignment, artifacts: artifacts.clone(), scratch, progress, stop };
    (IngestHandler::default().run(context).await, artifacts)
}

fn dataset(result: Result<StageResult, StageFailure>) -> DatasetResult {
    match result.unwrap() {
        StageResult::Ingest(dataset) => dataset,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_attempt_stores_its_dataset_below_its_own_prefix() {
    let (_switch, stop) = stop_switch();
    let (result, artifacts) = run(LAW, GOLDEN, stop).await;
    let result = dataset(result);
    assert_eq!(result.dataset.prefix, "jobs/job-1/ingest/attempt-1-fence-3/dataset");
    let paths: Vec<_> = result.dataset.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["dropped.jsonl.zst", "manifest.json", "train.jsonl", "validation.jsonl"]);
    let manifest = artifacts.read(&result.dataset, "manifest.json").await.unwrap();
    let manifest: DatasetManifest = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest.documents_kept, result.documents_kept);
    assert_eq!(manifest.golden_overlap.golden_dataset, "bau-golden@1.0.0");
    assert_eq!(manifest.golden_overlap.removed[0].document_id, "c");
}

#[tokio::test]
async fn bad_input_is_permanent() {
    let (_switch, stop) = stop_switch();
    let (result, _) = run("kein json\n", GOLDEN, stop).await;
    let failure = result.unwrap_err();
    assert!(matches!(&failure, StageFailure::Failed { retryable: false, .. }), "{failure:?}");
    assert!(failure.to_string().contains("law.jsonl:1"), "{failure}");
}

#[tokio::test]
async fn a_golden_dataset_that_cannot_be_read_is_named() {
    let (_switch, stop) = stop_switch();
    let (result, _) = run(LAW, "{}", stop).await;
    let failure = result.unwrap_err();
    assert!(failure.to_string().contains("golden dataset bau-golden@1.0.0"), "{failure}");
}

#[tokio::test]
async fn a_reason_to_stop_stores_nothing() {
    let (switch, stop) = stop_switch();
    switch.stop(StopReason::Fenced);
    let (result, _) = run(LAW, GOLDEN, stop).await;
    assert_eq!(result.unwrap_err(), StageFailure::Stopped(StopReason::Fenced));
}

/// Attempts of one job that reads servers.
struct Fetching {
    world: World,
    artifacts: ArtifactStore,
    assignment: Assignment,
}

impl Fetching {
    async fn new(world: World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("golden.json"), GOLDEN).unwrap();
        let artifacts = ArtifactStore::new(Arc::new(InMemory::new()));
        let artifact = artifacts.put_folder("golden/bau-golden", folder.path()).await.unwrap();
        let mut spec = spec(Path::new("unused"));
        spec.ingest.sources = vec!["@gesetze".into(), "@urteile".into()];
        spec.ingest.max_broken_share = 0.2;
        let golden =
            GoldenInput { reference: "bau-golden@1.0.0".into(), digest: Digest::of(b"golden"), artifact };
        Self { world, artifacts, assignment: assignment(spec, golden) }
    }

    /// One attempt in a scratch folder of its own: how it ended, and the last progress.
    async fn attempt(&mut self, stop: StopSignal) -> (Result<StageResult, StageFailure>, Progress) {
        let scratch = tempfile::tempdir().unwrap();
        let (progress, newest) = ProgressSender::new();
        let context = AttemptContext {
            assignment: self.assignment.clone(),
            artifacts: self.artifacts.clone(),
            scratch: scratch.path().join("attempt"),
            progress,
            stop,
        };
        let servers = World::servers(&["gesetze", "urteile"]);
        let handler = IngestHandler { servers, remotes: Arc::new(self.world.clone()) };
        let ended = handler.run(context).await;
        let progress = newest.borrow().clone();
        self.assignment.attempt = Attempt(self.assignment.attempt.0 + 1);
        self.assignment.fence = Fence(self.assignment.fence.0 + 1);
        if progress.checkpoint.is_some() {
            self.assignment.checkpoint.clone_from(&progress.checkpoint);
        }
        (ended, progress)
    }
}

#[tokio::test]
async fn a_drained_attempt_is_gone_on_with_elsewhere_and_gives_the_same_bytes() {
    let (_switch, stop) = stop_switch();
    let mut undisturbed = Fetching::new(World::new(2500, 1)).await;
    let (whole, progress) = undisturbed.attempt(stop.clone()).await;
    let whole = dataset(whole);
    assert_eq!(whole.documents_read, 5000);
    assert_eq!((progress.unit.as_str(), progress.done), ("documents", 5000));
    assert!(progress.figures.contains_key("resident_bytes"), "{:?}", progress.figures);

    let mut world = World::new(2500, 1);
    world.hangs_after = Some(1800);
    let mut job = Fetching::new(world.clone()).await;
    let (switch, told) = stop_switch();
    let stopping = async {
        world.hung().await;
        switch.stop(StopReason::Drain);
    };
    let ((ended, progress), ()) = tokio::join!(job.attempt(told), stopping);
    assert_eq!(ended.unwrap_err(), StageFailure::Stopped(StopReason::Drain));
    assert!((1800..2500).contains(&progress.done), "{}", progress.done);
    assert!(progress.checkpoint.is_some());

    job.world.hangs_after = None;
    let pages = job.world.pages();
    let (ended, _) = job.attempt(stop.clone()).await;
    let gone_on = dataset(ended);
    let files = |result: &DatasetResult| result.dataset.files.clone();
    assert_eq!(files(&gone_on), files(&whole), "names, sizes and digests");
    let asked = job.world.pages() - pages;
    assert!(asked < undisturbed.world.pages() * 3 / 4, "{asked} pages after the drain");

    let opened = job.world.opened().len();
    let (ended, _) = job.attempt(stop).await;
    assert_eq!(files(&dataset(ended)), files(&whole));
    assert_eq!(job.world.opened().len(), opened, "finished sources are not opened again");
}

#[tokio::test]
async fn stored_pieces_are_not_stored_again() {
    let (_switch, stop) = stop_switch();
    let mut job = Fetching::new(World::new(5000, 2)).await;
    dataset(job.attempt(stop).await.0);
    let objects = job.artifacts.objects("jobs/job-1/ingest/attempt-1-fence-3/fetched").await.unwrap();
    let of = |name: &str| objects.iter().filter(|object| object.path.contains(name)).collect::<Vec<_>>();
    let bytes: u64 = of("/part-").iter().map(|object| object.size_bytes).sum();
    assert!(of("/part-").len() >= 10, "{}", of("/part-").len());
    let documents = 2 * 5000 * 150;
    assert!(bytes < documents / 2, "{bytes} bytes are more than all documents once, compressed");
    assert!(of("/checkpoint-").iter().all(|object| object.size_bytes < 20_000));
}

#[tokio::test]
async fn the_manifest_tells_what_servers_gave_and_where_broken_documents_came_from() {
    let (_switch, stop) = stop_switch();
    let mut job = Fetching::new(World::new(40, 3)).await;
    let result = dataset(job.attempt(stop).await.0);
    let manifest = job.artifacts.read(&result.dataset, "manifest.json").await.unwrap();
    let manifest: DatasetManifest = serde_json::from_slice(&manifest).unwrap();
    let [laws, rulings] = manifest.remote_sources.as_slice() else { panic!("{manifest:?}") };
    assert_eq!((laws.source.as_str(), laws.fetched, laws.broken), ("@gesetze", 40, 4));
    assert_eq!(laws.state, Some(serde_json::json!({ "sequence": 40 })));
    assert_eq!(rulings.source, "@urteile");
    let names: Vec<_> = manifest.source_files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["@gesetze", "@urteile"]);
    assert_eq!(manifest.dropped[&DropReason::Broken], 8);
    assert_eq!(manifest.dropped_samples[&DropReason::Broken][0], "@gesetze:4");
}

#[tokio::test]
async fn a_checkpoint_that_is_gone_begins_anew() {
    let (_switch, stop) = stop_switch();
    let mut job = Fetching::new(World::new(40, 3)).await;
    dataset(job.attempt(stop.clone()).await.0);
    let checkpoint = job.assignment.checkpoint.clone().unwrap();
    job.artifacts.remove(&format!("{}/checkpoint.json", checkpoint.prefix)).await.unwrap();
    let opened = job.world.opened().len();
    dataset(job.attempt(stop).await.0);
    assert_eq!(job.world.opened().len(), opened + 2);
}
