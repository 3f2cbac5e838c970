//! Commands that change or tell what is recorded about versions: aliases, deprecation, lineage, cards, garbage.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use clara_lifecycle::counted::counted;
use clara_proto::v1;
use clara_runtime::config::HumanDuration;
use serde_json::Value;

use super::super::{Actor, DONE, review::AdapterArg};
use crate::{client::LineageDocument, figures, output::Output, session::Session};

/// Where an alias goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct AliasArgs {
    /// The family, e.g. verwaltungsrecht-lora
    family: String,
    /// The alias: champion, challenger or a name of yours
    alias: String,
    /// The version it shall point at: 1.2.0, an id, or FAMILY@RANGE
    #[arg(required_unless_present = "remove")]
    version: Option<String>,
    /// Take the alias away
    #[arg(long, conflicts_with = "version")]
    remove: bool,
    /// Move it only if it points at this version now; `none` for no version
    #[arg(long, value_name = "OLD")]
    expect: Option<String>,
    /// Why; kept in the audit log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    by: Actor,
}

/// What is deprecated, and what takes its place.
#[derive(Debug, Clone, Args)]
pub(crate) struct DeprecateArgs {
    #[command(flatten)]
    what: AdapterArg,
    /// Why; kept in the audit log
    #[arg(long)]
    reason: String,
    /// The version to use instead; it takes over the aliases
    #[arg(long, value_name = "VERSION")]
    successor: Option<String>,
    /// Deprecate the champion too, whose place the successor takes
    #[arg(long, requires = "successor")]
    force: bool,
    #[command(flatten)]
    by: Actor,
}

/// Whose card, and where it goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct CardArgs {
    #[command(flatten)]
    what: AdapterArg,
    /// Licence of the adapter as Hugging Face names it, e.g. apache-2.0 [default: unknown]
    #[arg(long)]
    licence: Option<String>,
    /// The file [default: standard output]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What may be removed.
#[derive(Debug, Clone, Args)]
pub(crate) struct GcArgs {
    /// Only tell what would be removed; the default
    #[arg(long, conflicts_with = "delete")]
    dry_run: bool,
    /// Remove it
    #[arg(long)]
    delete: bool,
    /// What is younger stays
    #[arg(long, value_name = "TIME", default_value = "7d")]
    grace: HumanDuration,
    /// Also remove the records of jobs that were over for so long, e.g. 90d
    #[arg(long, value_name = "TIME")]
    jobs_older_than: Option<HumanDuration>,
}

pub(super) async fn alias(session: &Session, args: AliasArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let expected = args.expect.map(|old| if old == "none" { String::new() } else { old });
    let request = v1::MoveAliasRequest {
        family_id: args.family,
        alias: args.alias.clone(),
        adapter_id: args.version,
        expected,
        actor: args.by.name()?.to_owned(),
        reason: args.reason,
    };
    let (adapter, before) = connection.client.move_alias(request).await?;
    if session.output.is_json() {
        session
            .output
            .json(&serde_json::json!({ "alias": args.alias, "before": before, "adapter": adapter }))?;
        return Ok(DONE);
    }
    let now = adapter.as_ref().map_or(figures::NONE, |adapter| adapter.version.adapter_id.as_str());
    let before = before.as_deref().unwrap_or(figures::NONE);
    session.output.line(format!("{}: {before} → {now}", args.alias))?;
    Ok(DONE)
}

pub(super) async fn deprecate(session: &Session, args: DeprecateArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let request = v1::DeprecateAdapterRequest {
        adapter_id: args.what.adapter,
        actor: args.by.name()?.to_owned(),
        reason: args.reason,
        successor: args.successor,
        force: args.force,
    };
    let adapter = connection.client.deprecate(request).await?;
    if session.output.is_json() {
        session.output.json(&adapter)?;
    } else {
        session.output.line(format!("{}  {}", adapter.version.adapter_id, adapter.version.status))?;
    }
    Ok(DONE)
}

pub(super) async fn lineage(session: &Session, args: &AdapterArg) -> Result<u8> {
    let connection = session.connect().await?;
    let lineage = connection.client.lineage(&args.adapter).await?;
    if session.output.is_json() {
        session.output.json(&lineage)?;
    } else {
        session.output.line(tree(&lineage))?;
    }
    Ok(DONE)
}

