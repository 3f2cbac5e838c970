//! What a job's training measured: from its report once it is over, from its events before.

use clara_lifecycle::{
    artifact::ArtifactRef, curve::TrainingCurve, id::JobId, job::JobEvent, results::StageResult, stage::Stage,
};
use clara_proto::v1;

use super::{Control, jobs::job_id, library::document};
use crate::{
    driver::DriverError,
    records::{from_json, job_stream},
};

/// More points than any drawing shows.
const MOST_POINTS: usize = 2_000;
/// Events read at a time.
const PAGE: usize = 500;
/// Files of a report with the points; the second one is that of earlier builds, without validations.
const FILES: [&str; 2] = ["metrics.jsonl", "steps.jsonl"];

impl Control {
    pub(super) async fn get_curve(
        &self,
        request: v1::GetCurveRequest,
    ) -> Result<v1::GetCurveResponse, DriverError> {
        Ok(v1::GetCurveResponse { json: document(&self.curve(&job_id(&request.job_id)?).await?)? })
    }

    /// The curve of a job's training.
    pub(crate) async fn curve(&self, job: &JobId) -> Result<TrainingCurve, DriverError> {
        let job = self.driver.records.job(job).await?.value;
        let curve = match job.result(Stage::Train) {
            Some(StageResult::Train(trained)) => self.reported(&trained.report).await?,
            Some(
                StageResult::Ingest(_)
                | StageResult::Generate(_)
                | StageResult::Judge(_)
                | StageResult::Gate(_)
                | StageResult::Rollout(_),
            )
            | None => self.told(&job.id).await?,
        };
        Ok(curve.thinned(MOST_POINTS))
    }

    async fn reported(&self, report: &ArtifactRef) -> Result<TrainingCurve, DriverError> {
        let file = FILES.into_iter().find(|file| report.file(file).is_some()).unwrap_or(FILES[0]);
        let lines = self.artifacts.read(report, file).await?;
        TrainingCurve::of_lines(&String::from_utf8_lossy(&lines)).map_err(|(line, error)| {
            let key = format!("{}/{file}:{line}", report.prefix);
            DriverError::Record { key, reason: error.to_string() }
        })
    }

    async fn told(&self, job: &JobId) -> Result<TrainingCurve, DriverError> {
        let (stream, mut after, mut curve) = (job_stream(job), 0, TrainingCurve::default());
        loop {
            let events = self.driver.records.state.events(&stream, after, PAGE).await?;
            let is_last = events.len() < PAGE;
            for event in events {
                after = event.number;
                curve.see(&from_json::<JobEvent>(&stream, &event.body)?);
            }
            if is_last {
                return Ok(curve);
            }
        }
    }
}

#[cfg(test)]
mod tests;
