//! `clara job`: submit, list, show, watch, plot, read logs, cancel and retry.

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use clara_lifecycle::{
    job::{Job, JobState, StageState},
    results::StageResult,
    stage::Stage,
    time::Timestamp,
};
use clara_proto::v1;

use super::{
    DONE,
    run::{check, exit_code, freeze, state_text},
};
use crate::{
    client::Submit,
    figures::{self, NONE},
    follow::follow,
    golden_file::GoldenChoice,
    progress::ProgressView,
    session::Session,
    spec::{SpecArgs, pair},
};

use logs::LogsArgs;
use plot::PlotArgs;

mod logs;
mod plot;

/// What to do with jobs.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum JobCommand {
    /// Queue a job and return; workers of `clara up` carry it out
    #[command(after_help = "Example:\n  clara job submit --spec job.toml --priority 8")]
    Submit(Box<SubmitArgs>),
    /// List jobs, newest first
    #[command(after_help = "Example:\n  clara job list --state stuck")]
    List(ListArgs),
    /// Show one job
    #[command(
        after_help = "Example:\n  clara job show job-0198c1…\n  clara job show job-0198c1… -o json | jq .spec"
    )]
    Show(JobArgs),
    /// Follow a job until it is at rest; on a terminal, with its loss curve. Exit codes as of `clara run`
    #[command(
        after_help = "Example:\n  clara job watch job-0198c1…\n  clara job watch job-0198c1… -o json   # one event per line"
    )]
    Watch(JobArgs),
    /// Draw loss and learning rate of a job's training as SVG, while it goes on or afterwards
    #[command(
        after_help = "Example:\n  clara job plot job-0198c1… --out loss.svg\n  clara job plot job-0198c1… -o json   # the points; no file"
    )]
    Plot(PlotArgs),
    /// Show what the attempts of a job logged
    #[command(
        after_help = "Example:\n  clara job logs job-0198c1… --follow\n  clara job logs job-0198c1… --stage train --attempt 2"
    )]
    Logs(LogsArgs),
    /// End a job; its attempt is stopped, results are kept
    #[command(after_help = "Example:\n  clara job cancel job-0198c1…")]
    Cancel(JobArgs),
    /// Resume a job that is stuck, cancelled or over
    #[command(after_help = "Example:\n  clara job retry job-0198c1… --from judge")]
    Retry(RetryArgs),
}

/// A job to queue.
#[derive(Debug, Clone, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// Check everything; nothing is queued
    #[arg(long)]
    dry_run: bool,
}

/// Which jobs are listed.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    /// Only jobs in this state
    #[arg(long, value_enum)]
    state: Option<StateArg>,
    /// Only jobs of this domain
    #[arg(long)]
    domain: Option<String>,
    /// Only jobs with this label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 100, allow_negative_numbers = true)]
    limit: u32,
    /// Goes on after this job, the last one of the page before
    #[arg(long, value_name = "JOB")]
    after: Option<String>,
}

/// One job.
#[derive(Debug, Clone, Args)]
pub(crate) struct JobArgs {
    /// The job's id
    job: String,
}

/// A job to resume.
#[derive(Debug, Clone, Args)]
pub(crate) struct RetryArgs {
    /// The job's id
    job: String,
    /// From this stage on: ingest, train, generate, judge, gate or rollout [default: the one that stopped the job]
    #[arg(long, value_name = "STAGE")]
    from: Option<Stage>,
    /// Most that the job may spend on its judge from now on, in its budget's currency
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    judge_budget: Option<f64>,
}

/// Where a job stands, as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    /// The scheduler has not admitted it yet
    Waiting,
    /// A stage is queued or worked on
    Active,
    /// A stage failed for good
    Stuck,
    /// A person must decide
    InReview,
    /// Approved
    Approved,
    /// Rejected
    Rejected,
    /// Too little evidence
    Inconclusive,
    /// The judge failed
    JudgeError,
    /// Ended by a user
    Cancelled,
}

pub(crate) async fn run(session: &Session, command: JobCommand) -> Result<u8> {
    match command {
        JobCommand::Submit(args) => submit(session, &args).await,
        JobCommand::List(args) => list(session, args).await,
        JobCommand::Show(args) => show(session, &args).await,
        JobCommand::Watch(args) => watch(session, &args).await,
        JobCommand::Plot(args) => plot::plot(session, &args).await,
        JobCommand::Logs(args) => logs::logs(session, args).await,
        JobCommand::Cancel(args) => cancel(session, &args).await,
        JobCommand::Retry(args) => {
            let connection = session.connect().await?;
            let job = connection.client.retry(&args.job, args.from, args.judge_budget).await?;
            hint_at_workers(session);
            tell(session, &job)
        }
    }
}

async fn cancel(session: &Session, args: &JobArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let client = &connection.client;
    match client.cancel(&args.job).await {
        Ok(job) => tell(session, &job),
        Err(error) => match client.job(&args.job).await {
            // The coordinator's words for it, that the job was cancelled, read as if it had been done just now.
            Ok(job) if matches!(job.state, JobState::Cancelled) => {
                Err(anyhow!("job {0} was cancelled before; `clara job retry {0}` resumes it", job.id))
            }
            Ok(_) | Err(_) => Err(error.into()),
        },
    }
}

