//! The registry as one file: `adapter_registry.json`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AdapterStatus, AdapterVersion, Family};
use crate::{artifact::ArtifactRef, id::Domain, spec::Method};

/// `adapter_registry.json`: all families with their versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistryFile {
    /// Layout of the file; `1.0.0`.
    pub version: String,
    /// RFC 3339.
    pub last_updated: String,
    /// All families.
    pub families: Vec<Family>,
}

/// Why a registry file cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The file has another layout.
    #[error("the registry file has layout {found}; expected 1.0.0")]
    Layout {
        /// The layout found.
        found: String,
    },
    /// Two versions with one id.
    #[error("{adapter_id} stands twice in the registry file; remove one of the two")]
    Twice {
        /// The version.
        adapter_id: String,
    },
    /// The id of a family does not follow from its domain and method.
    #[error("family {family_id} has domain {domain} and method {method}, so its id should be {expected}")]
    WrongFamily {
        /// The id found.
        family_id: String,
        /// Its domain.
        domain: Domain,
        /// Its method.
        method: Method,
        /// The id that follows from both.
        expected: String,
    },
    /// A version has another domain or method than its family.
    #[error(
        "{adapter_id} has domain {domain} and method {method}, which are not those of family {family_id}"
    )]
    ForeignVersion {
        /// The version.
        adapter_id: String,
        /// Its domain.
        domain: Domain,
        /// Its method.
        method: Method,
        /// The family.
        family_id: String,
    },
    /// A version stands in a family that is not its own, or its id does not follow from it.
    #[error("{adapter_id} stands in family {family_id}, but its id should be {expected}")]
    WrongId {
        /// The id found.
        adapter_id: String,
        /// The family.
        family_id: String,
        /// The id that follows from family and version.
        expected: String,
    },
    /// The checksum of a version is not that of its files.
    #[error(
        "adapter_checksum {stated} of {adapter_id} does not follow from its files ({found}); the registry file was changed: \
         export it again"
    )]
    Checksum {
        /// The version.
        adapter_id: String,
        /// The checksum as it stands in the file.
        stated: String,
        /// The checksum of the files that it names.
        found: String,
    },
    /// A version is here already with other content.
    #[error(
        "nothing was imported: {adapter_id} is already registered with another {part} ({found}, the file says {expected}){files}; \
         versions are immutable: take it out of the file, or train it again for a version of its own"
    )]
    Differs {
        /// The version.
        adapter_id: String,
        /// What differs: `adapter`, `base model` or `dataset`.
        part: &'static str,
        /// The registered digest.
        found: String,
        /// The digest in the file.
        expected: String,
        /// The files that differ, as text to append; empty where they are not known.
        files: String,
    },
}

impl RegistryFile {
    /// A file with these families.
    pub fn new(families: Vec<Family>, last_updated: String) -> Self {
        Self { version: "1.0.0".to_owned(), last_updated, families }
    }

    /// Checks the file as a whole.
    ///
    /// # Errors
    /// [`ImportError`] names the first version that is wrong.
    pub fn check(&self) -> Result<(), ImportError> {
        if self.version != "1.0.0" {
            return Err(ImportError::Layout { found: self.version.clone() });
        }
        let mut seen = BTreeSet::new();
        for family in &self.families {
            let (domain, method) = (&family.domain, family.method);
            let expected = format!("{domain}-{method}");
            if family.family_id != expected {
                let (family_id, domain) = (family.family_id.clone(), domain.clone());
                return Err(ImportError::WrongFamily { family_id, domain, method, expected });
            }
            for version in &family.versions {
                if version.domain != *domain || version.method != method {
                    return Err(ImportError::ForeignVersion {
                        adapter_id: version.adapter_id.clone(),
                        domain: version.domain.clone(),
                        method: version.method,
                        family_id: family.family_id.clone(),
                    });
                }
                let expected = format!("{}-v{}", family.family_id, version.version);
                if version.adapter_id != expected {
                    let (adapter_id, family_id) = (version.adapter_id.clone(), family.family_id.clone());
                    return Err(ImportError::WrongId { adapter_id, family_id, expected });
                }
                if !seen.insert(&version.adapter_id) {
                    return Err(ImportError::Twice { adapter_id: version.adapter_id.clone() });
                }
                version.check_checksum()?;
            }
        }
        Ok(())
    }
}

