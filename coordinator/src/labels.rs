//! Human labels: stored by answer and person, listed for calibration.

use clara_lifecycle::{
    label::{HumanLabel, InvalidLabel, LabelSource, NewLabel},
    score::Evaluation,
};
use clara_runtime::state::RecordKey;

use crate::{
    change::Change,
    control_service::Control,
    driver::{Driver, DriverError},
    records::{Stored, is_conflict},
};

const LABEL: &str = "label";

impl Control {
    /// Stores what a person says about an answer of a version, beside what its judges said.
    pub(crate) async fn label(&self, adapter_id: &str, new: NewLabel) -> Result<HumanLabel, DriverError> {
        let evaluation = self.evaluation_of(adapter_id).await?;
        let invalid = |error: InvalidLabel| DriverError::Invalid(error.to_string());
        let label = HumanLabel::of(&evaluation, new).map_err(invalid)?;
        self.driver.put_label(&label).await?;
        Ok(label)
    }

    /// The evaluation of a version.
    pub(crate) async fn evaluation_of(&self, adapter_id: &str) -> Result<Evaluation, DriverError> {
        let evidence = self.evidence(adapter_id).await?;
        let none_here = |reason: &str| {
            DriverError::Invalid(format!(
                "{adapter_id} has no evaluation here: {reason}; `clara registry lineage {adapter_id}` tells where it \
                 comes from"
            ))
        };
        match self.evaluation(&evidence).await {
            Ok(found) => found.ok_or_else(|| none_here("it was not judged yet")),
            Err(error) if evidence.is_elsewhere(&error) => {
                Err(none_here("it was imported without its files"))
            }
            Err(error) => Err(error),
        }
    }
}

impl Driver {
    /// Stores what a person says about an answer; a later word of the same person replaces the earlier one.
    pub(crate) async fn put_label(&self, label: &HumanLabel) -> Result<(), DriverError> {
        loop {
            let mut change = Change::begin(self).await?;
            self.put_label_in(&mut change, label).await?;
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }

    /// As [`Driver::put_label`], in a change that does more.
    pub(crate) async fn put_label_in(
        &self,
        change: &mut Change<'_>,
        label: &HumanLabel,
    ) -> Result<(), DriverError> {
        let key = RecordKey::new(LABEL, label.id());
        let before = self.records.load::<HumanLabel>(&key).await?;
        let version = before.and_then(|stored| stored.version);
        change.write(key, &Stored { version, value: label })
    }

    /// Takes back the label of an override.
    pub(crate) async fn remove_override_label_in(
        &self,
        change: &mut Change<'_>,
        label: &HumanLabel,
    ) -> Result<(), DriverError> {
        let key = RecordKey::new(LABEL, label.id());
        if let Some(Stored { version: Some(version), value }) = self.records.load::<HumanLabel>(&key).await?
            && value.source == LabelSource::Override
        {
            change.remove(key, version);
        }
        Ok(())
    }

    /// All labels, in order of version, sample and person.
    pub(crate) async fn labels(&self) -> Result<Vec<HumanLabel>, DriverError> {
        self.records.all(LABEL).await
    }
}
