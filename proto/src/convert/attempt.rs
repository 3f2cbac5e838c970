//! Attempt keys and assignments.

use clara_lifecycle::{
    attempt::{Assignment, ChampionInput, GoldenInput},
    id::{Attempt, Fence, JobId},
    job::AttemptKey,
    stage::Stage,
};

use super::{ConvertError, judge, names::known, parsed, required};
use crate::v1;

/// The wire form of the key of an attempt of `job`.
pub fn key_to_wire(job: &JobId, key: AttemptKey) -> v1::AttemptKey {
    v1::AttemptKey {
        job_id: job.to_string(),
        stage: v1::Stage::from(key.stage).into(),
        attempt: key.attempt.0,
        fence: key.fence.0,
    }
}

/// Job, stage and attempt that a claim asks for.
///
/// # Errors
/// [`ConvertError`] names the field that is not valid.
pub fn claim_key(request: &v1::ClaimRequest) -> Result<(JobId, Stage, Attempt), ConvertError> {
    let stage = known::<v1::Stage, Stage>("stage", request.stage)?;
    Ok((parsed("job_id", &request.job_id)?, stage, Attempt(request.attempt)))
}

impl TryFrom<v1::AttemptKey> for (JobId, AttemptKey) {
    type Error = ConvertError;

    fn try_from(key: v1::AttemptKey) -> Result<Self, ConvertError> {
        let stage = known::<v1::Stage, Stage>("key.stage", key.stage)?;
        let attempt_key = AttemptKey { stage, attempt: Attempt(key.attempt), fence: Fence(key.fence) };
        Ok((parsed("key.job_id", &key.job_id)?, attempt_key))
    }
}

impl From<Assignment> for v1::Assignment {
    fn from(assignment: Assignment) -> Self {
        let key =
            AttemptKey { stage: assignment.stage, attempt: assignment.attempt, fence: assignment.fence };
        Self {
            key: Some(key_to_wire(&assignment.job, key)),
            spec: Some(assignment.spec.into()),
            golden: Some(v1::GoldenInput {
                reference: assignment.golden.reference,
                digest: assignment.golden.digest.into(),
                artifact: Some(assignment.golden.artifact.into()),
            }),
            results: assignment.results.into_iter().map(Into::into).collect(),
            adapter_id: assignment.adapter_id,
            champion: assignment.champion.map(|champion| v1::ChampionInput {
                adapter_id: champion.adapter_id,
                adapter: Some(champion.adapter.into()),
            }),
            checkpoint: assignment.checkpoint.map(Into::into),
            calibrations: assignment.calibrations.into_iter().map(Into::into).collect(),
            judge_offsets: judge::offsets_to_wire(assignment.judge_offsets),
            evaluations: assignment.evaluations,
        }
    }
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = ConvertError;

    fn try_from(assignment: v1::Assignment) -> Result<Self, ConvertError> {
        let (job, key) = required("assignment.key", assignment.key)?.try_into()?;
        let golden = required("assignment.golden", assignment.golden)?;
        let champion = |champion: v1::ChampionInput| {
            let adapter = required("assignment.champion.adapter", champion.adapter)?.try_into()?;
            Ok::<_, ConvertError>(ChampionInput { adapter_id: champion.adapter_id, adapter })
        };
        Ok(Self {
            job,
            stage: key.stage,
            attempt: key.attempt,
            fence: key.fence,
            spec: required("assignment.spec", assignment.spec)?.try_into()?,
            golden: GoldenInput {
                reference: golden.reference,
                digest: parsed("assignment.golden.digest", &golden.digest)?,
                artifact: required("assignment.golden.artifact", golden.artifact)?.try_into()?,
            },
            results: assignment.results.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            adapter_id: assignment.adapter_id,
            champion: assignment.champion.map(champion).transpose()?,
            checkpoint: assignment.checkpoint.map(TryInto::try_into).transpose()?,
            calibrations: assignment
                .calibrations
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            judge_offsets: judge::offsets_from_wire(assignment.judge_offsets)?,
            evaluations: assignment.evaluations,
        })
    }
}
