//! Whether an adapter is still what was registered: its files, its checksum and its signature.

use clara_lifecycle::{
    adapter::{AdapterVersion, Lineage},
    artifact::ArtifactRef,
};
use clara_runtime::artifacts::ArtifactStore;
use serde::Serialize;

use super::{
    RegistryPolicy,
    signature::{self, PublicKey, Signer},
};
use crate::driver::{Driver, DriverError};

/// An adapter whose files are what was registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The version.
    pub adapter_id: String,
    /// SHA-256 over its files and their names.
    pub checksum: String,
    /// Its files.
    pub files: usize,
    /// Their size in bytes.
    pub size_bytes: u64,
    /// What its signature says.
    pub signature: SignatureState,
}

/// What the signature of a version says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SignatureState {
    /// There is none.
    Unsigned,
    /// There is one, and no key to verify it with.
    Unchecked,
    /// It was made with this key over exactly these files.
    Valid {
        /// SHA-256 over the key's PEM.
        key: String,
    },
}

/// What a verification of several versions found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verification {
    /// Versions whose files were looked at.
    pub(crate) versions: usize,
    /// Files that are what was recorded.
    pub(crate) files: usize,
    /// Versions with a valid signature.
    pub(crate) signed: usize,
    /// Versions with a signature and no key to verify it with.
    pub(crate) unchecked: Vec<String>,
    /// Versions whose files are not in this store: imported without them, or removed by the garbage collection.
    pub(crate) without_files: Vec<String>,
    /// What is wrong, with the file named.
    pub(crate) problems: Vec<String>,
    /// Entries of the audit log.
    pub(crate) audit_entries: usize,
}

impl Driver {
    /// Computes the digests of a version's files afresh and verifies its signature with the coordinator's key. A version
    /// is named by its id, `FAMILY@ALIAS` or `FAMILY@RANGE`.
    ///
    /// # Errors
    /// [`DriverError::NotVerified`] names everything that is wrong; the others when the version or its files cannot be
    /// read.
    pub async fn verify_adapter(
        &self,
        adapter_id: &str,
        artifacts: &ArtifactStore,
    ) -> Result<Verified, DriverError> {
        let version = self.adapter(adapter_id).await?.version;
        let adapter_id = version.adapter_id.clone();
        let lineage = with_files(&version)?;
        let mut problems = damaged_files(&lineage.adapter, artifacts).await?;
        let checksum = lineage.adapter.digest().to_string();
        if checksum != version.adapter_checksum {
            problems.push(format!(
                "adapter_checksum {} does not follow from its files ({checksum})",
                version.adapter_checksum
            ));
        }
        let signature = signature_state(&version, lineage, &self.registry, None);
        match signature {
            Ok(signature) if problems.is_empty() => Ok(Verified {
                adapter_id,
                checksum,
                files: lineage.adapter.files.len(),
                size_bytes: lineage.adapter.size_bytes(),
                signature,
            }),
            Ok(_) => Err(DriverError::NotVerified { adapter_id, problems }),
            Err(problem) => {
                problems.push(problem);
                Err(DriverError::NotVerified { adapter_id, problems })
            }
        }
    }

    /// Verifies everything that the records of these versions refer to, their signatures, and the audit log.
    pub(crate) async fn verify_registry(
        &self,
        only: Option<&str>,
        key: Option<&PublicKey>,
        artifacts: &ArtifactStore,
    ) -> Result<Verification, DriverError> {
        let views = match only {
            Some(adapter_id) => vec![self.adapter(adapter_id).await?],
            None => self.adapters(&super::AdapterFilter::default()).await?,
        };
        let mut found = Verification::default();
        for view in views {
            self.look_at(&view.version, key, artifacts, &mut found).await?;
        }
        let audit = self.verify_audit().await?;
        found.audit_entries = audit.entries;
        let broken = audit.breaks.iter().map(|broken| format!("audit log: {}", broken.sentence()));
        found.problems.extend(broken);
        Ok(found)
    }

    async fn look_at(
        &self,
        version: &AdapterVersion,
        key: Option<&PublicKey>,
        artifacts: &ArtifactStore,
        found: &mut Verification,
    ) -> Result<(), DriverError> {
        let adapter_id = &version.adapter_id;
        let Ok(lineage) = with_files(version) else {
            found.without_files.push(adapter_id.clone());
            return Ok(());
        };
        found.versions += 1;
        let mut problems = Vec::new();
        if lineage.adapter.digest().as_str() != version.adapter_checksum {
            problems.push("adapter_checksum does not follow from its files".to_owned());
        }
        for (_, artifact) in version.artifacts() {
            let damaged = damaged_files(artifact, artifacts).await?;
            found.files += artifact.files.len() - damaged.len().min(artifact.files.len());
            problems.extend(damaged);
        }
        match signature_state(version, lineage, &self.registry, key) {
            Ok(SignatureState::Unsigned) => {}
            Ok(SignatureState::Valid { .. }) => found.signed += 1,
            Ok(SignatureState::Unchecked) => found.unchecked.push(adapter_id.clone()),
            Err(problem) => problems.push(problem),
        }
        found.problems.extend(problems.into_iter().map(|problem| format!("{adapter_id}: {problem}")));
        Ok(())
    }
}

/// The lineage of a version whose files should be in this store.
pub(super) fn with_files(version: &AdapterVersion) -> Result<&Lineage, DriverError> {
    let adapter_id = &version.adapter_id;
    if let Some(at) = &version.files_removed_at {
        let message =
            format!("the files of {adapter_id} were removed by `clara registry gc` at {at}; train it again");
        return Err(DriverError::Invalid(message));
    }
    version.lineage.as_ref().ok_or_else(|| {
        DriverError::Invalid(format!(
            "{adapter_id} was imported without its files, so there is nothing to verify; import them with \
             `clara registry import`"
        ))
    })
}

/// What is wrong with the files; an error when the store cannot be asked.
async fn damaged_files(
    artifact: &ArtifactRef,
    artifacts: &ArtifactStore,
) -> Result<Vec<String>, DriverError> {
    let mut problems = Vec::new();
    for file in &artifact.files {
        match artifacts.verify(artifact, &file.path).await {
            Ok(()) => {}
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(error) => problems.push(error.to_string()),
        }
    }
    Ok(problems)
}

/// What the signature says, or what is wrong with it.
fn signature_state(
    version: &AdapterVersion,
    lineage: &Lineage,
    policy: &RegistryPolicy,
    key: Option<&PublicKey>,
) -> Result<SignatureState, String> {
    let key = key.or(policy.signer.as_ref().map(Signer::public_key));
    match (&version.signature, key) {
        (None, _) if policy.require_signature => Err(format!(
            "it has no signature, and registry.require_signature asks for one; sign it with `clara registry sign {}`",
            version.adapter_id
        )),
        (None, _) => Ok(SignatureState::Unsigned),
        (Some(_), None) => Ok(SignatureState::Unchecked),
        (Some(bundle), Some(key)) => match signature::verify(key, bundle, &lineage.adapter) {
            Ok(()) => Ok(SignatureState::Valid { key: key.id().to_string() }),
            Err(error) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests;
