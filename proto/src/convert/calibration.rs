//! How far judges may be trusted, and what else a decision rests on.

use clara_lifecycle::{
    calibration::{JudgeStanding, KnownJudge},
    gate::{GateEvidence, Stratum},
    golden::Difficulty,
};

use super::{ConvertError, names::known, parsed, required};
use crate::v1;

impl From<GateEvidence> for v1::GateEvidence {
    fn from(evidence: GateEvidence) -> Self {
        let stratum = |stratum: Stratum| v1::GateStratum {
            difficulty: stratum.difficulty.to_string(),
            samples: stratum.samples,
            mean: stratum.mean,
            lower_bound: stratum.lower_bound,
            upper_bound: stratum.upper_bound,
        };
        Self {
            clusters: evidence.clusters,
            effective_samples: evidence.effective_samples,
            strata: evidence.strata.into_iter().map(stratum).collect(),
            hard_failures: evidence.hard_failures,
            injections: evidence.injections,
            evaluations: evidence.evaluations,
            standing: Some(evidence.standing.into()),
        }
    }
}

impl TryFrom<v1::GateEvidence> for GateEvidence {
    type Error = ConvertError;

    fn try_from(evidence: v1::GateEvidence) -> Result<Self, ConvertError> {
        let stratum = |stratum: v1::GateStratum| {
            Ok(Stratum {
                difficulty: parsed::<Difficulty>("gate.evidence.strata.difficulty", &stratum.difficulty)?,
                samples: stratum.samples,
                mean: stratum.mean,
                lower_bound: stratum.lower_bound,
                upper_bound: stratum.upper_bound,
            })
        };
        Ok(Self {
            clusters: evidence.clusters,
            effective_samples: evidence.effective_samples,
            strata: evidence.strata.into_iter().map(stratum).collect::<Result<_, ConvertError>>()?,
            hard_failures: evidence.hard_failures,
            injections: evidence.injections,
            evaluations: evidence.evaluations,
            standing: required("gate.evidence.standing", evidence.standing)?.try_into()?,
        })
    }
}

impl From<JudgeStanding> for v1::JudgeStanding {
    fn from(standing: JudgeStanding) -> Self {
        Self { state: v1::CalibrationState::from(standing.state).into(), reason: standing.reason }
    }
}

impl TryFrom<v1::JudgeStanding> for JudgeStanding {
    type Error = ConvertError;

    fn try_from(standing: v1::JudgeStanding) -> Result<Self, ConvertError> {
        let state = known::<v1::CalibrationState, _>("standing.state", standing.state)?;
        Ok(Self { state, reason: standing.reason })
    }
}

impl From<KnownJudge> for v1::KnownJudge {
    fn from(judge: KnownJudge) -> Self {
        Self {
            judge_id: judge.judge_id,
            model: judge.model,
            prompt_digest: judge.prompt_digest.into(),
            rubric_digest: judge.rubric_digest.into(),
            fingerprint: judge.fingerprint,
            standing: Some(judge.standing.into()),
        }
    }
}

impl TryFrom<v1::KnownJudge> for KnownJudge {
    type Error = ConvertError;

    fn try_from(judge: v1::KnownJudge) -> Result<Self, ConvertError> {
        Ok(Self {
            judge_id: judge.judge_id,
            model: judge.model,
            prompt_digest: parsed("assignment.calibrations.prompt_digest", &judge.prompt_digest)?,
            rubric_digest: parsed("assignment.calibrations.rubric_digest", &judge.rubric_digest)?,
            fingerprint: judge.fingerprint,
            standing: required("assignment.calibrations.standing", judge.standing)?.try_into()?,
        })
    }
}
