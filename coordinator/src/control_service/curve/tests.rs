//! The curve of a training that goes on comes from its heartbeats, that of one that is over from its report.

use std::sync::Arc;

use clara_lifecycle::{
    attempt::Progress,
    curve::{CurvePoint, StepPoint, ValidationPoint},
    gate::Decision,
    job::{AttemptKey, Event},
    samples,
};

use super::*;
use crate::testing::{House, TERMS, claim, complete, result, training};

struct Viewer {
    house: House,
    control: Control,
    job: JobId,
    key: AttemptKey,
}

impl Viewer {
    /// A job whose training began.
    async fn new() -> Self {
        let house = House::new().await;
        let control = house.control();
        let job = house.submit(samples::spec()).await.id;
        complete(&house.driver, &job, result(Stage::Ingest, Decision::Approve)).await.unwrap();
        let key = claim(&house.driver, &job, Stage::Train).await;
        Self { house, control, job, key }
    }

    async fn beat(&self, counter: u64, points: Vec<CurvePoint>) {
        let progress = Progress { counter, points, ..Progress::default() };
        let beat = Event::Heartbeat { key: self.key, progress, terms: TERMS };
        self.house.driver.apply(&self.job, beat).await.unwrap();
    }

    async fn curve(&self) -> Result<TrainingCurve, DriverError> {
        let answer = self.control.get_curve(v1::GetCurveRequest { job_id: self.job.to_string() }).await?;
        Ok(serde_json::from_str(&answer.json).unwrap())
    }

    /// Ends the training with a report of one file.
    async fn report(&self, file: &str, content: &str) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), content).unwrap();
        let report = self.house.artifacts.put_folder("report", folder.path()).await.unwrap();
        let trained =
            StageResult::Train(clara_lifecycle::results::TrainingResult { report, ..training("tiny") });
        let done = Event::Completed { key: self.key, result: Arc::new(trained) };
        self.house.driver.apply(&self.job, done).await.unwrap();
    }
}

fn step(step: u64) -> CurvePoint {
    CurvePoint::Step(StepPoint { step, loss: 2.0, learning_rate: 0.5, grad_norm: 1.0 })
}

fn steps(curve: &TrainingCurve) -> Vec<u64> {
    curve.steps.iter().map(|point| point.step).collect()
}

#[tokio::test]
async fn what_heartbeats_told_is_the_curve_of_a_training_that_goes_on() {
    let viewer = Viewer::new().await;
    assert!(viewer.curve().await.unwrap().is_empty());
    let validation = CurvePoint::Validation(ValidationPoint { step: 0, validation_loss: 3.0 });
    viewer.beat(1, vec![validation, step(1)]).await;
    viewer.beat(2, vec![step(2), step(3)]).await;
    let curve = viewer.curve().await.unwrap();
    assert_eq!((steps(&curve), curve.validations.len()), (vec![1, 2, 3], 1));
    let job = viewer.house.job(&viewer.job).await;
    assert!(!serde_json::to_string(&job).unwrap().contains("\"points\""), "the job must stay small");
}

#[tokio::test]
async fn the_report_has_the_curve_of_a_training_that_is_over() {
    for file in ["metrics.jsonl", "steps.jsonl"] {
        let viewer = Viewer::new().await;
        viewer.beat(1, vec![step(1)]).await;
        let lines: Vec<String> =
            (1..=3).map(|number| serde_json::to_string(&step(number)).unwrap()).collect();
        viewer.report(file, &lines.join("\n")).await;
        assert_eq!(steps(&viewer.curve().await.unwrap()), [1, 2, 3], "{file}");
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_named_with_its_line() {
    let viewer = Viewer::new().await;
    viewer.report("metrics.jsonl", "{\"step\":1}\n").await;
    let error = viewer.curve().await.unwrap_err().to_string();
    assert!(error.contains("report/metrics.jsonl:1"), "{error}");
}
