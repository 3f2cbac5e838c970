//! `clara registry`: adapter versions, their origin and their files.

mod bundle;
mod diff;
mod keys;
mod records;
mod rollout;
mod transfer;
mod verify;

use anyhow::Result;
use clap::{Args, Subcommand};
use clara_lifecycle::{
    adapter::{AdapterStatus, AdapterVersion, Family},
    counted::counted,
    spec::Method,
};
use clara_proto::v1;

use super::{
    DONE, FAILED,
    review::{self, AdapterArg, ApproveArgs, DecisionArgs},
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
    /// Tell in what two versions differ: configuration, metrics, answers, size of every layer's update, lineage
    #[command(
        after_help = "Example:\n  clara registry diff verwaltungsrecht-lora-v1.0.0 verwaltungsrecht-lora@champion"
    )]
    Diff(diff::DiffArgs),
    /// Move an alias to a version
    #[command(
        after_help = "Examples:\n  clara registry alias verwaltungsrecht-lora challenger 1.2.0 --reason \"next to try\"\n  clara registry alias verwaltungsrecht-lora champion 1.2.0 --expect 1.1.0 --reason \"passed the trial\""
    )]
    Alias(records::AliasArgs),
    /// Show where a version comes from and where it went, as a tree
    #[command(after_help = "Example:\n  clara registry lineage verwaltungsrecht-lora@champion")]
    Lineage(AdapterArg),
    /// Write a version's model card from its record
    #[command(after_help = "Example:\n  clara registry card verwaltungsrecht-lora@champion --file README.md")]
    Card(records::CardArgs),
    /// Say that an approved version should not be used any more
    #[command(
        after_help = "Example:\n  clara registry deprecate verwaltungsrecht-lora-v1.0.0 --reason \"the law changed\" --successor 1.1.0 --force"
    )]
    Deprecate(records::DeprecateArgs),
    /// Remove stored files that nothing refers to any more
    #[command(
        after_help = "Examples:\n  clara registry gc\n  clara registry gc --delete --grace 30d --jobs-older-than 90d"
    )]
    Gc(records::GcArgs),
    /// Make a key that signs versions
    #[command(after_help = "Example:\n  clara registry keygen --out signing-key.pem")]
    Keygen(keys::KeygenArgs),
    /// Sign the files of a version
    #[command(
        after_help = "Example:\n  clara registry sign verwaltungsrecht-lora-v1.0.0 --key signing-key.pem"
    )]
    Sign(keys::SignArgs),
    /// Approve a version; it becomes the champion
    #[command(
        after_help = "Example:\n  clara registry approve verwaltungsrecht-lora-v1.0.0 --reason \"checked ten answers\""
    )]
    Approve(ApproveArgs),
    /// Reject a version
    #[command(
        after_help = "Example:\n  clara registry reject verwaltungsrecht-lora-v1.0.0 --reason \"invents paragraphs\""
    )]
    Reject(DecisionArgs),
    /// Count versions by status
    #[command(after_help = "Example:\n  clara registry stats")]
    Stats,
    /// Write the registry as adapter_registry.json, or with all its files
    #[command(
        after_help = "Examples:\n  clara registry export --file adapter_registry.json\n  clara registry export --with-files registry.tar"
    )]
    Export(transfer::ExportArgs),
    /// Take over the versions of an exported registry that are not here yet
    #[command(
        after_help = "Examples:\n  clara registry import adapter_registry.json\n  clara registry import registry.tar --key signing-key.pem.pub"
    )]
    Import(transfer::ImportArgs),
    /// Compute every file's digest afresh, verify signatures and the audit log
    #[command(
        after_help = "Examples:\n  clara registry verify\n  clara registry verify verwaltungsrecht-lora-v1.0.0 --key signing-key.pem.pub"
    )]
    Verify(verify::VerifyArgs),
    /// Put an approved version on servers, and prove that they serve it
    #[command(
        after_help = "Example:\n  clara registry rollout verwaltungsrecht-lora@champion --target production --reason \"new server\""
    )]
    Rollout(rollout::RolloutArgs),
    /// Make an earlier version the champion again
    #[command(
        after_help = "Examples:\n  clara registry rollback verwaltungsrecht-lora --reason \"answers without citations\"\n  clara registry rollback verwaltungsrecht-lora --to verwaltungsrecht-lora-v1.0.0 --dry-run"
    )]
    Rollback(rollout::RollbackArgs),
    /// Show what the servers serve, beside what they should
    #[command(after_help = "Example:\n  clara registry served --fresh")]
    Served {
        /// Ask the servers now instead of telling what was seen last
        #[arg(long)]
        fresh: bool,
    },
    /// Show who did what, when and why
    #[command(
        after_help = "Examples:\n  clara registry audit verwaltungsrecht-lora-v1.0.0\n  clara registry audit --verify"
    )]
    Audit {
        /// Only this version
        adapter: Option<String>,
        /// Only follow all chains, and name what was tampered with
        #[arg(long, conflicts_with = "adapter")]
        verify: bool,
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
        RegistryCommand::Diff(args) => diff::run(session, &args).await,
        RegistryCommand::Alias(args) => records::alias(session, args).await,
        RegistryCommand::Lineage(args) => records::lineage(session, &args).await,
        RegistryCommand::Card(args) => records::card(session, args).await,
        RegistryCommand::Deprecate(args) => records::deprecate(session, args).await,
        RegistryCommand::Gc(args) => records::gc(session, args).await,
        RegistryCommand::Keygen(args) => keys::keygen(session, &args),
        RegistryCommand::Sign(args) => keys::sign(session, args).await,
        RegistryCommand::Approve(args) => review::approve(session, args).await,
        RegistryCommand::Reject(args) => review::reject(session, args).await,
        RegistryCommand::Stats => stats(session).await,
        RegistryCommand::Export(args) => transfer::export(session, args).await,
        RegistryCommand::Import(args) => transfer::import(session, args).await,
        RegistryCommand::Verify(args) => verify::run(session, args).await,
        RegistryCommand::Rollout(args) => rollout::roll_out(session, args).await,
        RegistryCommand::Rollback(args) => rollout::roll_back(session, args).await,
        RegistryCommand::Served { fresh } => rollout::served(session, fresh).await,
        RegistryCommand::Audit { verify: true, .. } => verify_audit(session).await,
        RegistryCommand::Audit { adapter, verify: false } => audit(session, adapter).await,
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
    } else if adapters.is_empty() {
        session.output.note(
            "no version is here, or none that the flags name; `clara run` trains one, `clara registry import` takes over others",
        );
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
            or_none(adapter.aliases.join(", ")),
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

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// One version for people.
pub(crate) fn described(adapter: &AdapterDocument) -> Vec<(&'static str, String)> {
    let version = &adapter.version;
    let aliases: String =
        adapter.aliases.iter().map(|alias| format!(", {alias}")).collect::<Vec<_>>().concat();
    let metric = |(name, value): (&String, &f64)| {
        let decimals = figures::decimals(name);
        format!("{name} {value:.decimals$}")
    };
    let metrics: Vec<_> = version.metrics.iter().map(metric).collect();
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
            ("dataset", lineage.dataset.digest().to_string()),
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

async fn verify_audit(session: &Session) -> Result<u8> {
    let connection = session.connect().await?;
    let found = connection.client.verify_audit().await?;
    if session.output.is_json() {
        session.output.json(&found)?;
        return Ok(if found.breaks.is_empty() { DONE } else { FAILED });
    }
    session.output.line(format!(
        "{} in {} verified",
        counted(found.entries, "entry"),
        counted(found.chains, "chain")
    ))?;
    if found.breaks.is_empty() {
        return Ok(DONE);
    }
    let broken: Vec<String> = found.breaks.iter().map(clara_lifecycle::audit::ChainBreak::sentence).collect();
    anyhow::bail!("the audit log was tampered with; restore it from a backup:\n  {}", broken.join("\n  "))
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
