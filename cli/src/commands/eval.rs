//! `clara eval`: scores, sample by sample.

mod show;

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use clara_lifecycle::{answers::Answers, job::Job, results::StageResult, score::Evaluation, stage::Stage};

use crate::{client::Client, session::Session};

pub(crate) use show::print_summary;

/// What to do with evaluations.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum EvalCommand {
    /// Show an evaluation: summary, criteria, worst samples
    #[command(
        after_help = "Examples:\n  clara eval show verwaltungsrecht-lora-v1.0.0 --failed\n  clara eval show job-0198c1… --sample verwalt-001"
    )]
    Show(ShowArgs),
}

/// Which evaluation, and what of it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ShowArgs {
    /// A job, an adapter version or an evaluation file
    what: String,
    /// Show this sample whole
    #[arg(long, value_name = "ID")]
    sample: Option<String>,
    /// Show every sample that does not pass or has no score
    #[arg(long, conflicts_with = "sample")]
    failed: bool,
}

/// An evaluation, and the answers it rests on where they can be read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) evaluation: Evaluation,
    pub(crate) answers: Option<Answers>,
}

pub(crate) async fn run(session: &Session, command: EvalCommand) -> Result<()> {
    let EvalCommand::Show(args) = command;
    let path = Path::new(&args.what);
    let found = if path.is_file() {
        read_file(path)?
    } else {
        let connection = session.connect().await?;
        find(session, &connection.client, &args.what).await?
    };
    let output = session.output;
    match (&args.sample, args.failed) {
        (Some(sample), _) => show::print_sample(output, &found, sample),
        (None, true) => show::print_failed(output, &found),
        (None, false) if output.is_json() => output.json(&found.evaluation),
        (None, false) => print_summary(output, &found),
    }
}

fn read_file(path: &Path) -> Result<Found> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let evaluation = serde_json::from_str(&text)
        .with_context(|| format!("{} is not an evaluation; expected an evaluation.json", path.display()))?;
    Ok(Found { evaluation, answers: None })
}

/// The evaluation of a job, or of the job that made an adapter version.
pub(crate) async fn find(session: &Session, client: &Client, what: &str) -> Result<Found> {
    let job = job_of(client, what).await?;
    let Some(StageResult::Judge(judged)) = job.result(Stage::Judge) else {
        bail!("job {} has no evaluation yet; `clara job show {}` tells where it stands", job.id, job.id);
    };
    let store = session.artifacts()?;
    let bytes = store.read(&judged.evaluation, "evaluation.json").await?;
    let evaluation = serde_json::from_slice(&bytes).context("evaluation.json cannot be read")?;
    let answers = match job.result(Stage::Generate) {
        Some(StageResult::Generate(result)) => {
            let bytes = store.read(&result.answers, "answers.json").await?;
            Some(serde_json::from_slice(&bytes).context("answers.json cannot be read")?)
        }
        _ => None,
    };
    Ok(Found { evaluation, answers })
}

async fn job_of(client: &Client, what: &str) -> Result<Job> {
    if what.starts_with("job-") {
        return Ok(client.job(what).await?);
    }
    let adapter = client.adapter(what).await?;
    let lineage = adapter.version.lineage.with_context(|| {
        format!(
            "{} was imported from another registry; its evaluation is not here",
            adapter.version.adapter_id
        )
    })?;
    Ok(client.job(lineage.job.as_str()).await?)
}
