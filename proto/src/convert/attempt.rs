//! Attempt keys and assignments.

use clara_lifecycle::{
    attempt::{Assignment, ChampionInput, GoldenInput},
    id::{Attempt, Fence, JobId},
    job::AttemptKey,
    results::{EarlierDatasets, StoredDataset},
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
            earlier: Some(assignment.earlier.into()),
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
            earlier: assignment.earlier.map(TryInto::try_into).transpose()?.unwrap_or_default(),
        })
    }
}

impl From<EarlierDatasets> for v1::EarlierDatasets {
    fn from(EarlierDatasets { same_options, family }: EarlierDatasets) -> Self {
        let stored = |StoredDataset { job, result }: StoredDataset| v1::StoredDataset {
            job_id: job.into(),
            result: Some(result.into()),
        };
        Self {
            same_options: same_options.into_iter().map(stored).collect(),
            family: family.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::EarlierDatasets> for EarlierDatasets {
    type Error = ConvertError;

    fn try_from(earlier: v1::EarlierDatasets) -> Result<Self, ConvertError> {
        let stored = |v1::StoredDataset { job_id, result }| {
            let job = parsed("assignment.earlier.same_options.job_id", &job_id)?;
            let result = required("assignment.earlier.same_options.result", result)?.try_into()?;
            Ok(StoredDataset { job, result })
        };
        let same_options =
            earlier.same_options.into_iter().map(stored).collect::<Result<_, ConvertError>>()?;
        let family = earlier.family.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self { same_options, family })
    }
}
