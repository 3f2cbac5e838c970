//! `clara gaps`: what versions answered badly, and the way to better answers.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use clara_lifecycle::{
    counted::counted,
    score::{GapSeverity, GapStatus, KnowledgeGap},
};
use clara_proto::v1;

use super::{Actor, DONE, job::hint_at_workers};
use crate::{
    client::GapTraining,
    figures::{self, NONE},
    output::Output,
    session::Session,
};

/// Longest prompt in a table, in characters.
const PROMPT_CHARS: usize = 60;

/// What to do with knowledge gaps.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum GapsCommand {
    /// List the samples that did not pass, the worst first
    #[command(
        after_help = "Examples:\n  clara gaps list --domain verwaltungsrecht --severity high\n  clara gaps list --all-versions --status resolved -o json"
    )]
    List(ListArgs),
    /// Show a gap whole: question, expected output, answer
    #[command(after_help = "Example:\n  clara gaps show 5f0c…")]
    Show {
        /// The gap's id, or as many of its first characters as name one
        gap: String,
    },
    /// Close gaps by hand
    #[command(after_help = "Example:\n  clara gaps resolve 5f0c… --notes \"the question was ambiguous\"")]
    Resolve(ResolveArgs),
    /// Submit a job like the one of the newest version, with a query for the data of open gaps
    #[command(
        after_help = "Examples:\n  clara gaps train --domain verwaltungsrecht --severity high --dry-run\n  clara gaps train 5f0c… --keep-query"
    )]
    Train(TrainArgs),
}

/// Which gaps.
#[derive(Debug, Clone, Args)]
pub(crate) struct FilterArgs {
    /// Only gaps of this domain
    #[arg(long)]
    domain: Option<String>,
    /// Only gaps of this version
    #[arg(long, value_name = "ID")]
    adapter: Option<String>,
    /// Only gaps at least as bad: critical, high, medium or low
    #[arg(long)]
    severity: Option<GapSeverity>,
}

/// Which gaps are listed.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only open, in_progress or resolved ones
    #[arg(long)]
    status: Option<GapStatus>,
    /// Those of every evaluated version instead of each family's newest
    #[arg(long)]
    all_versions: bool,
}

/// Gaps to close.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResolveArgs {
    /// Ids, or as many of their first characters as name one each
    #[arg(required = true)]
    gaps: Vec<String>,
    /// How they were closed; kept in the audit log
    #[arg(long)]
    notes: String,
    #[command(flatten)]
    by: Actor,
}

/// Gaps to train on.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrainArgs {
    /// Ids, or as many of their first characters as name one each [default: all open gaps that match]
    gaps: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most so many, the worst
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    limit: u32,
    /// Ask for the data of the job before as well, so that less is forgotten
    #[arg(long)]
    keep_query: bool,
    /// Show the gaps and the query; nothing is queued
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    by: Actor,
}

pub(crate) async fn run(session: &Session, command: GapsCommand) -> Result<u8> {
    match command {
        GapsCommand::List(args) => list(session, args).await,
        GapsCommand::Show { gap } => show(session, &gap).await,
        GapsCommand::Resolve(args) => resolve(session, args).await,
        GapsCommand::Train(args) => train(session, args).await,
    }
}

async fn list(session: &Session, args: ListArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let filter = v1::GapFilter {
        status: args.status.map(|status| status.to_string()),
        all_versions: args.all_versions,
        ..filter(args.filter)
    };
    let gaps = connection.client.gaps(filter).await?;
    if gaps.is_empty() && !session.output.is_json() {
        session.output.note(
            "no gap is here, or none that the flags name; `clara run` notes the samples that its version does not pass",
        );
        return Ok(DONE);
    }
    print(session.output, &gaps)
}