impl Family {
    /// Takes over the versions of `other` that are not here yet and answers how many were new. Versions keep
    /// their status; aliases that are here stay where they are, and new ones are taken over when their version is approved
    /// and has its files.
    ///
    /// # Errors
    /// [`ImportError::Differs`] when a version is here with other files, another base model or another dataset; nothing
    /// is changed then.
    pub fn merge(&mut self, other: Self) -> Result<u32, ImportError> {
        for version in &other.versions {
            if let Some(here) = self.version(&version.adapter_id) {
                here.check_same(version)?;
            }
        }
        let mut imported = 0;
        for version in other.versions {
            if self.version(&version.adapter_id).is_none() {
                self.versions.push(version);
                imported += 1;
            }
        }
        self.versions.sort_by(|a, b| b.version.cmp(&a.version));
        let is_usable = |version: &AdapterVersion| {
            version.status == AdapterStatus::Approved && version.files_removed_at.is_none()
        };
        for (alias, adapter_id) in other.aliases {
            if self.version(&adapter_id).is_some_and(is_usable) {
                self.aliases.entry(alias).or_insert(adapter_id);
            }
        }
        Ok(imported)
    }
}

impl AdapterVersion {
    /// Whether the checksum is that of the files, where they are named.
    fn check_checksum(&self) -> Result<(), ImportError> {
        let Some(lineage) = &self.lineage else { return Ok(()) };
        let found = lineage.adapter.digest().to_string();
        if found == self.adapter_checksum {
            return Ok(());
        }
        let (adapter_id, stated) = (self.adapter_id.clone(), self.adapter_checksum.clone());
        Err(ImportError::Checksum { adapter_id, stated, found })
    }

    /// Whether `other`, which has the same id, is made of the same files on the same base model from the same data.
    fn check_same(&self, other: &Self) -> Result<(), ImportError> {
        let lineages = self.lineage.as_ref().zip(other.lineage.as_ref());
        let adapters = lineages.map(|(here, there)| (&here.adapter, &there.adapter));
        let datasets = lineages.map(|(here, there)| (&here.dataset, &there.dataset));
        let dataset_digests = datasets.map(|(here, there)| (here.digest(), there.digest()));
        let parts = [
            ("adapter", Some((self.adapter_checksum.as_str(), other.adapter_checksum.as_str())), adapters),
            ("base model", Some((self.base_model_hash.as_str(), other.base_model_hash.as_str())), None),
            (
                "dataset",
                dataset_digests.as_ref().map(|(here, there)| (here.as_str(), there.as_str())),
                datasets,
            ),
        ];
        for (part, digests, files) in parts {
            let Some((found, expected)) = digests.filter(|(here, there)| here != there) else { continue };
            return Err(ImportError::Differs {
                adapter_id: self.adapter_id.clone(),
                part,
                found: found.to_owned(),
                expected: expected.to_owned(),
                files: files.map(|(here, there)| differing(here, there)).unwrap_or_default(),
            });
        }
        Ok(())
    }
}

/// The files that are not the same in both, as text to append.
fn differing(here: &ArtifactRef, there: &ArtifactRef) -> String {
    let digest = |artifact: &ArtifactRef, path: &str| artifact.file(path).map(|file| file.digest.clone());
    let paths: BTreeSet<&str> =
        here.files.iter().chain(&there.files).map(|file| file.path.as_str()).collect();
    let changed = paths.into_iter().filter(|path| digest(here, path) != digest(there, path));
    format!(" in {}", changed.collect::<Vec<_>>().join(", "))
}
