//! What is judged: the answers of the generate stage and the golden dataset that they belong to.

use clara_lifecycle::{
    answers::{Answers, SampleAnswers},
    attempt::Assignment,
    golden::{GoldenDataset, GoldenSample},
    results::StageResult,
};
use clara_runtime::{
    artifacts::{ArtifactError, ArtifactStore},
    worker::StageFailure,
};
use serde::de::DeserializeOwned;

/// Answers with their golden dataset.
#[derive(Debug)]
pub(super) struct Input {
    /// The golden dataset.
    pub(super) golden: GoldenDataset,
    /// The answers to it.
    pub(super) answers: Answers,
}

impl Input {
    /// Reads both from the artifact store and checks that they belong together.
    ///
    /// # Errors
    /// A permanent failure when there are no answers, or answers to something else.
    pub(super) async fn read(
        assignment: &Assignment,
        artifacts: &ArtifactStore,
    ) -> Result<Self, StageFailure> {
        let generated = assignment.results.iter().rev().find_map(|result| match result {
            StageResult::Generate(answers) => Some(&answers.answers),
            StageResult::Ingest(_)
            | StageResult::Train(_)
            | StageResult::Judge(_)
            | StageResult::Gate(_)
            | StageResult::Rollout(_) => None,
        });
        let generated = generated.ok_or_else(|| {
            StageFailure::permanent("there are no answers to judge; resume the job from stage generate")
        })?;
        let answers: Answers = json("answers.json", &read(artifacts, generated, "answers.json").await?)?;
        let golden: GoldenDataset =
            json("golden.json", &read(artifacts, &assignment.golden.artifact, "golden.json").await?)?;
        if answers.golden_digest != assignment.golden.digest {
            return Err(StageFailure::permanent(format!(
                "answers.json answers golden dataset {} with digest {}, the job pins {} with digest {}; resume the \
                 job from stage generate",
                answers.golden_dataset,
                answers.golden_digest.short(),
                assignment.golden.reference,
                assignment.golden.digest.short()
            )));
        }
        Ok(Self { golden, answers })
    }

    /// Every golden sample that is asked with its answers.
    ///
    /// # Errors
    /// A permanent failure when a sample was not answered.
    pub(super) fn pairs(&self) -> Result<Vec<(&GoldenSample, &SampleAnswers)>, StageFailure> {
        let answers_of = |sample: &GoldenSample| {
            self.answers.samples.iter().find(|answers| answers.sample_id == sample.sample_id)
        };
        let pair = |sample| {
            let answers = answers_of(sample).ok_or_else(|| {
                StageFailure::permanent(format!(
                    "answers.json has no answer to golden sample {}; resume the job from stage generate",
                    sample.sample_id
                ))
            })?;
            Ok((sample, answers))
        };
        self.golden.asked().map(pair).collect()
    }
}

async fn read(
    artifacts: &ArtifactStore,
    artifact: &clara_lifecycle::artifact::ArtifactRef,
    path: &str,
) -> Result<Vec<u8>, StageFailure> {
    artifacts.read(artifact, path).await.map(Into::into).map_err(store_failure)
}

/// A failure of the artifact store.
pub(super) fn store_failure(error: ArtifactError) -> StageFailure {
    if error.is_retryable() { StageFailure::retryable(error) } else { StageFailure::permanent(error) }
}

fn json<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, StageFailure> {
    serde_json::from_slice(bytes).map_err(|error| {
        StageFailure::permanent(format!("cannot read {name}: {error}; it was not written by us"))
    })
}
