//! Golden datasets: drafts that change, versions that never do.

use clara_lifecycle::{
    adapter::Family,
    artifact::ArtifactRef,
    attempt::GoldenInput,
    digest::Digest,
    golden::{GoldenDataset, Severity},
    id::{GoldenDatasetId, GoldenReference},
};
use clara_runtime::artifacts::ArtifactStore;
use serde::{Deserialize, Serialize};

use crate::{
    change::Change,
    driver::{Driver, DriverError, audit},
    records::{GOLDEN, GOLDEN_DRAFT, Stored, draft_key, golden_key, is_conflict},
};

/// A frozen version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FrozenGolden {
    pub(crate) dataset: GoldenDataset,
    pub(crate) digest: Digest,
    pub(crate) artifact: ArtifactRef,
    pub(crate) frozen_at: String,
    pub(crate) frozen_by: String,
}

/// A draft or a frozen version.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Golden {
    Draft(GoldenDataset),
    Frozen(Box<FrozenGolden>),
}

impl Golden {
    pub(crate) fn dataset(&self) -> &GoldenDataset {
        match self {
            Self::Draft(dataset) => dataset,
            Self::Frozen(frozen) => &frozen.dataset,
        }
    }
}

impl Driver {
    /// Creates or replaces a draft, or adds samples to it; the same content again changes nothing.
    pub(crate) async fn put_golden(
        &self,
        new: GoldenDataset,
        append: bool,
    ) -> Result<GoldenDataset, DriverError> {
        loop {
            match self.put_golden_once(new.clone(), append).await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }

    async fn put_golden_once(
        &self,
        mut new: GoldenDataset,
        append: bool,
    ) -> Result<GoldenDataset, DriverError> {
        let draft = self.draft(&new.dataset_id).await?;
        if append {
            let Some(mut grown) = draft.value.clone() else {
                return Err(DriverError::UnknownGolden {
                    reference: format!("{} (as a draft)", new.dataset_id),
                });
            };
            let prefix = format!("{}-", new.dataset_id);
            for mut sample in new.samples {
                // Reading the samples numbered them from 1; beside those of the draft they are numbered on.
                let number = sample.sample_id.strip_prefix(&prefix).map(str::parse::<u64>);
                if matches!(number, Some(Ok(_))) && grown.sample(&sample.sample_id).is_some() {
                    sample.sample_id.clear();
                }
                grown.add(sample);
            }
            new = grown;
        }
        if draft.value.as_ref() == Some(&new) {
            return Ok(new);
        }
        if self.records.load::<FrozenGolden>(&golden_key(&new.reference())).await?.is_some() {
            return Err(DriverError::Invalid(format!(
                "golden dataset {} is frozen and never changes; raise its version to make a new one",
                new.reference()
            )));
        }
        let mut change = Change::begin(self).await?;
        change.write(draft_key(&new.dataset_id), &Stored { version: draft.version, value: Some(&new) })?;
        change.commit().await?;
        Ok(new)
    }

    /// The draft; `None` when there is none, or when it was frozen.
    async fn draft(&self, id: &GoldenDatasetId) -> Result<Stored<Option<GoldenDataset>>, DriverError> {
        let stored = self.records.load(&draft_key(id)).await?;
        Ok(stored.unwrap_or(Stored { version: None, value: None }))
    }

    /// A version, or the draft, or else the newest version.
    pub(crate) async fn golden(&self, reference: &GoldenReference) -> Result<Golden, DriverError> {
        if reference.version.is_some() {
            return Ok(Golden::Frozen(Box::new(self.frozen_golden(reference).await?)));
        }
        if let Some(draft) = self.draft(&reference.id).await?.value {
            return Ok(Golden::Draft(draft));
        }
        // A draft that is created meanwhile does not count: when the request looked for one, there was none.
        let newest = self.newest_golden(&reference.id).await?;
        let newest = newest.ok_or_else(|| unknown(reference))?;
        Ok(Golden::Frozen(Box::new(newest)))
    }

    /// All versions and drafts.
    pub(crate) async fn all_golden(&self) -> Result<Vec<Golden>, DriverError> {
        let frozen: Vec<FrozenGolden> = self.records.all(GOLDEN).await?;
        let drafts: Vec<Option<GoldenDataset>> = self.records.all(GOLDEN_DRAFT).await?;
        let frozen = frozen.into_iter().map(|version| Golden::Frozen(Box::new(version)));
        Ok(frozen.chain(drafts.into_iter().flatten().map(Golden::Draft)).collect())
    }

    /// Makes the draft an immutable version.
    pub(crate) async fn freeze_golden(
        &self,
        id: &GoldenDatasetId,
        actor: &str,
        artifacts: &ArtifactStore,
    ) -> Result<FrozenGolden, DriverError> {
        let draft = self.draft(id).await?;
        let Some(dataset) = draft.value else {
            return Err(DriverError::UnknownGolden { reference: format!("{id} (as a draft)") });
        };
        let errors: Vec<_> = dataset
            .lint()
            .into_iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(|finding| format!("\n  {}", finding.message))
            .collect();
        if !errors.is_empty() {
            return Err(DriverError::Invalid(format!("{id} cannot be frozen:{}", errors.concat())));
        }
        let mut change = Change::begin(self).await?;
        let frozen = FrozenGolden {
            digest: dataset.digest(),
            artifact: store(&dataset, artifacts).await?,
            frozen_at: change.now_text(),
            frozen_by: actor.to_owned(),
            dataset,
        };
        let reference = frozen.dataset.reference();
        change.write(golden_key(&reference), &Stored { version: None, value: &frozen })?;
        let no_draft: Option<GoldenDataset> = None;
        change.write(draft_key(id), &Stored { version: draft.version, value: no_draft })?;
        audit(&mut change, "golden.frozen", &reference.to_string(), (actor, frozen.digest.as_str())).await?;
        match change.commit().await {
            Err(error) if is_conflict(&error) => match self.frozen_golden(&reference).await {
                // Somebody else froze the same content; that is what was asked for.
                Ok(other) if other.digest == frozen.digest => Ok(other),
                _ => Err(DriverError::Invalid(format!(
                    "golden dataset {reference} was changed meanwhile; look at it and repeat"
                ))),
            },
            done => done.map(|()| frozen),
        }
    }

    /// What a job pins: the named version, or the newest one.
    pub(crate) async fn pinned_golden(
        &self,
        reference: &GoldenReference,
    ) -> Result<GoldenInput, DriverError> {
        let name = reference.to_string();
        if let Some(pinned) = self.pinned.lock().get(&name) {
            return Ok(pinned.clone());
        }
        let frozen = self.frozen_golden(reference).await?;
        let pinned = GoldenInput {
            reference: frozen.dataset.reference().to_string(),
            digest: frozen.digest,
            artifact: frozen.artifact,
        };
        // A name without a version means another one later.
        if pinned.reference == name {
            self.pinned.lock().insert(name, pinned.clone());
        }
        Ok(pinned)
    }

    /// How many evaluations of all families with a frozen golden dataset led to a decision.
    pub(crate) async fn evaluations_with(&self, golden: &Digest) -> Result<u32, DriverError> {
        let families: Vec<Family> = self.records.families().await?;
        Ok(families.iter().map(|family| family.evaluations_with(golden, None)).sum())
    }

    async fn frozen_golden(&self, reference: &GoldenReference) -> Result<FrozenGolden, DriverError> {
        if reference.version.is_some() {
            let stored = self.records.load(&golden_key(reference)).await?;
            return Ok(stored.ok_or_else(|| unknown(reference))?.value);
        }
        let id = &reference.id;
        match self.newest_golden(id).await? {
            Some(version) => Ok(version),
            None if self.draft(id).await?.value.is_some() => Err(DriverError::Invalid(format!(
                "golden dataset {id} is a draft only; freeze it with `clara golden freeze {id}`"
            ))),
            None => Err(unknown(reference)),
        }
    }

    async fn newest_golden(&self, id: &GoldenDatasetId) -> Result<Option<FrozenGolden>, DriverError> {
        let versions: Vec<FrozenGolden> = self.records.all(GOLDEN).await?;
        Ok(versions
            .into_iter()
            .filter(|version| version.dataset.dataset_id == *id)
            .max_by(|a, b| a.dataset.version.cmp(&b.dataset.version)))
    }
}

fn unknown(reference: &GoldenReference) -> DriverError {
    DriverError::UnknownGolden { reference: reference.to_string() }
}

async fn store(dataset: &GoldenDataset, artifacts: &ArtifactStore) -> Result<ArtifactRef, DriverError> {
    let invalid = |error: &dyn std::fmt::Display| {
        DriverError::Invalid(format!("cannot write golden dataset {}: {error}", dataset.reference()))
    };
    let folder = tempfile::tempdir().map_err(|error| invalid(&error))?;
    let json = serde_json::to_vec_pretty(dataset).map_err(|error| invalid(&error))?;
    tokio::fs::write(folder.path().join("golden.json"), json).await.map_err(|error| invalid(&error))?;
    // The digest in the path keeps a repeated freeze after a crash from meeting other bytes.
    let prefix = format!("golden/{}/{}-{}", dataset.dataset_id, dataset.version, dataset.digest().short());
    Ok(artifacts.put_folder(&prefix, folder.path()).await?)
}

#[cfg(test)]
mod tests;
