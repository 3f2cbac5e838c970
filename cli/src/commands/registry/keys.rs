//! Keys and signatures: `keygen` and `sign`.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use clara_coordinator::registry::signature::{self, KeyKind, PublicKey, Signer};
use clara_proto::v1;

use super::super::{Actor, DONE, review::AdapterArg};
use crate::session::Session;

/// What kind of key, and where it goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeygenArgs {
    /// Where the private key goes; the public one goes beside it, with `.pub` at its end
    #[arg(long, value_name = "FILE", default_value = "signing-key.pem")]
    out: PathBuf,
    /// p256, which the program `model_signing` verifies, or ed25519, which it does not
    #[arg(long, value_name = "KIND", default_value = "p256")]
    algorithm: KeyKind,
}

/// What is signed, and by whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct SignArgs {
    #[command(flatten)]
    what: AdapterArg,
    /// Private key in PEM [default: the coordinator's, registry.signing_key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    by: Actor,
}

pub(super) fn keygen(session: &Session, args: &KeygenArgs) -> Result<u8> {
    let pem = Signer::generate(args.algorithm)?;
    let public = Signer::from_pem("the new key", &pem)?.public_key().clone();
    let public_file = public_name(&args.out);
    let unwritable = |path: &Path| format!("cannot write {}: keys are never overwritten", path.display());
    let mut private = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .with_context(|| unwritable(&args.out))?;
    private.write_all(pem.as_bytes())?;
    let created = OpenOptions::new().write(true).create_new(true).open(&public_file);
    created
        .and_then(|mut file| file.write_all(public.pem().as_bytes()))
        .with_context(|| unwritable(&public_file))?;
    let (private, id) = (args.out.display().to_string(), public.id().to_string());
    let public = public_file.display().to_string();
    if session.output.is_json() {
        session.output.json(&serde_json::json!({ "private": private, "public": public, "key": id }))?;
    } else {
        session.output.fields(&[("private key", private), ("public key", public), ("key", id)])?;
    }
    Ok(DONE)
}

/// The name of the public key beside a private one.
fn public_name(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// Reads a public key.
pub(super) fn public_key(path: &Path) -> Result<PublicKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(PublicKey::from_pem(&path.display().to_string(), &text)?)
}

pub(super) async fn sign(session: &Session, args: SignArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let SignArgs { what, key, by } = args;
    let actor = by.name()?.to_owned();
    let adapter = connection.client.adapter(&what.adapter).await?;
    let adapter_id = adapter.version.adapter_id.clone();
    let bundle_json = match key {
        None => None,
        Some(key) => {
            let signer = Signer::from_file(&key)?;
            let lineage = adapter.version.lineage.as_ref();
            let lineage = lineage.with_context(|| format!("{adapter_id} was imported without its files"))?;
            Some(serde_json::to_string(&signature::sign(&signer, &adapter_id, &lineage.adapter)?)?)
        }
    };
    let request = v1::SignAdapterRequest { adapter_id, actor, bundle_json };
    let signed = connection.client.sign(request).await?;
    if session.output.is_json() {
        session.output.json(&signed)?;
        return Ok(DONE);
    }
    let key = signed.version.signature.as_ref().and_then(signature::key_of).unwrap_or_default();
    session.output.line(format!("{}  signed with key {key}", signed.version.adapter_id))?;
    Ok(DONE)
}
