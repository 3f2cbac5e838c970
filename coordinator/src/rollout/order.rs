//! What is rolled out: a version with its files, and by what it is known again.

use clara_lifecycle::{
    adapter::{AdapterStatus, AdapterVersion, Family},
    answers::Answers,
    artifact::ArtifactRef,
    fingerprint::{Fingerprint, FingerprintError, ServedDtype},
    golden::GoldenDataset,
    results::StageResult,
    served::served_name,
    stage::Stage,
};
use clara_runtime::worker::ProgressSender;

use super::{Rollouts, error::RolloutError};
use crate::driver::DriverError;

/// A version that shall be served.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(super) family_id: String,
    pub(super) version: AdapterVersion,
    pub(super) files: ArtifactRef,
    pub(super) target_modules: Vec<String>,
    /// Answers and golden dataset of its evaluation, where its job is still known.
    judged: Option<(ArtifactRef, ArtifactRef)>,
    /// Where its base model lay when it was trained.
    pub(super) base_model_path: String,
    /// Who asked for it.
    pub(super) actor: String,
    /// What it belongs to: the same through all repetitions.
    pub(super) cause: String,
    /// Told of every step.
    pub(super) progress: Option<ProgressSender>,
}

impl Order {
    /// The name under which the version is served.
    pub(super) fn name(&self) -> String {
        served_name(&self.version)
    }

    pub(super) fn telling(mut self, progress: ProgressSender) -> Self {
        self.progress = Some(progress);
        self
    }
}

impl Rollouts {
    /// The order for an approved version, by its id or as `{family}@champion`.
    ///
    /// # Errors
    /// When it is unknown, not approved, or its files are not in this registry.
    pub(crate) async fn order(
        &self,
        adapter_id: &str,
        actor: &str,
        cause: &str,
    ) -> Result<Order, RolloutError> {
        let version = self.driver.adapter(adapter_id).await?.version;
        let refused =
            |reason: String| RolloutError::Version { adapter_id: version.adapter_id.clone(), reason };
        if version.status != AdapterStatus::Approved {
            return Err(refused(format!("it is {}, and only approved versions are served", version.status)));
        }
        let lineage = version.lineage.as_ref().ok_or_else(|| {
            refused("it was imported without its files; roll it out where it was trained".to_owned())
        })?;
        if lineage.adapter.digest().as_str() != version.adapter_checksum {
            return Err(refused(
                "its files are not those of its checksum; `clara registry verify` says more".to_owned(),
            ));
        }
        let family_id = Family::id_of(&version.adapter_id).unwrap_or_default().to_owned();
        let (judged, base_model_path) = match self.driver.records.job(&lineage.job).await {
            Ok(job) => {
                let job = job.value;
                let answers = match job.result(Stage::Generate) {
                    Some(StageResult::Generate(answers)) => Some(answers.answers.clone()),
                    Some(_) | None => None,
                };
                (answers.map(|answers| (answers, job.golden.artifact.clone())), job.spec.base_model.clone())
            }
            Err(DriverError::UnknownJob { .. }) => (None, version.base_model.clone()),
            Err(error) => return Err(error.into()),
        };
        Ok(Order {
            family_id,
            files: lineage.adapter.clone(),
            target_modules: lineage.training.target_modules.clone(),
            judged,
            base_model_path,
            actor: actor.to_owned(),
            cause: cause.to_owned(),
            progress: None,
            version,
        })
    }

    /// What the version answered when it was judged.
    pub(super) async fn fingerprint(
        &self,
        order: &Order,
        prompts: usize,
        dtype: ServedDtype,
    ) -> Result<Fingerprint, RolloutError> {
        let adapter_id = || order.version.adapter_id.clone();
        let Some((answers, golden)) = &order.judged else {
            return Err(FingerprintError::NoSamples { adapter_id: adapter_id() }.into());
        };
        let unreadable = |what: &str, error: serde_json::Error| RolloutError::Version {
            adapter_id: adapter_id(),
            reason: format!("its {what} cannot be read: {error}"),
        };
        let bytes = self.artifacts.read(answers, "answers.json").await?;
        let answers: Answers =
            serde_json::from_slice(&bytes).map_err(|error| unreadable("answers", error))?;
        let bytes = self.artifacts.read(golden, "golden.json").await?;
        let golden: GoldenDataset =
            serde_json::from_slice(&bytes).map_err(|error| unreadable("golden dataset", error))?;
        Ok(Fingerprint::of(&answers, &golden, prompts, dtype)?)
    }
}
