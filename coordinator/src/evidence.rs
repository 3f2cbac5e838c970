//! What a decision rests on: the evaluation of a version and the answers that were judged.

#[cfg(test)]
mod tests;

use clara_lifecycle::{
    adapter::AdapterVersion, answers::Answers, artifact::ArtifactRef, job::Job, results::StageResult,
    score::Evaluation, stage::Stage,
};
use clara_runtime::artifacts::{ArtifactError, ArtifactStore};
use serde::de::DeserializeOwned;

use crate::{
    control_service::Control,
    driver::{Driver, DriverError},
};

/// Reads the `evaluation.json` of an artifact.
///
/// # Errors
/// [`DriverError::Artifact`] when the file cannot be read or is not what was stored, [`DriverError::Record`] when it
/// holds no evaluation.
pub async fn evaluation(
    artifacts: &ArtifactStore,
    artifact: &ArtifactRef,
) -> Result<Evaluation, DriverError> {
    document(artifacts, artifact, "evaluation.json").await
}

/// Reads the `answers.json` of an artifact.
///
/// # Errors
/// As [`evaluation`].
pub async fn answers(artifacts: &ArtifactStore, artifact: &ArtifactRef) -> Result<Answers, DriverError> {
    document(artifacts, artifact, "answers.json").await
}

/// A document of a thousand samples takes some 10 MB, so it is parsed where it keeps nobody waiting.
async fn document<T: DeserializeOwned + Send + 'static>(
    artifacts: &ArtifactStore,
    artifact: &ArtifactRef,
    file: &str,
) -> Result<T, DriverError> {
    let bytes = artifacts.read(artifact, file).await?;
    let damaged = |reason: String| DriverError::Record { key: format!("{}/{file}", artifact.prefix), reason };
    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&bytes)).await;
    parsed.map_err(|error| damaged(error.to_string()))?.map_err(|error| damaged(error.to_string()))
}

/// Where the evaluation of a version lies, and the answers that it is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// `evaluation.json`; `None` before it was judged.
    pub evaluation: Option<ArtifactRef>,
    /// `answers.json`; `None` before they were generated.
    pub answers: Option<ArtifactRef>,
    /// Whether the job that made it has a record here.
    has_job: bool,
}

impl Evidence {
    /// What the stages of a job committed.
    pub fn of_job(job: &Job) -> Self {
        let evaluation = match job.result(Stage::Judge) {
            Some(StageResult::Judge(judged)) => Some(judged.evaluation.clone()),
            _ => None,
        };
        let answers = match job.result(Stage::Generate) {
            Some(StageResult::Generate(generated)) => Some(generated.answers.clone()),
            _ => None,
        };
        Self { evaluation, answers, has_job: true }
    }

    /// What the registry recorded when the gate decided.
    pub fn of_version(version: &AdapterVersion) -> Self {
        let record = version.evaluation.as_ref();
        Self {
            evaluation: record.and_then(|record| record.evaluation.clone()),
            answers: record.and_then(|record| record.answers.clone()),
            has_job: false,
        }
    }

    /// Whether it could not be read because the version was imported without its files.
    pub(crate) fn is_elsewhere(&self, error: &DriverError) -> bool {
        let is_missing =
            |error: &ArtifactError| matches!(error, ArtifactError::Store { .. }) && !error.is_retryable();
        !self.has_job && matches!(error, DriverError::Artifact(error) if is_missing(error))
    }
}

impl Driver {
    /// What a version was judged by: as its job has it, which may be judging anew, or as the registry recorded it where
    /// the job is not here, because its record was removed or the version was imported.
    pub(crate) async fn evidence(&self, version: &AdapterVersion) -> Result<Evidence, DriverError> {
        let Some(lineage) = &version.lineage else { return Ok(Evidence::of_version(version)) };
        match self.records.job(&lineage.job).await {
            Ok(job) => Ok(Evidence::of_job(&job.value)),
            Err(DriverError::UnknownJob { .. }) => Ok(Evidence::of_version(version)),
            Err(error) => Err(error),
        }
    }
}

impl Control {
    /// One job.
    pub(crate) async fn job(&self, id: &str) -> Result<Job, DriverError> {
        let id = id.parse().map_err(|_| DriverError::UnknownJob { job: id.to_owned() })?;
        Ok(self.driver.records.job(&id).await?.value)
    }

    /// The evidence of the job called `what`, or of the version called `what`.
    pub(crate) async fn evidence(&self, what: &str) -> Result<Evidence, DriverError> {
        if what.starts_with("job-") {
            return Ok(Evidence::of_job(&self.job(what).await?));
        }
        self.driver.evidence(&self.driver.adapter(what).await?.version).await
    }

    /// The evaluation of a job's version; `None` before it was judged.
    pub(crate) async fn evaluation(&self, evidence: &Evidence) -> Result<Option<Evaluation>, DriverError> {
        match &evidence.evaluation {
            Some(artifact) => Ok(Some(evaluation(&self.artifacts, artifact).await?)),
            None => Ok(None),
        }
    }

    /// The answers of a job's version, of the champion and of the base model; `None` before they were generated.
    pub(crate) async fn answers(&self, evidence: &Evidence) -> Result<Option<Answers>, DriverError> {
        match &evidence.answers {
            Some(artifact) => Ok(Some(answers(&self.artifacts, artifact).await?)),
            None => Ok(None),
        }
    }
}