async fn show(session: &Session, gap: &str) -> Result<u8> {
    let connection = session.connect().await?;
    let gap = named(&everything(&connection.client).await?, gap)?;
    if session.output.is_json() {
        session.output.json(&gap)?;
        return Ok(DONE);
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    session.output.fields(&[
        ("gap", gap.gap_id),
        ("domain", gap.domain),
        ("adapter", or_none(gap.adapter_id)),
        ("topic", gap.topic),
        ("severity", gap.severity.to_string()),
        ("status", gap.status.to_string()),
        ("score", figures::number(gap.evaluation_score, 1)),
        ("detected", format!("{} by {}", gap.detected_at, gap.detected_by)),
        ("resolution", or_none(gap.resolution_notes)),
        ("records found", gap.training_samples_collected.to_string()),
        ("query", or_none(gap.suggested_data_query)),
        ("question", gap.prompt),
        ("expected", gap.expected_output),
        ("answered", gap.actual_output),
    ])?;
    Ok(DONE)
}

async fn resolve(session: &Session, args: ResolveArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let gap_ids = ids(&connection.client, &args.gaps).await?;
    let request = v1::ResolveGapsRequest { gap_ids, actor: args.by.name()?.to_owned(), notes: args.notes };
    print(session.output, &connection.client.resolve_gaps(request).await?)
}

async fn train(session: &Session, args: TrainArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let gap_ids = ids(&connection.client, &args.gaps).await?;
    let request = v1::TrainGapsRequest {
        filter: Some(v1::GapFilter { gap_ids, ..filter(args.filter) }),
        limit: args.limit,
        keep_query: args.keep_query,
        dry_run: args.dry_run,
        actor: if args.dry_run { args.by.or_nobody() } else { args.by.name()? }.to_owned(),
    };
    let GapTraining { job, spec, gaps } = connection.client.train_gaps(request).await?;
    if session.output.is_json() {
        session.output.json(&serde_json::json!({ "job": job, "spec": spec, "gaps": gaps }))?;
        return Ok(DONE);
    }
    let query = spec.ingest.query.unwrap_or_default();
    session.output.note(format!("{}; query: {query}", counted(gaps.len(), "gap")));
    let Some(job) = job else {
        session.output.note("the job would be accepted; nothing was queued");
        return print(session.output, &gaps);
    };
    hint_at_workers(session);
    session.output.line(job.id)?;
    Ok(DONE)
}

fn filter(args: FilterArgs) -> v1::GapFilter {
    v1::GapFilter {
        domain: args.domain,
        adapter_id: args.adapter,
        severity: args.severity.map(|severity| severity.to_string()),
        ..v1::GapFilter::default()
    }
}

async fn everything(client: &crate::client::Client) -> Result<Vec<KnowledgeGap>> {
    Ok(client.gaps(v1::GapFilter { all_versions: true, ..v1::GapFilter::default() }).await?)
}

/// The whole ids that the beginnings name.
async fn ids(client: &crate::client::Client, beginnings: &[String]) -> Result<Vec<String>> {
    if beginnings.is_empty() {
        return Ok(Vec::new());
    }
    let gaps = everything(client).await?;
    beginnings.iter().map(|beginning| Ok(named(&gaps, beginning)?.gap_id)).collect()
}

fn named(gaps: &[KnowledgeGap], beginning: &str) -> Result<KnowledgeGap> {
    let mut found = gaps.iter().filter(|gap| gap.gap_id.starts_with(beginning));
    let gap = found.next().with_context(|| {
        format!("there is no gap {beginning}; `clara gaps list --all-versions` shows all")
    })?;
    if let Some(other) = found.next() {
        anyhow::bail!("{beginning} names several gaps, {} and {}; give more of it", gap.gap_id, other.gap_id);
    }
    Ok(gap.clone())
}

fn print(output: Output, gaps: &[KnowledgeGap]) -> Result<u8> {
    if output.is_json() {
        output.json(&gaps)?;
        return Ok(DONE);
    }
    let row = |gap: &KnowledgeGap| {
        [
            gap.gap_id.chars().take(8).collect(),
            gap.severity.to_string(),
            figures::number(gap.evaluation_score, 1),
            gap.status.to_string(),
            gap.adapter_id.clone().unwrap_or_else(|| NONE.to_owned()),
            gap.topic.clone(),
            short(&gap.prompt),
        ]
    };
    let header = ["gap", "severity", "score", "status", "adapter", "topic", "question"];
    output.table(header, gaps.iter().map(row).collect())?;
    Ok(DONE)
}

fn short(prompt: &str) -> String {
    let line = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= PROMPT_CHARS {
        return line;
    }
    let cut: String = line.chars().take(PROMPT_CHARS - 1).collect();
    format!("{}…", cut.trim_end())
}
