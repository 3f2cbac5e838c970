//! Calibrations: judges compared with human labels, and how far each may be trusted now.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clara_lifecycle::{
    attempt::JudgeOffsets,
    calibration::{Calibration, CalibrationContext, CalibrationState, JudgeStanding, KnownJudge},
    label::HumanLabel,
    score::JudgeIdentity,
    time::Timestamp,
};
use clara_runtime::state::RecordKey;
use serde::Serialize;

use crate::{
    change::Change,
    control_service::Control,
    driver::{Driver, DriverError, audit},
    records::{Stored, is_conflict},
};

const CALIBRATION: &str = "calibration";

/// A calibration, and how far its judge may be trusted now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CalibrationView {
    #[serde(flatten)]
    pub(crate) calibration: Calibration,
    pub(crate) standing: JudgeStanding,
}

impl Control {
    /// Compares every judge with the labels of answers that it scored, and stores the results. Answers them, and the
    /// judges whose evaluations cannot be read.
    pub(crate) async fn calibrate_all(
        &self,
        actor: &str,
    ) -> Result<(Vec<CalibrationView>, BTreeSet<String>), DriverError> {
        if actor.trim().is_empty() {
            return Err(DriverError::Invalid("a calibration needs who made it (--actor)".into()));
        }
        let labels = self.driver.labels().await?;
        let judges = self.judges_of(&labels).await?;
        let named: BTreeSet<_> = labels.iter().flat_map(|label| label.judged.keys().cloned()).collect();
        let unknown = named.into_iter().filter(|judge| !judges.contains_key(judge)).collect();
        let mut views = Vec::new();
        for judge in judges.values() {
            views.extend(self.driver.calibrate_one(judge, &labels, actor).await?);
        }
        Ok((views, unknown))
    }

    /// The judges of the evaluations that the labels are about, by id.
    async fn judges_of(&self, labels: &[HumanLabel]) -> Result<BTreeMap<String, JudgeIdentity>, DriverError> {
        let adapters: BTreeSet<_> = labels.iter().map(|label| label.adapter_id.as_str()).collect();
        let mut judges = BTreeMap::new();
        for adapter_id in adapters {
            match self.evaluation_of(adapter_id).await {
                Ok(evaluation) => judges
                    .extend(evaluation.judges().iter().map(|judge| (judge.judge_id.clone(), judge.clone()))),
                // Its labels count for judges that are known from elsewhere; the others are told to the user.
                Err(error @ DriverError::Invalid(_)) => {
                    tracing::warn!("labels of {adapter_id} are there without its evaluation: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(judges)
    }
}

impl Driver {
    async fn calibrate_one(
        &self,
        judge: &JudgeIdentity,
        labels: &[HumanLabel],
        actor: &str,
    ) -> Result<Option<CalibrationView>, DriverError> {
        let key = RecordKey::new(CALIBRATION, judge.judge_id.clone());
        loop {
            let before = self.records.load::<Calibration>(&key).await?;
            let mut change = Change::begin(self).await?;
            let at = change.now_text();
            let context = CalibrationContext { policy: self.calibration.policy(), at: &at, actor };
            let Some(calibration) = Calibration::of(judge, labels, context) else { return Ok(None) };
            let version = before.and_then(|stored| stored.version);
            change.write(key.clone(), &Stored { version, value: &calibration })?;
            let standing = calibration.standing();
            let action = match standing.state {
                CalibrationState::Calibrated => "judge.calibrated",
                CalibrationState::Stale | CalibrationState::Uncalibrated => "judge.not_calibrated",
            };
            audit(&mut change, action, &judge.judge_id, (actor, &standing.reason)).await?;
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Some(CalibrationView { calibration, standing })),
            }
        }
    }

    /// All calibrations, measured by the settings of now.
    pub(crate) async fn calibrations(&self) -> Result<Vec<CalibrationView>, DriverError> {
        let stored: Vec<Calibration> = self.records.all(CALIBRATION).await?;
        let now = self.records.state.now().await?;
        let max_age = self.calibration.max_age.0;
        let view = |calibration: Calibration| {
            let calibration = Calibration { policy: self.calibration.policy(), ..calibration };
            let standing = aged(&calibration, now, max_age);
            CalibrationView { calibration, standing }
        };
        Ok(stored.into_iter().map(view).collect())
    }

    /// The judges that were compared with labels, as the gate needs them.
    pub(crate) async fn known_judges(&self) -> Result<Vec<KnownJudge>, DriverError> {
        let known = |CalibrationView { calibration, standing }: CalibrationView| KnownJudge {
            judge_id: calibration.judge_id,
            model: calibration.model,
            prompt_digest: calibration.prompt_digest,
            rubric_digest: calibration.rubric_digest,
            fingerprint: calibration.fingerprint,
            standing,
        };
        Ok(self.calibrations().await?.into_iter().map(known).collect())
    }

    /// What is added to the scores of judges that may be trusted, as a panel needs it.
    pub(crate) async fn judge_offsets(&self) -> Result<JudgeOffsets, DriverError> {
        let calibrations = self.calibrations().await?.into_iter();
        let trusted = calibrations.filter(|view| view.standing.state == CalibrationState::Calibrated);
        Ok(trusted.map(|view| (view.calibration.judge_id.clone(), view.calibration.offsets())).collect())
    }
}

/// The standing of a calibration that may be too old.
fn aged(calibration: &Calibration, now: Timestamp, max_age: Duration) -> JudgeStanding {
    let standing = calibration.standing();
    if standing.state != CalibrationState::Calibrated {
        return standing;
    }
    let made = calibration.at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
    let age = now.since(Timestamp(made));
    if age <= max_age {
        return standing;
    }
    let days = |duration: Duration| duration.as_secs() / 86_400;
    JudgeStanding::stale(format!(
        "{} was calibrated {} days ago, at most {} are allowed; label some newer answers and run \
         `clara eval calibrate`",
        calibration.judge_id,
        days(age),
        days(max_age)
    ))
}
