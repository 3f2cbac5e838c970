//! Human labels: stored by answer and person, listed for calibration.

use clara_lifecycle::{
    label::{HumanLabel, InvalidLabel, NewLabel},
    results::StageResult,
    score::Evaluation,
    stage::Stage,
};
use clara_runtime::{artifacts::ArtifactStore, state::RecordKey};

use crate::{
    change::Change,
    driver::{Driver, DriverError},
    records::{Stored, from_json, is_conflict},
};

const LABEL: &str = "label";

impl Driver {
    /// Stores what a person says about an answer of a version, beside what its judges said.
    pub(crate) async fn label(
        &self,
        artifacts: &ArtifactStore,
        adapter_id: &str,
        new: NewLabel,
    ) -> Result<HumanLabel, DriverError> {
        let evaluation = self.evaluation_of(artifacts, adapter_id).await?;
        let invalid = |error: InvalidLabel| DriverError::Invalid(error.to_string());
        let label = HumanLabel::of(&evaluation, new).map_err(invalid)?;
        self.put_label(&label).await?;
        Ok(label)
    }

    /// Stores what a person says about an answer; a later word of the same person replaces the earlier one.
    pub(crate) async fn put_label(&self, label: &HumanLabel) -> Result<(), DriverError> {
        let key = RecordKey::new(LABEL, label.id());
        loop {
            let before = self.records.load::<HumanLabel>(&key).await?;
            let version = before.and_then(|stored| stored.version);
            let mut change = Change::begin(self).await?;
            change.write(key.clone(), &Stored { version, value: label })?;
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }

    /// All labels, in order of version, sample and person.
    pub(crate) async fn labels(&self) -> Result<Vec<HumanLabel>, DriverError> {
        self.records.all(LABEL).await
    }

    /// The evaluation of a version.
    pub(crate) async fn evaluation_of(
        &self,
        artifacts: &ArtifactStore,
        adapter_id: &str,
    ) -> Result<Evaluation, DriverError> {
        let view = self.adapter(adapter_id).await?;
        let adapter_id = &view.version.adapter_id;
        let none = || {
            DriverError::Invalid(format!(
                "{adapter_id} has no evaluation here: it was imported, or its job has not come so far"
            ))
        };
        let job = &view.version.lineage.as_ref().ok_or_else(none)?.job;
        let job = self.records.job(job).await?.value;
        let Some(StageResult::Judge(judged)) = job.result(Stage::Judge) else { return Err(none()) };
        let bytes = artifacts.read(&judged.evaluation, "evaluation.json").await?;
        let text = std::str::from_utf8(&bytes);
        let key = format!("evaluation of {adapter_id}");
        let text =
            text.map_err(|error| DriverError::Record { key: key.clone(), reason: error.to_string() })?;
        from_json(&key, text)
    }
}
