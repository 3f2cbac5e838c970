//! What a decision rests on: the evaluation of a version and the answers that were judged.

use clara_lifecycle::{
    answers::Answers, artifact::ArtifactRef, job::Job, results::StageResult, score::Evaluation, stage::Stage,
};
use serde::de::DeserializeOwned;

use crate::{control_service::Control, driver::DriverError, records::from_json};

impl Control {
    /// One job.
    pub(crate) async fn job(&self, id: &str) -> Result<Job, DriverError> {
        let id = id.parse().map_err(|_| DriverError::UnknownJob { job: id.to_owned() })?;
        Ok(self.driver.records.job(&id).await?.value)
    }

    /// The job called `what`, or the one that made the version called `what`.
    pub(crate) async fn job_behind(&self, what: &str) -> Result<Job, DriverError> {
        if what.starts_with("job-") {
            return self.job(what).await;
        }
        let version = self.driver.adapter(what).await?.version;
        let Some(lineage) = version.lineage else {
            let id = version.adapter_id;
            return Err(DriverError::Invalid(format!(
                "{id} was imported from another registry; its job is not here"
            )));
        };
        Ok(self.driver.records.job(&lineage.job).await?.value)
    }

    /// The evaluation of a job's version; `None` before it was judged.
    pub(crate) async fn evaluation(&self, job: &Job) -> Result<Option<Evaluation>, DriverError> {
        let Some(StageResult::Judge(judged)) = job.result(Stage::Judge) else { return Ok(None) };
        Ok(Some(self.file(&judged.evaluation, "evaluation.json").await?))
    }

    /// The answers of a job's version, of the champion and of the base model; `None` before they were generated.
    pub(crate) async fn answers(&self, job: &Job) -> Result<Option<Answers>, DriverError> {
        let Some(StageResult::Generate(generated)) = job.result(Stage::Generate) else { return Ok(None) };
        Ok(Some(self.file(&generated.answers, "answers.json").await?))
    }

    async fn file<T: DeserializeOwned>(&self, artifact: &ArtifactRef, name: &str) -> Result<T, DriverError> {
        let bytes = self.artifacts.read(artifact, name).await?;
        from_json(&format!("{}/{name}", artifact.prefix), &String::from_utf8_lossy(&bytes))
    }
}
