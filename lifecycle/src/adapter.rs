//! Adapter versions and their families: allocation, statuses, the champion, and the registry file.

mod alias;
mod allocate;
mod card;
mod evaluations;
mod file;
mod four_eyes;
mod lineage;
mod record;
mod rollback;
mod stored;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, str::FromStr};

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    artifact::ArtifactRef,
    digest::Digest,
    gate::Decision,
    id::{Domain, JobId},
    spec::{Method, TrainingOptions},
};

pub use alias::{AdapterQuery, Alias, AliasError, AliasMove, Expected, InvalidAlias, InvalidQuery};
pub use allocate::{NewVersion, Registered, RegistrationError};
pub use card::{CardContext, model_card};
pub use evaluations::Deciding;
pub use file::{ImportError, RegistryFile};
pub use four_eyes::{FourEyes, FourEyesError};
pub use lineage::{LineageFact, LineageStep, lineage_steps};
pub use record::{Deprecation, EvaluationRecord, ReviewRecord, RolloutRecord};
pub use rollback::{RollbackError, RolledBack};

/// How many former champions a family remembers.
const FORMER_CHAMPIONS: usize = 20;

/// All versions of one domain and method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "stored::StoredFamily", into = "stored::StoredFamily")]
pub struct Family {
    /// `{domain}-{method}`.
    pub family_id: String,
    /// The domain.
    pub domain: Domain,
    /// The method.
    pub method: Method,
    /// Versions, newest first.
    pub versions: Vec<AdapterVersion>,
    /// The names that point at versions; `champion` is the one in production.
    pub aliases: BTreeMap<Alias, String>,
    /// The versions that were in production before the champion, newest first; what a rollback goes back to.
    pub former_champions: Vec<String>,
}

/// One immutable version; only its status and the notes about it change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterVersion {
    /// `{domain}-{method}-v{version}`.
    pub adapter_id: String,
    /// Unique and growing within the family.
    pub version: Version,
    /// The domain.
    pub domain: Domain,
    /// The method.
    pub method: Method,
    /// Inner width of the low-rank update.
    pub rank: u32,
    /// Name of the base model.
    pub base_model: String,
    /// SHA-256 of the base model's files.
    pub base_model_hash: String,
    /// Where the adapter lies in the artifact store.
    pub adapter_path: String,
    /// SHA-256 over the adapter's files and their names.
    pub adapter_checksum: String,
    /// Where the dataset lies in the artifact store.
    #[serde(default)]
    pub dataset_path: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// Who registered it.
    #[serde(default)]
    pub created_by: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Free tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// `llm_judge_score`, `pass_rate` (percent), `golden_dataset_accuracy` (0–1), `golden_evaluations` and more.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Where it stands.
    pub status: AdapterStatus,
    /// Reasons given by reviewers and by the gate.
    #[serde(default)]
    pub review_notes: Vec<String>,
    /// Who approved it.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub approved_at: Option<String>,
    /// Where it came from; absent for versions imported from older registries.
    #[serde(default)]
    pub lineage: Option<Lineage>,
    /// How it was evaluated, and what the gate said.
    #[serde(default)]
    pub evaluation: Option<EvaluationRecord>,
    /// What people said about it, oldest first.
    #[serde(default)]
    pub reviews: Vec<ReviewRecord>,
    /// When it went into production, oldest first.
    #[serde(default)]
    pub rollouts: Vec<RolloutRecord>,
    /// Why it should not be used any more.
    #[serde(default)]
    pub deprecation: Option<Deprecation>,
    /// The sigstore bundle over its files, as `model_signing` writes it.
    #[serde(default)]
    pub signature: Option<serde_json::Value>,
    /// When its adapter and dataset were removed by the garbage collection, RFC 3339.
    #[serde(default)]
    pub files_removed_at: Option<String>,
}

/// Where a version came from: enough to make it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The job that made it.
    pub job: JobId,
    /// Its files with their digests.
    pub adapter: ArtifactRef,
    /// Options of the training.
    pub training: TrainingOptions,
    /// The training data's files with their digests.
    pub dataset: ArtifactRef,
    /// SHA-256 over the source files.
    pub source_digest: Digest,
    /// Digest of everything that the dataset follows from; absent where it was made by an earlier build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_key: Option<Digest>,
    /// The golden dataset as `id@version`.
    pub golden_dataset: String,
    /// Its digest.
    pub golden_digest: Digest,
    /// Version of the program that registered it.
    pub code_version: String,
    /// `training.json` and `metrics.jsonl`.
    #[serde(default)]
    pub report: Option<ArtifactRef>,
    /// The files that the training data came from, as they were named.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What was looked for in them.
    #[serde(default)]
    pub query: Option<String>,
    /// Records that it was trained on.
    #[serde(default)]
    pub train_records: Option<u64>,
    /// Optimiser steps taken.
    #[serde(default)]
    pub steps: Option<u64>,
    /// Who submitted the job, if they said so.
    #[serde(default)]
    pub submitted_by: Option<String>,
}

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterStatus {
    /// Registered, nothing decided.
    PendingReview,
    /// A human looks at it.
    InReview,
    /// It may be used.
    Approved,
    /// It must not be used.
    Rejected,
    /// It was approved once and should not be used any more.
    Deprecated,
}

/// A text that names no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a status; expected pending_review, in_review, approved, rejected or deprecated")]
pub struct UnknownStatus {
    /// The text as given.
    pub found: String,
}

