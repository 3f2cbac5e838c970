//! Human labels: stored by answer and person, listed for calibration.

use clara_lifecycle::label::HumanLabel;
use clara_runtime::state::RecordKey;

use crate::{
    change::Change,
    driver::{Driver, DriverError},
    records::{Stored, is_conflict},
};

const LABEL: &str = "label";

impl Driver {
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
}
