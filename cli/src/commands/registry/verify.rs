//! Whether every recorded file is still what was recorded, and the audit log whole.

use anyhow::{Result, bail};
use clara_lifecycle::artifact::ArtifactRef;
use clara_proto::v1;
use clara_runtime::artifacts::ArtifactStore;
use serde::Serialize;

use super::super::{DONE, FAILED};
use crate::{client::AdapterDocument, session::Session};

/// What a verification found.
#[derive(Debug, Default, Serialize)]
struct Verification {
    /// Versions whose files were looked at.
    versions: usize,
    /// Files that are what was recorded.
    files: usize,
    /// Versions from other registries, whose files are not in this store.
    without_files: Vec<String>,
    /// What is wrong, with the file named.
    problems: Vec<String>,
    /// Entries of the audit log.
    audit_entries: usize,
}

pub(super) async fn run(session: &Session, adapter: Option<&str>) -> Result<u8> {
    let connection = session.connect().await?;
    let adapters = match adapter {
        Some(adapter) => vec![connection.client.adapter(adapter).await?],
        None => connection.client.adapters(v1::ListAdaptersRequest::default()).await?,
    };
    let store = session.artifacts()?;
    let mut found = Verification::default();
    for adapter in &adapters {
        found.look_at(adapter, &store).await;
    }
    let (entries, broken) = connection.client.audit(None).await?;
    found.audit_entries = entries.len();
    if let Some((chain, number)) = broken {
        found
            .problems
            .push(format!("audit log: entry {number} of chain {chain} does not follow from the one before"));
    }
    if session.output.is_json() {
        session.output.json(&found)?;
        return Ok(if found.problems.is_empty() { DONE } else { FAILED });
    }
    session.output.line(format!(
        "{} versions, {} files and {} audit entries verified",
        found.versions, found.files, found.audit_entries
    ))?;
    for adapter_id in &found.without_files {
        session.output.note(format!("{adapter_id}: its files are not in this store, nothing to verify"));
    }
    if found.problems.is_empty() {
        return Ok(DONE);
    }
    bail!("verification failed; restore what is named from a backup:\n  {}", found.problems.join("\n  "))
}

impl Verification {
    async fn look_at(&mut self, adapter: &AdapterDocument, store: &ArtifactStore) {
        let version = &adapter.version;
        let Some(lineage) = &version.lineage else {
            self.without_files.push(version.adapter_id.clone());
            return;
        };
        self.versions += 1;
        if lineage.adapter.digest().as_str() != version.adapter_checksum {
            self.problems.push(format!(
                "{}: adapter_checksum {} does not follow from its files ({})",
                version.adapter_id,
                version.adapter_checksum,
                lineage.adapter.digest()
            ));
        }
        for artifact in [&lineage.adapter, &lineage.dataset] {
            self.read_all(&version.adapter_id, artifact, store).await;
        }
    }

    /// Reading verifies.
    async fn read_all(&mut self, adapter_id: &str, artifact: &ArtifactRef, store: &ArtifactStore) {
        for file in &artifact.files {
            match store.read(artifact, &file.path).await {
                Ok(_) => self.files += 1,
                Err(error) => self.problems.push(format!("{adapter_id}: {error}")),
            }
        }
    }
}
