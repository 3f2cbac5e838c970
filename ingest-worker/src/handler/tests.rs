//! The stage as the worker loop sees it.

use std::{fs, path::Path, sync::Arc};

use clara_lifecycle::{
    attempt::{Assignment, GoldenInput},
    dataset::DatasetManifest,
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
    let assignment = Assignment {
        job: "job-1".parse().unwrap(),
        stage: Stage::Ingest,
        attempt: Attempt::FIRST,
        fence: Fence(3),
        spec: spec(&source),
        golden: GoldenInput { reference: "bau-golden@1.0.0".into(), digest: Digest::of(b"golden"), artifact },
        results: Vec::new(),
        adapter_id: None,
        champion: None,
        checkpoint: None,
        calibrations: Vec::new(),
        judge_offsets: std::collections::BTreeMap::new(),
        evaluations: 0,
    };
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
