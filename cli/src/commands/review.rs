//! `clara review`: what waits for a decision, and the decision.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use clara_lifecycle::adapter::AdapterStatus;
use clara_proto::v1;

use super::{Actor, DONE, INTERRUPTED, eval, registry};
use crate::{client::Reviewed, embedded::Workers, figures, follow::follow, session::Session};

/// What to do with versions that wait for a person.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ReviewCommand {
    /// List the versions that wait for a decision
    #[command(after_help = "Example:\n  clara review list")]
    List,
    /// Show a version with the gate's reasons and its worst samples
    #[command(after_help = "Example:\n  clara review show verwaltungsrecht-lora-v1.0.0")]
    Show(AdapterArg),
    /// Approve a version; it becomes the champion
    #[command(
        after_help = "Example:\n  clara review approve verwaltungsrecht-lora-v1.0.0 --reason \"checked ten answers\""
    )]
    Approve(DecisionArgs),
    /// Reject a version
    #[command(
        after_help = "Example:\n  clara review reject verwaltungsrecht-lora-v1.0.0 --reason \"invents paragraphs\""
    )]
    Reject(DecisionArgs),
}

/// One version.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdapterArg {
    /// The version's id, FAMILY@ALIAS or FAMILY@RANGE, e.g. law-lora@champion or law-lora@^1.2
    pub(crate) adapter: String,
}

/// A decision.
#[derive(Debug, Clone, Args)]
pub(crate) struct DecisionArgs {
    /// The version's id
    pub(crate) adapter: String,
    /// Why; kept in the audit log
    #[arg(long)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) by: Actor,
}

pub(crate) async fn run(session: &Session, command: ReviewCommand) -> Result<u8> {
    match command {
        ReviewCommand::List => list(session).await,
        ReviewCommand::Show(args) => show(session, &args).await,
        ReviewCommand::Approve(args) => decide(session, args, true).await,
        ReviewCommand::Reject(args) => decide(session, args, false).await,
    }
}

async fn list(session: &Session) -> Result<u8> {
    let connection = session.connect().await?;
    let all = connection.client.adapters(v1::ListAdaptersRequest::default()).await?;
    let waits = |status| matches!(status, AdapterStatus::InReview | AdapterStatus::PendingReview);
    let waiting: Vec<_> = all.into_iter().filter(|adapter| waits(adapter.version.status)).collect();
    if session.output.is_json() {
        session.output.json(&waiting)?;
        return Ok(DONE);
    }
    registry::print_list(session.output, &waiting)?;
    Ok(DONE)
}

async fn show(session: &Session, args: &AdapterArg) -> Result<u8> {
    let connection = session.connect().await?;
    let adapter = connection.client.adapter(&args.adapter).await?;
    let found = eval::find(session, &connection.client, &adapter.version.adapter_id).await?;
    if session.output.is_json() {
        let evaluation = &found.evaluation;
        session.output.json(&serde_json::json!({ "adapter": adapter, "evaluation": evaluation }))?;
        return Ok(DONE);
    }
    session.output.fields(&registry::described(&adapter))?;
    session.output.line("")?;
    eval::print_summary(session.output, &found)?;
    Ok(DONE)
}

/// Approves or rejects, and sees the job through to its end.
pub(crate) async fn decide(session: &Session, args: DecisionArgs, approve: bool) -> Result<u8> {
    let connection = session.connect_with(Workers::Decision).await?;
    let DecisionArgs { adapter, reason, by: Actor { actor } } = args;
    let request = v1::ReviewAdapterRequest { adapter_id: adapter, approve, actor, reason };
    let decided = tokio::select! {
        decided = carry_through(session, &connection.client, request) => decided,
        () = session.interrupt.cancelled() => Ok(None),
    };
    connection.close().await;
    let Some(adapter) = decided? else { return Ok(INTERRUPTED) };
    if session.output.is_json() {
        session.output.json(&adapter)?;
        return Ok(DONE);
    }
    let champion = if adapter.champion { ", champion of its family" } else { "" };
    let score = adapter.version.metrics.get("llm_judge_score").copied();
    session.output.line(format!(
        "{}  {}{champion}  score {}",
        adapter.version.adapter_id,
        adapter.version.status,
        figures::number(score, 1)
    ))?;
    Ok(DONE)
}

async fn carry_through(
    session: &Session,
    client: &crate::client::Client,
    request: v1::ReviewAdapterRequest,
) -> Result<Option<crate::client::AdapterDocument>> {
    let Reviewed { adapter, job_id, waits } = client.review(request).await?;
    if let Some(waits) = waits {
        session.output.note(format!("recorded; {waits}"));
    }
    if let Some(job_id) = job_id {
        let job = follow(client, &job_id, |_| Ok(())).await?;
        if let clara_lifecycle::job::JobState::Stuck { stage } = job.state {
            bail!(
                "the decision is recorded, but job {job_id} is stuck at {stage}; see `clara job show {job_id}`"
            );
        }
    }
    Ok(Some(client.adapter(&adapter.version.adapter_id).await?))
}
