//! `clara registry`: adapter versions, their origin and their files.

mod diff;
mod verify;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use clara_lifecycle::{
    adapter::{AdapterStatus, AdapterVersion, Family},
    spec::Method,
};
use clara_proto::v1;

use super::{
    Actor, DONE,
    review::{self, AdapterArg, DecisionArgs},
};
use crate::{
    client::AdapterDocument,
    figures::{self, NONE},
    output::Output,
    session::Session,
};

/// What to do with the registry.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RegistryCommand {
    /// List versions
    #[command(after_help = "Example:\n  clara registry list --status approved")]
    List(FilterArgs),
    /// Show one version with its origin
    #[command(after_help = "Example:\n  clara registry show verwaltungsrecht-lora@champion")]
    Show(AdapterArg),
    /// Tell in what two versions differ
    #[command(
        after_help = "Example:\n  clara registry diff verwaltungsrecht-lora-v1.0.0 verwaltungsrecht-lora-v1.0.1"
    )]
    Diff {
        /// The older version
        from: String,
        /// The newer version
        to: String,
    },
    /// Approve a version; it becomes the champion
    #[command(
        after_help = "Example:\n  clara registry approve verwaltungsrecht-lora-v1.0.0 --reason \"checked ten answers\""
    )]
    Approve(DecisionArgs),
    /// Reject a version
    #[command(
        after_help = "Example:\n  clara registry reject verwaltungsrecht-lora-v1.0.0 --reason \"invents paragraphs\""
    )]
    Reject(DecisionArgs),
    /// Count versions by status
    #[command(after_help = "Example:\n  clara registry stats")]
    Stats,
    /// Write the registry as adapter_registry.json
    #[command(after_help = "Example:\n  clara registry export --file adapter_registry.json")]
    Export {
        /// The file [default: standard output]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Take over the versions of an adapter_registry.json that are not here yet
    #[command(after_help = "Example:\n  clara registry import adapter_registry.json")]
    Import {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        by: Actor,
    },
    /// Compute every file's digest afresh and check the audit log
    #[command(
        after_help = "Example:\n  clara registry verify\n  clara registry verify verwaltungsrecht-lora-v1.0.0"
    )]
    Verify {
        /// Only this version
        adapter: Option<String>,
    },
    /// Show who did what, when and why
    #[command(after_help = "Example:\n  clara registry audit verwaltungsrecht-lora-v1.0.0")]
    Audit {
        /// Only this version
        adapter: Option<String>,
    },
}

/// Which versions are listed.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FilterArgs {
    /// Only versions of this domain
    #[arg(long)]
    domain: Option<String>,
    /// Only versions trained so: lora, qlora or dora
    #[arg(long)]
    method: Option<Method>,
    /// Only versions in this status: `pending_review`, `in_review`, approved, rejected or deprecated
    #[arg(long)]
    status: Option<AdapterStatus>,
    /// Only versions in this range, e.g. '^1.2' or '>=1, <3'
    #[arg(long, value_name = "RANGE")]
    version: Option<semver::VersionReq>,
}

pub(crate) async fn run(session: &Session, command: RegistryCommand) -> Result<u8> {
    match command {
        RegistryCommand::List(filter) => list(session, filter).await,
        RegistryCommand::Show(args) => show(session, &args.adapter).await,
        RegistryCommand::Diff { from, to } => diff::run(session, &from, &to).await,
        RegistryCommand::Approve(args) => review::decide(session, args, true).await,
        RegistryCommand::Reject(args) => review::decide(session, args, false).await,
        RegistryCommand::Stats => stats(session).await,
        RegistryCommand::Export { file } => export(session, file).await,
        RegistryCommand::Import { file, by } => import(session, file, by).await,
        RegistryCommand::Verify { adapter } => verify::run(session, adapter.as_deref()).await,
        RegistryCommand::Audit { adapter } => audit(session, adapter).await,
    }
}

async fn list(session: &Session, filter: FilterArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let request = v1::ListAdaptersRequest {
        domain: filter.domain,
        method: filter.method.map(|method| v1::Method::from(method).into()),
        status: filter.status.map(|status| status.as_str().to_owned()),
        version_range: filter.version.map(|range| range.to_string()),
    };
    let adapters = connection.client.adapters(request).await?;
    if session.output.is_json() {
        session.output.json(&adapters)?;
    } else {
        print_list(session.output, &adapters)?;
    }
    Ok(DONE)
}

/// Prints versions as a table.
pub(crate) fn print_list(output: Output, adapters: &[AdapterDocument]) -> Result<()> {
    let row = |adapter: &AdapterDocument| {
        let version = &adapter.version;
        [
            version.adapter_id.clone(),
            version.status.to_string(),
            adapter.aliases.join(", "),
            figures::number(version.metrics.get("llm_judge_score").copied(), 1),
            version.rank.to_string(),
            version.base_model.clone(),
            version.created_at.clone(),
        ]
    };
    let header = ["adapter", "status", "alias", "score", "rank", "base model", "created"];
    Ok(output.table(header, adapters.iter().map(row).collect())?)
}

async fn show(session: &Session, adapter: &str) -> Result<u8> {
    let connection = session.connect().await?;
    let adapter = connection.client.adapter(adapter).await?;
    if session.output.is_json() {
        session.output.json(&adapter)?;
    } else {
        session.output.fields(&described(&adapter))?;
    }
    Ok(DONE)
}