async fn submit(session: &Session, args: &SubmitArgs) -> Result<u8> {
    let named = args.spec.golden_named()?;
    let golden = named.as_deref().map(GoldenChoice::of).transpose()?;
    let spec = args.spec.resolve(golden.as_ref().map(GoldenChoice::reference))?;
    let connection = session.connect().await?;
    if args.dry_run {
        Box::pin(check(session, &connection, spec, golden.as_ref())).await?;
        session.output.note("the job would be accepted; nothing was queued");
        return Ok(DONE);
    }
    if let Some(golden) = golden {
        let user = std::env::var("USER").unwrap_or_else(|_| "clara job submit".to_owned());
        Box::pin(freeze(session, &connection, &spec, &golden, &user)).await?;
    }
    let (job, created) = connection.client.submit(spec, Submit::New).await?;
    let job = job
        .context("the coordinator accepted the job and named none; check that both have the same version")?;
    if !created {
        session.output.note(format!("job {} was submitted before with the same key", job.id));
    }
    hint_at_workers(session);
    tell(session, &job)
}

async fn list(session: &Session, args: ListArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let request = v1::ListJobsRequest {
        state: args.state.map(|state| wire_state(state).into()),
        domain: args.domain,
        limit: args.limit,
        after_job_id: args.after,
        labels: args.labels.into_iter().collect(),
    };
    let jobs = connection.client.jobs(request).await?;
    if session.output.is_json() {
        session.output.json(&jobs)?;
        return Ok(DONE);
    }
    if jobs.is_empty() {
        session
            .output
            .note("no job is here, or none that the flags name; `clara run` and `clara job submit` make one");
        return Ok(DONE);
    }
    let row = |job: &Job| {
        [
            job.id.to_string(),
            state_text(job),
            job.spec.domain.to_string(),
            job.adapter_id.clone().unwrap_or_else(|| NONE.to_owned()),
            score(job),
            figures::time(job.submitted_at),
        ]
    };
    let header = ["job", "state", "domain", "adapter", "score", "submitted (UTC)"];
    session.output.table(header, jobs.iter().map(row).collect())?;
    Ok(DONE)
}

async fn show(session: &Session, args: &JobArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let job = connection.client.job(&args.job).await?;
    if session.output.is_json() {
        session.output.json(&job)?;
        return Ok(DONE);
    }
    let spec = &job.spec;
    session.output.fields(&[
        ("job", job.id.to_string()),
        ("state", state_text(&job)),
        ("domain", spec.domain.to_string()),
        ("query", spec.ingest.query.clone().unwrap_or_else(|| NONE.to_owned())),
        ("sources", spec.ingest.sources.join("\n")),
        ("golden dataset", format!("{} ({})", job.golden.reference, job.golden.digest.short())),
        ("base model", spec.base_model.clone()),
        ("method", format!("{}, rank {}, alpha {}", spec.method, spec.training.rank, spec.training.alpha)),
        ("adapter", job.adapter_id.clone().unwrap_or_else(|| NONE.to_owned())),
        ("submitted", figures::time(job.submitted_at)),
        ("changed", figures::time(job.changed_at)),
        ("", String::new()),
    ])?;
    let rows = Stage::ALL.into_iter().map(|stage| stage_row(&job, stage)).collect();
    session.output.table(["stage", "state", "attempt", "failures", "last failure"], rows)?;
    Ok(DONE)
}

fn stage_row(job: &Job, stage: Stage) -> [String; 5] {
    let record = job.stages.get(stage);
    let standing = match &record.state {
        StageState::Waiting => "waiting".to_owned(),
        StageState::Queued { .. } => "queued".to_owned(),
        StageState::Leased(lease) => format!("leased by {}", lease.worker),
        StageState::Succeeded { .. } => "succeeded".to_owned(),
        StageState::Failed => "failed".to_owned(),
        StageState::Cancelled => "cancelled".to_owned(),
    };
    let failure = record.last_failure.as_ref().map_or(NONE.to_owned(), |failure| failure.message.clone());
    [stage.to_string(), standing, record.attempt.to_string(), record.failures.to_string(), failure]
}

async fn watch(session: &Session, args: &JobArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let mut view = ProgressView::new(session.output, Timestamp::default()).with_curve();
    let output = session.output;
    let job = follow(&connection.client, &args.job, |event| {
        if output.is_json() {
            let line = serde_json::json!({ "number": event.number, "at": event.at, "event": event.event });
            output.line(line)?;
        } else {
            view.see(event);
        }
        Ok(())
    })
    .await?;
    view.finish();
    if !output.is_json() {
        output.line(state_text(&job))?;
    }
    Ok(exit_code(&job))
}

fn tell(session: &Session, job: &Job) -> Result<u8> {
    if session.output.is_json() {
        session.output.json(job)?;
    } else {
        session.output.line(format!("{}  {}", job.id, state_text(job)))?;
    }
    Ok(DONE)
}

pub(super) fn hint_at_workers(session: &Session) {
    if session.coordinator.is_none() {
        session.output.note("queued; `clara up` with the same --home carries it out");
    }
}

fn score(job: &Job) -> String {
    match job.result(Stage::Judge) {
        Some(StageResult::Judge(judged)) => figures::number(judged.average_score, 1),
        _ => NONE.to_owned(),
    }
}

fn wire_state(state: StateArg) -> v1::JobState {
    match state {
        StateArg::Waiting => v1::JobState::Waiting,
        StateArg::Active => v1::JobState::Active,
        StateArg::Stuck => v1::JobState::Stuck,
        StateArg::InReview => v1::JobState::InReview,
        StateArg::Approved => v1::JobState::Approved,
        StateArg::Rejected => v1::JobState::Rejected,
        StateArg::Inconclusive => v1::JobState::Inconclusive,
        StateArg::JudgeError => v1::JobState::JudgeError,
        StateArg::Cancelled => v1::JobState::Cancelled,
    }
}
