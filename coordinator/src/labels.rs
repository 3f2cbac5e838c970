//! Human labels: stored by answer and person, listed for calibration.

use clara_lifecycle::label::{HumanLabel, LabelSource};
use clara_runtime::state::RecordKey;

use crate::{
    change::Change,
    driver::{Driver, DriverError},
    records::{Stored, is_conflict},
};

const LABEL: &str = "label";

impl Driver {
    /// Stores what a person says about an answer; a later word of the same person replaces the earlier one.
    #[expect(dead_code, reason = "the services that use it come with it")]
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