/// How a version was trained.
fn method_of(version: &AdapterVersion) -> String {
    let mut words = vec![version.method.to_string(), format!("rank {}", version.rank)];
    if let Some(lineage) = &version.lineage {
        let training = &lineage.training;
        words.push(format!("alpha {}", training.alpha));
        words.extend(training.use_rslora.then(|| "rsLoRA".to_owned()));
        let ratio = training.loraplus_lr_ratio;
        words.extend((ratio > 1.0).then(|| format!("LoRA+ {ratio}")));
    }
    words.join(", ")
}

/// One version for people.
pub(crate) fn described(adapter: &AdapterDocument) -> Vec<(&'static str, String)> {
    let version = &adapter.version;
    let aliases: String =
        adapter.aliases.iter().map(|alias| format!(", {alias}")).collect::<Vec<_>>().concat();
    let metrics: Vec<_> = version.metrics.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
    let or_none = |text: String| if text.is_empty() { NONE.to_owned() } else { text };
    let mut fields = vec![
        ("adapter", version.adapter_id.clone()),
        ("status", format!("{}{aliases}", version.status)),
        ("metrics", or_none(metrics.join("\n"))),
        ("notes", or_none(version.review_notes.join("\n"))),
        ("approved by", version.approved_by.clone().unwrap_or_else(|| NONE.to_owned())),
        ("created", format!("{} by {}", version.created_at, version.created_by)),
        ("method", method_of(version)),
        ("base model", format!("{} ({})", version.base_model, version.base_model_hash)),
        ("checksum", version.adapter_checksum.clone()),
    ];
    if let Some(lineage) = &version.lineage {
        let files: Vec<_> = lineage
            .adapter
            .files
            .iter()
            .map(|file| {
                format!("{}  {}  {}", file.digest.short(), figures::bytes(file.size_bytes), file.path)
            })
            .collect();
        fields.extend([
            ("files", or_none(files.join("\n"))),
            ("job", lineage.job.to_string()),
            ("source digest", lineage.source_digest.to_string()),
            ("golden dataset", format!("{} ({})", lineage.golden_dataset, lineage.golden_digest)),
            ("made with", format!("clara {}", lineage.code_version)),
        ]);
    }
    fields
}

async fn stats(session: &Session) -> Result<u8> {
    let connection = session.connect().await?;
    let adapters = connection.client.adapters(v1::ListAdaptersRequest::default()).await?;
    let of = |status| adapters.iter().filter(|adapter| adapter.version.status == status).count();
    let distinct = |name: fn(&AdapterDocument) -> String| {
        adapters.iter().map(name).collect::<std::collections::BTreeSet<_>>()
    };
    let families =
        distinct(|adapter| Family::id_of(&adapter.version.adapter_id).unwrap_or_default().to_owned());
    let domains = distinct(|adapter| adapter.version.domain.to_string());
    let methods = distinct(|adapter| adapter.version.method.to_string());
    let statuses = [
        AdapterStatus::PendingReview,
        AdapterStatus::InReview,
        AdapterStatus::Approved,
        AdapterStatus::Rejected,
        AdapterStatus::Deprecated,
    ];
    let mut document = serde_json::json!({
        "total_families": families.len(),
        "total_adapters": adapters.len(),
        "domains": domains,
        "methods": methods,
    });
    let mut fields = vec![("families", families.len().to_string()), ("versions", adapters.len().to_string())];
    for status in statuses {
        if let Some(document) = document.as_object_mut() {
            document.insert(status.as_str().to_owned(), of(status).into());
        }
        fields.push((status.as_str(), of(status).to_string()));
    }
    let list = |names: std::collections::BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    fields.push(("domains", list(domains)));
    fields.push(("methods", list(methods)));
    if session.output.is_json() {
        session.output.json(&document)?;
    } else {
        session.output.fields(&fields)?;
    }
    Ok(DONE)
}

async fn export(session: &Session, file: Option<PathBuf>) -> Result<u8> {
    let connection = session.connect().await?;
    let registry = connection.client.export_registry().await?;
    let Some(file) = file else {
        session.output.json(&registry)?;
        return Ok(DONE);
    };
    let text = format!("{}\n", serde_json::to_string_pretty(&registry)?);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    session.output.note(format!("wrote {}", file.display()));
    Ok(DONE)
}

async fn import(session: &Session, file: PathBuf, by: Actor) -> Result<u8> {
    let json = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let connection = session.connect().await?;
    let (imported, unchanged) = connection.client.import_registry(json, by.actor).await?;
    if session.output.is_json() {
        session.output.json(&serde_json::json!({ "imported": imported, "unchanged": unchanged }))?;
    } else {
        session.output.line(format!("{imported} imported, {unchanged} were here before"))?;
    }
    Ok(DONE)
}

async fn audit(session: &Session, adapter: Option<String>) -> Result<u8> {
    let connection = session.connect().await?;
    let (entries, broken) = connection.client.audit(adapter).await?;
    if session.output.is_json() {
        let (broken_chain, broken_at) = broken.clone().unzip();
        session.output.json(
            &serde_json::json!({ "entries": entries, "broken_chain": broken_chain, "broken_at": broken_at }),
        )?;
    } else {
        let rows = entries.iter().map(|entry| {
            [
                entry.at.clone(),
                entry.chain.clone(),
                entry.number.to_string(),
                entry.actor.clone(),
                entry.action.clone(),
                entry.subject.clone(),
                entry.reason.clone(),
            ]
        });
        session
            .output
            .table(["at", "chain", "no", "actor", "action", "subject", "reason"], rows.collect())?;
    }
    match broken {
        None => Ok(DONE),
        Some((chain, number)) => anyhow::bail!(
            "the audit log was changed: entry {number} of chain {chain} does not follow from the one before; \
             restore it from a backup"
        ),
    }
}
