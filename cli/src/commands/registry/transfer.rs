//! Export and import of the registry, with or without the files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use clara_lifecycle::{adapter::RegistryFile, counted::counted};
use clara_proto::v1;

use super::{
    super::{Actor, DONE},
    bundle, keys,
};
use crate::{client::Client, session::Session};

/// What is written, and where to.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    /// The file for the records alone [default: standard output]
    #[arg(long, value_name = "FILE", conflicts_with = "with_files")]
    file: Option<PathBuf>,
    /// Write records, adapters, data, evaluations, cards and signatures into a new folder, or into a file that ends in .tar
    #[arg(long, value_name = "PATH")]
    with_files: Option<PathBuf>,
}

/// What is taken over.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    /// An adapter_registry.json, or what `export --with-files` wrote
    path: PathBuf,
    /// Public key in PEM that every version must be signed with
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    by: Actor,
}

pub(super) async fn export(session: &Session, args: ExportArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let registry = connection.client.export_registry().await?;
    if let Some(target) = args.with_files {
        let registry: RegistryFile = serde_json::from_value(registry)?;
        return export_files(session, &connection.client, &registry, &target).await;
    }
    let Some(file) = args.file else {
        session.output.json(&registry)?;
        return Ok(DONE);
    };
    let text = format!("{}\n", serde_json::to_string_pretty(&registry)?);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    session.output.note(format!("wrote {}", file.display()));
    Ok(DONE)
}

async fn export_files(
    session: &Session,
    client: &Client,
    registry: &RegistryFile,
    target: &Path,
) -> Result<u8> {
    let store = session.artifacts()?;
    let mut cards = Vec::new();
    for version in registry.families.iter().flat_map(|family| &family.versions) {
        cards.push((version.adapter_id.clone(), client.card(&version.adapter_id, None).await?));
    }
    let versions = if is_tar(target) {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let versions = bundle::write(registry, &cards, &store, folder.path()).await?;
        bundle::pack(folder.path(), target)?;
        versions
    } else {
        bundle::write(registry, &cards, &store, target).await?
    };
    if session.output.is_json() {
        let path = target.display().to_string();
        session.output.json(&serde_json::json!({ "path": path, "versions_with_files": versions }))?;
    } else {
        session.output.line(format!(
            "wrote {} with the files of {}",
            target.display(),
            counted(versions, "version")
        ))?;
    }
    Ok(DONE)
}

pub(super) async fn import(session: &Session, args: ImportArgs) -> Result<u8> {
    let ImportArgs { path, key, by } = args;
    let actor = by.name()?.to_owned();
    let connection = session.connect().await?;
    let with_files = path.is_dir() || is_tar(&path);
    let (json, verified) = if with_files {
        import_files(session, &connection.client, &path, key.as_deref()).await?
    } else if key.is_some() {
        bail!("{} holds no files whose signatures could be verified; leave out --key", path.display());
    } else {
        (std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?, 0)
    };
    let (imported, unchanged) = connection.client.import_registry(json, actor).await?;
    if session.output.is_json() {
        let document =
            serde_json::json!({ "imported": imported, "unchanged": unchanged, "signatures": verified });
        session.output.json(&document)?;
    } else {
        let signatures =
            if with_files { format!(", {} verified", counted(verified, "signature")) } else { String::new() };
        session.output.line(format!("{imported} imported, {unchanged} were here before{signatures}"))?;
    }
    Ok(DONE)
}

/// Verifies a bundle and stores its files; answers the registry file and how many signatures were verified.
async fn import_files(
    session: &Session,
    client: &Client,
    path: &Path,
    key: Option<&Path>,
) -> Result<(String, usize)> {
    let key = key.map(keys::public_key).transpose()?;
    let unpacked = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = if is_tar(path) {
        bundle::unpack(path, unpacked.path())?;
        unpacked.path()
    } else {
        path
    };
    let checked = bundle::check(folder, key.as_ref())?;
    let here = client.adapters(v1::ListAdaptersRequest::default()).await?;
    for (adapter_id, checksum) in checked.checksums() {
        let other = here.iter().find(|adapter| adapter.version.adapter_id == adapter_id);
        if other.is_some_and(|adapter| adapter.version.adapter_checksum != checksum) {
            bail!(
                "nothing was imported: {adapter_id} is registered with another checksum; versions are immutable"
            );
        }
    }
    checked.store(&session.artifacts()?).await?;
    Ok((checked.json, checked.verified))
}

fn is_tar(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar")
}
