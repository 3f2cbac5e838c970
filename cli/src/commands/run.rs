//! `clara run`: one job from documents to decision, followed to its end.

mod judge;
mod rehearsal;
mod summary;

use anyhow::{Context, Result};
use clap::Args;
use clara_lifecycle::{
    job::{Job, JobState, Outcome},
    spec::JobSpec,
    stage::Stage,
};

use super::{DONE, FAILED, IN_REVIEW, INCONCLUSIVE, INTERRUPTED, JUDGE_ERROR, REJECTED, eval};
use crate::{
    client::{Client, Submit},
    embedded::Workers,
    follow::follow,
    golden_file::GoldenChoice,
    output::{Output, complain},
    progress::ProgressView,
    report::{ReportFiles, of_evaluation},
    session::{Connection, Session},
    spec::SpecArgs,
};

use rehearsal::rehearse;
pub(crate) use rehearsal::{check, freeze};

/// Trains, registers, evaluates and decides on one adapter.
///
/// Begun again after an interrupt or a crash with the same flags, it continues where it was.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  clara run --domain verwaltungsrecht --query \"Photovoltaik Baurecht\" --source law.jsonl \\\n            --golden-dataset golden.json --base-model model.gguf\n\nExit codes: 0 approved, 10 rejected, 11 waits for review, 12 inconclusive, 13 judge error,\n1 error or stuck, 2 usage, 130 interrupted (the same command continues)."
)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Check everything and print the specification; nothing is queued
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Begin a new job even when the same one is unfinished
    #[arg(long)]
    pub(crate) no_resume: bool,
    #[command(flatten)]
    pub(crate) report: ReportFiles,
}

/// How following a job ended.
enum Followed {
    AtRest(Box<Job>),
    Interrupted(String),
}

pub(crate) async fn run(session: &Session, args: &RunArgs) -> Result<u8> {
    args.report.check()?;
    let named = args.spec.golden_named()?;
    let golden = named.as_deref().map(GoldenChoice::of).transpose()?;
    let spec = args.spec.resolve(golden.as_ref().map(GoldenChoice::reference))?;
    if args.dry_run {
        Box::pin(rehearse(session, spec, named.as_deref(), golden.as_ref())).await?;
        return Ok(DONE);
    }
    let connection = session.connect_with(Workers::All).await?;
    if connection.is_embedded() {
        Box::pin(judge::warn_of_silent(&spec.judge, session.settings.judge.url.as_deref())).await;
    }
    let carried_out = Box::pin(carry_out(session, &connection, spec, golden.as_ref(), args.no_resume)).await;
    let code = match carried_out {
        Ok(Followed::AtRest(job)) => tell_end(session, &connection, &job, &args.report).await,
        Ok(Followed::Interrupted(job_id)) => {
            tell_interrupt(session.output, &connection, &job_id);
            Ok(INTERRUPTED)
        }
        Err(error) => Err(error),
    };
    let interrupted = matches!(code, Ok(INTERRUPTED));
    let embedded = connection.is_embedded();
    connection.close().await;
    if interrupted && embedded {
        session.output.note("saved; the same command continues the job");
    }
    code
}

async fn carry_out(
    session: &Session,
    connection: &Connection,
    spec: JobSpec,
    golden: Option<&GoldenChoice>,
    no_resume: bool,
) -> Result<Followed> {
    if let Some(golden) = golden {
        Box::pin(freeze(session, connection, &spec, golden, &user())).await?;
    }
    let client = &connection.client;
    let job = submit(client, spec, no_resume, session.output).await?;
    let mut view = ProgressView::new(session.output, job.changed_at);
    let job_id = job.id.to_string();
    let followed = tokio::select! {
        at_rest = follow(client, &job_id, |event| { view.see(event); Ok(()) }) => {
            at_rest.map(|job| Followed::AtRest(Box::new(job)))
        }
        () = session.interrupt.cancelled() => Ok(Followed::Interrupted(job_id.clone())),
    };
    view.finish();
    followed
}

/// Submits the job, or takes up the unfinished one with the same specification.
async fn submit(client: &Client, spec: JobSpec, no_resume: bool, output: Output) -> Result<Job> {
    let how = if no_resume { Submit::New } else { Submit::Resume };
    let (job, created) = client.submit(spec, how).await?;
    let job = job
        .context("the coordinator accepted the job and named none; check that both have the same version")?;
    match (created, &job.state) {
        (true, _) => {
            output.note(format!("job {}", job.id));
            Ok(job)
        }
        (false, JobState::Stuck { stage }) => {
            output.note(format!("job {} was stuck at {stage}; it is tried again", job.id));
            Ok(client.retry(job.id.as_str(), None, None).await?)
        }
        (false, _) => {
            output.note(format!(
                "job {} with the same specification is there already; going on with it",
                job.id
            ));
            Ok(job)
        }
    }
}

/// Prints the summary, writes the reports that were asked for, and answers the exit code.
async fn tell_end(session: &Session, connection: &Connection, job: &Job, report: &ReportFiles) -> Result<u8> {
    let summary = summary::Summary::of(session, &connection.client, job).await?;
    if session.output.is_json() {
        session.output.json(&summary)?;
    } else {
        session.output.fields(&summary.lines())?;
    }
    if !report.is_empty() {
        Box::pin(tell_reported(session, &connection.client, job, report)).await;
    }
    Ok(exit_code(job))
}

/// Writes the reports; whether that works changes nothing about how the job ended, and so not its exit code.
async fn tell_reported(session: &Session, client: &Client, job: &Job, report: &ReportFiles) {
    if job.result(Stage::Judge).is_none() {
        session.output.note("no report was written, for the job has no evaluation");
        return;
    }
    let found = eval::find(session, client, job.id.as_str()).await;
    let written =
        found.and_then(|found| report.write(&of_evaluation(&found.evaluation, found.gate.as_ref())));
    if let Err(error) = written {
        complain(&format!("clara: no report was written: {error:#}"));
    }
}

fn tell_interrupt(output: Output, connection: &Connection, job_id: &str) {
    if connection.is_embedded() {
        output.note("saving the work; a second Ctrl-C ends at once");
    } else {
        output.note(format!("the job goes on without this command: clara job watch {job_id}"));
    }
}

/// The exit code that tells how a job at rest ended.
pub(crate) fn exit_code(job: &Job) -> u8 {
    match &job.state {
        JobState::Finished { outcome: Outcome::Approved } => DONE,
        JobState::Finished { outcome: Outcome::Rejected } => REJECTED,
        JobState::InReview => IN_REVIEW,
        JobState::Finished { outcome: Outcome::Inconclusive } => INCONCLUSIVE,
        JobState::Finished { outcome: Outcome::Error } => JUDGE_ERROR,
        JobState::Stuck { .. } | JobState::Cancelled | JobState::Waiting { .. } | JobState::Active { .. } => {
            FAILED
        }
    }
}

/// Where the job stands, in words.
pub(crate) fn state_text(job: &Job) -> String {
    let stage_text = |what: &str, stage: Stage| format!("{what} at {stage}");
    match &job.state {
        JobState::Waiting { stage } => stage_text("waiting", *stage),
        JobState::Active { stage } => stage_text("active", *stage),
        JobState::Stuck { stage } => stage_text("stuck", *stage),
        JobState::InReview => "in review".to_owned(),
        JobState::Finished { outcome: Outcome::Error } => "judge error".to_owned(),
        JobState::Finished { outcome } => outcome.to_string(),
        JobState::Cancelled => "cancelled".to_owned(),
    }
}

/// Who runs the command, where nobody is named.
fn user() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "clara run".to_owned())
}
