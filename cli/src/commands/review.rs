//! `clara review`: what waits for a decision, answer by answer, and the decision.

mod next;
mod overruled;
mod screen;
mod terminal;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use clara_lifecycle::{
    adapter::{AdapterStatus, Family},
    review::QueuedReview,
};
use clara_proto::v1;

use super::{Actor, DONE, INTERRUPTED, eval, registry};
use crate::{
    client::{AdapterDocument, CallError, Client, Reviewed},
    embedded::Workers,
    figures,
    follow::follow,
    session::Session,
};

/// What to do with versions that wait for a person.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ReviewCommand {
    /// List the versions that wait for a decision, what deserves a look first
    #[command(after_help = "Example:\n  clara review list")]
    List(Actor),
    /// Review a version answer by answer: expected, champion and candidate beside each other
    #[command(
        after_help = "Keys: j next, k previous, a approve, r reject, c comment, s scores, d marks, b blind, ? help, q quit.\nWithout a terminal the next answer is printed.\n\nExamples:\n  clara review next\n  clara review next verwaltungsrecht-lora-v1.0.0 --blind\n  clara review next -o json"
    )]
    Next(next::NextArgs),
    /// Show a version with the gate's reasons and its worst samples
    #[command(after_help = "Example:\n  clara review show verwaltungsrecht-lora-v1.0.0")]
    Show(AdapterArg),
    /// Approve a version; it becomes the champion
    #[command(
        after_help = "Example:\n  clara review approve verwaltungsrecht-lora-v1.0.0 --reason \"checked ten answers\""
    )]
    Approve(ApproveArgs),
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

/// An approval.
#[derive(Debug, Clone, Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    decision: DecisionArgs,
    /// Approve although the gate said reject or error
    #[arg(long)]
    despite_gate: bool,
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
        ReviewCommand::List(by) => list(session, &by).await,
        ReviewCommand::Next(args) => next::run(session, args).await,
        ReviewCommand::Show(args) => show(session, &args).await,
        ReviewCommand::Approve(args) => approve(session, args).await,
        ReviewCommand::Reject(args) => reject(session, args).await,
    }
}

async fn list(session: &Session, by: &Actor) -> Result<u8> {
    let connection = session.connect().await?;
    let queue = connection.client.reviews(by.or_nobody()).await?;
    if session.output.is_json() {
        session.output.json(&queue)?;
        return Ok(DONE);
    }
    if queue.is_empty() {
        session
            .output
            .note("no version waits for a decision; `clara registry list` shows those that were decided on");
        return Ok(DONE);
    }
    let row = |queued: &QueuedReview| {
        [
            queued.adapter_id.clone(),
            queued.status.to_string(),
            queued.decision.map_or_else(|| figures::NONE.to_owned(), |decision| decision.to_string()),
            figures::number(queued.mean, 1),
            format!("{} of {}", queued.seen, queued.samples),
            queued.hard.to_string(),
            queued.overridden.to_string(),
        ]
    };
    let header = ["adapter", "status", "gate", "score", "seen", "hard failures", "overridden"];
    session.output.table(header, queue.iter().map(row).collect())?;
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

/// What the person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Approve { despite_gate: bool },
    Reject,
}

/// Approves a version, after telling what that overrules.
pub(crate) async fn approve(session: &Session, args: ApproveArgs) -> Result<u8> {
    let ApproveArgs { decision, despite_gate } = args;
    decide(session, decision, Verdict::Approve { despite_gate }).await
}

/// Rejects a version.
pub(crate) async fn reject(session: &Session, args: DecisionArgs) -> Result<u8> {
    decide(session, args, Verdict::Reject).await
}

/// Approves or rejects, and sees the job through to its end.
async fn decide(session: &Session, args: DecisionArgs, verdict: Verdict) -> Result<u8> {
    let DecisionArgs { adapter, reason, by } = args;
    let actor = by.name()?.to_owned();
    let connection = session.connect_with(Workers::Decision).await?;
    let approve = verdict != Verdict::Reject;
    // Without a sheet of answers there is no revision that was seen.
    let request =
        v1::ReviewAdapterRequest { adapter_id: adapter, approve, actor, reason, review_revision: None };
    let decided = tokio::select! {
        decided = carry_through(session, &connection.client, request, verdict) => decided,
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

/// Follows a job that goes on by a decision.
async fn see_through(client: &Client, job_id: &str) -> Result<()> {
    let job = follow(client, job_id, |_| Ok(())).await?;
    if let clara_lifecycle::job::JobState::Stuck { stage } = job.state {
        bail!(
            "the decision is recorded, but job {job_id} is stuck at {stage}; see `clara job show {job_id}`"
        );
    }
    Ok(())
}

async fn carry_through(
    session: &Session,
    client: &Client,
    request: v1::ReviewAdapterRequest,
    verdict: Verdict,
) -> Result<Option<AdapterDocument>> {
    let adapter_id = request.adapter_id.clone();
    if let Verdict::Approve { despite_gate } = verdict {
        overruled::tell(session, client, (&adapter_id, &request.actor), despite_gate).await?;
    }
    let Reviewed { adapter, job_id, waits } = match client.review(request).await {
        Ok(reviewed) => reviewed,
        Err(error) if verdict == Verdict::Reject => {
            return Err(with_way_out(client, &adapter_id, error).await);
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(waits) = waits {
        session.output.note(format!("recorded; {waits}"));
    }
    if let Some(job_id) = job_id {
        see_through(client, &job_id).await?;
    }
    Ok(Some(client.adapter(&adapter.version.adapter_id).await?))
}

/// A version that was approved cannot be rejected; tells what can be done instead.
async fn with_way_out(client: &Client, adapter_id: &str, error: CallError) -> anyhow::Error {
    match client.adapter(adapter_id).await {
        Ok(AdapterDocument { version, .. }) if version.status == AdapterStatus::Approved => {
            let adapter_id = &version.adapter_id;
            let family = Family::id_of(adapter_id).unwrap_or("FAMILY");
            anyhow!(
                "{error}; make an earlier version the champion with `clara registry rollback {family}`, or say that it \
                 should not be used any more with `clara registry deprecate {adapter_id}`"
            )
        }
        // The refusal is what the user must know, whether or not more can be told.
        Ok(_) | Err(_) => error.into(),
    }
}
