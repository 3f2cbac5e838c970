//! Whether the judges of an evaluation count as calibrated: calibrations of now against the judges of then.

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, score::JudgeIdentity};

/// How far a judge may be trusted; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationState {
    /// Never compared with human labels, with too few, or without agreement.
    #[default]
    Uncalibrated,
    /// Was calibrated, but something changed since, or too much time went by.
    Stale,
    /// Agrees with human labels.
    Calibrated,
}

impl CalibrationState {
    /// The name in files and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uncalibrated => "uncalibrated",
            Self::Stale => "stale",
            Self::Calibrated => "calibrated",
        }
    }
}

/// How far the judges of an evaluation may be trusted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JudgeStanding {
    /// How far.
    pub state: CalibrationState,
    /// Why, in a sentence.
    pub reason: String,
}

impl JudgeStanding {
    /// Trusted.
    pub fn calibrated(reason: String) -> Self {
        Self { state: CalibrationState::Calibrated, reason }
    }

    /// Not trusted yet.
    pub fn uncalibrated(reason: String) -> Self {
        Self { state: CalibrationState::Uncalibrated, reason }
    }

    /// No longer trusted.
    pub fn stale(reason: String) -> Self {
        Self { state: CalibrationState::Stale, reason }
    }
}

/// A judge with a calibration, as an assignment carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownJudge {
    /// The judge, as in [`JudgeIdentity::judge_id`].
    pub judge_id: String,
    /// Model name at the endpoint.
    pub model: String,
    /// Digest of the texts that make the prompts.
    pub prompt_digest: Digest,
    /// Digest of criteria, weights and anchors.
    pub rubric_digest: Digest,
    /// What the endpoint said about its model, where it did.
    pub fingerprint: Option<String>,
    /// How far it may be trusted now.
    pub standing: JudgeStanding,
}

/// The standing of a panel: that of its least trusted judge.
pub fn standing_of(judges: &[JudgeIdentity], known: &[KnownJudge]) -> JudgeStanding {
    let worst =
        judges.iter().map(|judge| standing_of_one(judge, known)).min_by_key(|standing| standing.state);
    worst.unwrap_or_else(|| JudgeStanding::uncalibrated("nobody judged".to_owned()))
}

fn standing_of_one(judge: &JudgeIdentity, known: &[KnownJudge]) -> JudgeStanding {
    if judge.calibrated {
        return JudgeStanding::calibrated(format!(
            "the specification calls {} calibrated (judge.calibrated)",
            judge.judge_id
        ));
    }
    if let Some(same) = known.iter().find(|known| known.is(judge)) {
        if same.standing.state == CalibrationState::Calibrated
            && let Some(new) = same.new_fingerprint(judge)
        {
            return JudgeStanding::stale(format!(
                "{} was calibrated when its endpoint answered as {}, and now it answers as {new}; label some answers of it and \
                 run `clara eval calibrate`",
                judge.judge_id,
                same.fingerprint.as_deref().unwrap_or("another")
            ));
        }
        return same.standing.clone();
    }
    let was_calibrated = |known: &&KnownJudge| known.standing.state != CalibrationState::Uncalibrated;
    let relative = known.iter().filter(was_calibrated).max_by_key(|known| known.closeness(judge));
    match relative {
        Some(relative) => JudgeStanding::stale(format!(
            "{} was calibrated, but {} since; label some answers of {} and run `clara eval calibrate`",
            relative.judge_id,
            relative.what_changed(judge),
            judge.judge_id
        )),
        None => JudgeStanding::uncalibrated(format!(
            "{} was never compared with human labels; `clara eval label` and `clara eval calibrate` do it",
            judge.judge_id
        )),
    }
}

impl KnownJudge {
    fn is(&self, judge: &JudgeIdentity) -> bool {
        self.judge_id == judge.judge_id
            && self.prompt_digest == judge.prompt_digest
            && self.rubric_digest == judge.rubric_digest
    }

    /// What the endpoint says of itself that it did not say at the calibration; `None` where it says nothing new.
    fn new_fingerprint(&self, judge: &JudgeIdentity) -> Option<String> {
        let known: Vec<&str> = self.fingerprint.as_deref()?.split(", ").collect();
        let said = judge.fingerprint.as_deref()?.split(", ");
        let new: Vec<&str> = said.filter(|mark| !known.contains(mark)).collect();
        (!new.is_empty()).then(|| new.join(", "))
    }

    /// How much it has in common with `judge`.
    fn closeness(&self, judge: &JudgeIdentity) -> (bool, u8) {
        let digests = [self.prompt_digest == judge.prompt_digest, self.rubric_digest == judge.rubric_digest];
        (self.model == judge.model, digests.into_iter().map(u8::from).sum())
    }

    fn what_changed(&self, judge: &JudgeIdentity) -> String {
        let mut changes = Vec::new();
        if self.model != judge.model {
            changes.push(format!("the model is {} instead of {}", judge.model, self.model));
        }
        let digests = [
            ("prompt", &self.prompt_digest, &judge.prompt_digest),
            ("rubric", &self.rubric_digest, &judge.rubric_digest),
        ];
        for (what, before, now) in digests {
            if before != now {
                changes.push(format!("the {what} changed from {} to {}", before.short(), now.short()));
            }
        }
        if changes.is_empty() {
            return "it goes by another name".to_owned();
        }
        changes.join(" and ")
    }
}
