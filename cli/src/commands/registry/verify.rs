//! Whether every recorded file is still what was recorded, its signature valid, and the audit log whole.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use clara_lifecycle::counted::counted;

use super::{
    super::{DONE, FAILED},
    keys,
};
use crate::session::Session;

/// What is verified, and with which key.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArgs {
    /// Only this version: its id, FAMILY@ALIAS or FAMILY@RANGE
    adapter: Option<String>,
    /// Public key in PEM that signatures must be made with [default: the coordinator's own key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(super) async fn run(session: &Session, args: VerifyArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let key = args.key.as_deref().map(keys::public_key).transpose()?.map(|key| key.pem());
    let found = connection.client.verify_registry(args.adapter, key).await?;
    if session.output.is_json() {
        session.output.json(&found)?;
        return Ok(if found.problems.is_empty() { DONE } else { FAILED });
    }
    session.output.line(format!(
        "{}, {}, {} and {} verified",
        counted(found.versions, "version"),
        counted(found.files, "file"),
        counted(found.signed, "signature"),
        counted(found.audit_entries, "audit entry")
    ))?;
    for adapter_id in &found.without_files {
        session.output.note(format!("{adapter_id}: its files are not in this store, nothing to verify"));
    }
    for adapter_id in &found.unchecked {
        session.output.note(format!("{adapter_id}: it is signed; verify it with --key FILE"));
    }
    if found.problems.is_empty() {
        return Ok(DONE);
    }
    bail!("verification failed; restore what is named from a backup:\n  {}", found.problems.join("\n  "))
}
