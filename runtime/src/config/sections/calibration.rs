//! The settings of calibration.

use std::time::Duration;

use clara_lifecycle::calibration::CalibrationPolicy;
use serde::{Deserialize, Serialize};

use super::HumanDuration;

/// When a judge counts as calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationSettings {
    /// Fewest answers with a human label. Default 30, at least 2.
    pub min_answers: u32,
    /// Least quadratic kappa between judge and people on the overall score. Default 0.6, 0 to 1.
    pub min_quadratic_kappa: f64,
    /// A calibration is stale after so long. Default `180d`, at least 1d.
    pub max_age: HumanDuration,
}

impl CalibrationSettings {
    /// What decides whether a judge is calibrated.
    pub fn policy(&self) -> CalibrationPolicy {
        let Self { min_answers, min_quadratic_kappa, max_age: _ } = *self;
        CalibrationPolicy { min_answers, min_quadratic_kappa }
    }
}

impl Default for CalibrationSettings {
    fn default() -> Self {
        let CalibrationPolicy { min_answers, min_quadratic_kappa } = CalibrationPolicy::default();
        Self { min_answers, min_quadratic_kappa, max_age: HumanDuration(Duration::from_hours(180 * 24)) }
    }
}