/// A change of status that the rules do not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// There is no such version.
    #[error(
        "there is no adapter version {adapter_id} in family {family_id}; `clara registry list` shows all"
    )]
    Unknown {
        /// The version.
        adapter_id: String,
        /// The family.
        family_id: String,
    },
    /// Its files are gone.
    #[error(
        "the files of {adapter_id} were removed by `clara registry gc`, so it cannot become {to}; train it again"
    )]
    FilesRemoved {
        /// The version.
        adapter_id: String,
        /// The status asked for.
        to: AdapterStatus,
    },
    /// The status cannot follow the present one.
    #[error("{adapter_id} is {from} and cannot become {to}")]
    NotAllowed {
        /// The version.
        adapter_id: String,
        /// Its status.
        from: AdapterStatus,
        /// The status asked for.
        to: AdapterStatus,
    },
}

/// Who changes a status, when and why.
#[derive(Debug, Clone, Copy)]
pub struct StatusChange<'a> {
    /// The new status.
    pub to: AdapterStatus,
    /// Who.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
    /// RFC 3339.
    pub at: &'a str,
}

impl AdapterStatus {
    const ALL: [Self; 5] =
        [Self::PendingReview, Self::InReview, Self::Approved, Self::Rejected, Self::Deprecated];

    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PendingReview => "pending_review",
            Self::InReview => "in_review",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Deprecated => "deprecated",
        }
    }

    /// The status that a decision of the gate leads to; `None` when it says nothing about the version.
    pub fn of_decision(decision: Decision) -> Option<Self> {
        match decision {
            Decision::Approve => Some(Self::Approved),
            Decision::Review => Some(Self::InReview),
            Decision::Reject => Some(Self::Rejected),
            Decision::Inconclusive | Decision::Error => None,
        }
    }

    fn may_become(self, to: Self) -> bool {
        match (self, to) {
            (Self::PendingReview | Self::InReview | Self::Rejected, Self::InReview | Self::Approved)
            | (Self::PendingReview | Self::InReview, Self::Rejected)
            | (Self::Approved, Self::Deprecated) => true,
            (
                Self::PendingReview | Self::InReview | Self::Approved | Self::Rejected | Self::Deprecated,
                Self::PendingReview | Self::InReview | Self::Approved | Self::Rejected | Self::Deprecated,
            ) => self == to,
        }
    }
}

impl fmt::Display for AdapterStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for AdapterStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownStatus { found: text.to_owned() })
    }
}

impl Family {
    /// A family without versions.
    pub fn new(domain: Domain, method: Method) -> Self {
        Self {
            family_id: format!("{domain}-{method}"),
            domain,
            method,
            versions: Vec::new(),
            aliases: BTreeMap::new(),
            former_champions: Vec::new(),
        }
    }

    /// The family that a version id belongs to: all before the last `-v`.
    pub fn id_of(adapter_id: &str) -> Option<&str> {
        adapter_id.rsplit_once("-v").map(|(family, _)| family).filter(|family| !family.is_empty())
    }

    /// One version.
    pub fn version(&self, adapter_id: &str) -> Option<&AdapterVersion> {
        self.versions.iter().find(|version| version.adapter_id == adapter_id)
    }

    /// Changes a version's status and notes the reason.
    ///
    /// # Errors
    /// [`StatusError`] when there is no such version or the status cannot follow the present one.
    pub fn set_status(&mut self, adapter_id: &str, change: StatusChange<'_>) -> Result<(), StatusError> {
        let version = self.version_mut(adapter_id)?;
        if !version.status.may_become(change.to) {
            return Err(StatusError::NotAllowed {
                adapter_id: adapter_id.to_owned(),
                from: version.status,
                to: change.to,
            });
        }
        if version.files_removed_at.is_some() && version.status != change.to {
            return Err(StatusError::FilesRemoved { adapter_id: adapter_id.to_owned(), to: change.to });
        }
        version.status = change.to;
        if !change.reason.is_empty() {
            version.review_notes.push(format!("{}: {}", change.actor, change.reason));
        }
        let approved = change.to == AdapterStatus::Approved;
        version.approved_by = approved.then(|| change.actor.to_owned());
        version.approved_at = approved.then(|| change.at.to_owned());
        Ok(())
    }

    /// Adds figures to a version's metrics.
    ///
    /// # Errors
    /// [`StatusError::Unknown`] when there is no such version.
    pub fn add_metrics(
        &mut self,
        adapter_id: &str,
        metrics: impl IntoIterator<Item = (String, f64)>,
    ) -> Result<(), StatusError> {
        self.version_mut(adapter_id)?.metrics.extend(metrics);
        Ok(())
    }

    /// Makes an approved version the champion and answers the one before.
    ///
    /// # Errors
    /// [`StatusError`] when there is no such version or it is not approved.
    pub fn promote(&mut self, adapter_id: &str) -> Result<Option<String>, StatusError> {
        let status = self.version_mut(adapter_id)?.status;
        if status != AdapterStatus::Approved {
            let (adapter_id, to) = (adapter_id.to_owned(), AdapterStatus::Approved);
            return Err(StatusError::NotAllowed { adapter_id, from: status, to });
        }
        let before = self.aliases.insert(Alias::champion(), adapter_id.to_owned());
        let before = before.filter(|before| before != adapter_id);
        if let Some(before) = &before {
            self.remember_champion(before, adapter_id);
        }
        Ok(before)
    }

    fn version_mut(&mut self, adapter_id: &str) -> Result<&mut AdapterVersion, StatusError> {
        let family_id = self.family_id.clone();
        self.versions
            .iter_mut()
            .find(|version| version.adapter_id == adapter_id)
            .ok_or_else(|| StatusError::Unknown { adapter_id: adapter_id.to_owned(), family_id })
    }
}
