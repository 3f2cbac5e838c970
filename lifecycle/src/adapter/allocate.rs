//! Which version a trained adapter gets.

use std::collections::BTreeMap;

use semver::Version;

use super::{AdapterStatus, AdapterVersion, Family, Lineage};
use crate::{results::TrainingResult, spec::TrainingOptions};

/// A trained adapter that asks for a version.
#[derive(Debug, Clone)]
pub struct NewVersion<'a> {
    /// What the training committed.
    pub training: &'a TrainingResult,
    /// Where it came from.
    pub lineage: Lineage,
    /// Version given by hand.
    pub version: Option<Version>,
    /// RFC 3339.
    pub created_at: String,
    /// Who asked for the job.
    pub created_by: String,
}

/// The version that an adapter got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub adapter_id: String,
    /// False when the job had registered it before.
    pub created: bool,
}

/// Why an adapter cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// A version given by hand must be the greatest of its family.
    #[error(
        "version {asked} is not greater than {newest}, the newest of {family_id}; give a greater one or none"
    )]
    NotGreater {
        /// The version asked for.
        asked: Version,
        /// The newest version.
        newest: Version,
        /// The family.
        family_id: String,
    },
}

impl Family {
    /// Gives a trained adapter its version; the same job gets the same version again.
    ///
    /// First 1.0.0; another base model raises the major number; other training options or another data
    /// source the minor number; anything else the patch number.
    ///
    /// # Errors
    /// [`RegistrationError`] when the version given by hand is not the greatest.
    pub fn register(&mut self, new: NewVersion<'_>) -> Result<Registered, RegistrationError> {
        let job = &new.lineage.job;
        let same_job = |version: &&AdapterVersion| version.lineage.as_ref().is_some_and(|l| l.job == *job);
        if let Some(version) = self.versions.iter().find(same_job) {
            return Ok(Registered { adapter_id: version.adapter_id.clone(), created: false });
        }
        if let Some(asked) = &new.version {
            self.check_version(asked)?;
        }
        let version = new.version.clone().unwrap_or_else(|| self.next_version(&new));
        let adapter_id = format!("{}-v{version}", self.family_id);
        let losses = [
            ("validation_loss_before", new.training.validation_loss_before),
            ("validation_loss_after", new.training.validation_loss_after),
            ("training_loss", Some(new.training.training_loss)),
        ];
        let metrics: BTreeMap<_, _> =
            losses.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        self.versions.insert(
            0,
            AdapterVersion {
                adapter_id: adapter_id.clone(),
                version,
                domain: self.domain.clone(),
                method: self.method,
                rank: new.lineage.training.rank,
                base_model: new.training.base_model.clone(),
                base_model_hash: new.training.base_model_digest.to_string(),
                adapter_path: new.training.adapter.prefix.clone(),
                adapter_checksum: new.training.adapter.digest().to_string(),
                dataset_path: Some(new.lineage.dataset.prefix.clone()),
                created_at: new.created_at,
                created_by: new.created_by,
                description: String::new(),
                tags: Vec::new(),
                metrics,
                status: AdapterStatus::PendingReview,
                review_notes: Vec::new(),
                approved_by: None,
                approved_at: None,
                lineage: Some(new.lineage),
                evaluation: None,
                reviews: Vec::new(),
                rollouts: Vec::new(),
                deprecation: None,
                signature: None,
                files_removed_at: None,
            },
        );
        Ok(Registered { adapter_id, created: true })
    }

    /// Whether a version given by hand can be the next one.
    ///
    /// # Errors
    /// [`RegistrationError::NotGreater`] when it is not the greatest.
    pub fn check_version(&self, asked: &Version) -> Result<(), RegistrationError> {
        match self.newest() {
            Some(newest) if *asked <= newest.version => Err(RegistrationError::NotGreater {
                asked: asked.clone(),
                newest: newest.version.clone(),
                family_id: self.family_id.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn newest(&self) -> Option<&AdapterVersion> {
        self.versions.iter().max_by(|a, b| a.version.cmp(&b.version))
    }

    fn next_version(&self, new: &NewVersion<'_>) -> Version {
        let Some(newest) = self.newest() else { return Version::new(1, 0, 0) };
        let Version { major, minor, patch, .. } = newest.version;
        if newest.base_model_hash != new.training.base_model_digest.as_str() {
            return Version::new(major + 1, 0, 0);
        }
        let same_method = newest.lineage.as_ref().is_some_and(|before| {
            same_options(&before.training, &new.lineage.training)
                && before.source_digest == new.lineage.source_digest
        });
        if same_method { Version::new(major, minor, patch + 1) } else { Version::new(major, minor + 1, 0) }
    }
}

/// Whether two trainings were asked for with the same options; the seed is no option of the method.
fn same_options(before: &TrainingOptions, after: &TrainingOptions) -> bool {
    *before == TrainingOptions { seed: before.seed, ..after.clone() }
}