/// The steps as a tree.
fn tree(lineage: &LineageDocument) -> String {
    let mut lines = vec![lineage.adapter_id.clone()];
    let last = lineage.steps.len().saturating_sub(1);
    for (number, step) in lineage.steps.iter().enumerate() {
        let (branch, stem) = if number == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(format!("{branch}{}", step.step));
        let end = step.facts.len().saturating_sub(1);
        for (number, fact) in step.facts.iter().enumerate() {
            let branch = if number == end { "└─ " } else { "├─ " };
            lines.push(format!("{stem}{branch}{}: {}", fact.name, figures::plain(&fact.value)));
        }
        if step.facts.is_empty() {
            lines.push(format!("{stem}└─ nothing recorded"));
        }
    }
    lines.join("\n")
}

pub(super) async fn card(session: &Session, args: CardArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let card = connection.client.card(&args.what.adapter, args.licence).await?;
    match (args.file, session.output.is_json()) {
        (Some(file), _) => {
            std::fs::write(&file, card).with_context(|| format!("cannot write {}", file.display()))?;
            session.output.note(format!("wrote {}", file.display()));
        }
        (None, true) => session.output.json(&serde_json::json!({ "markdown": card }))?,
        (None, false) => session.output.line(card.trim_end())?,
    }
    Ok(DONE)
}

pub(super) async fn gc(session: &Session, args: GcArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let duration = |time: HumanDuration| {
        v1_duration(time).with_context(|| format!("{} is too long", figures::span(time.0)))
    };
    let request = v1::CollectGarbageRequest {
        remove: args.delete,
        grace: Some(duration(args.grace)?),
        jobs_older_than: args.jobs_older_than.map(duration).transpose()?,
    };
    let report = connection.client.collect_garbage(request).await?;
    if session.output.is_json() {
        session.output.json(&report)?;
    } else {
        print_report(session.output, &report, args.delete)?;
    }
    Ok(DONE)
}

fn v1_duration(HumanDuration(time): HumanDuration) -> Option<prost_types::Duration> {
    let seconds = i64::try_from(time.as_secs()).ok()?;
    Some(prost_types::Duration { seconds, nanos: i32::try_from(time.subsec_nanos()).ok()? })
}

fn print_report(output: Output, report: &Value, removed: bool) -> Result<()> {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
    let rows = |part: &str, what: &str| -> Vec<[String; 4]> {
        let amounts = report.get(part).and_then(Value::as_object).into_iter().flatten();
        let row = |(name, amount): (&String, &Value)| {
            let (files, size) =
                (number(amount, "files").to_string(), figures::bytes(number(amount, "bytes")));
            [what.to_owned(), files, size, name.clone()]
        };
        amounts.map(row).collect()
    };
    let verb = if removed { "removed" } else { "would go" };
    let mut table = rows("removed", verb);
    table.extend(rows("kept", "kept by"));
    output.table(["", "files", "size", "what"], table)?;
    output.line("")?;
    let list = |name: &str| report.get(name).and_then(Value::as_array).map_or(0, Vec::len);
    output.line(format!(
        "{verb}: {} of {}, {}; files of {}; records of {}",
        number(report, "removed_files"),
        counted(number(report, "files"), "file"),
        figures::bytes(number(report, "removed_bytes")),
        counted(list("versions"), "version"),
        counted(list("jobs"), "job"),
    ))?;
    if !removed {
        output.note("nothing was removed; repeat with --delete to do it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clara_lifecycle::adapter::{LineageFact, LineageStep};

    use super::*;

    #[test]
    fn a_lineage_is_a_tree_that_says_what_is_not_recorded() {
        let facts = vec![LineageFact { name: "job".into(), value: "job-1".into() }];
        let steps = vec![
            LineageStep { step: "training".into(), facts },
            LineageStep { step: "rollout".into(), facts: Vec::new() },
        ];
        let lineage = LineageDocument { adapter_id: "law-lora-v1.0.0".into(), steps };
        let expected = "law-lora-v1.0.0\n├─ training\n│  └─ job: job-1\n└─ rollout\n   └─ nothing recorded";
        assert_eq!(tree(&lineage), expected);
    }
}
