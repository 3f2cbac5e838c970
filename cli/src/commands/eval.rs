//! `clara eval`: scores sample by sample, comparisons, trends, and judges beside people.

mod calibrate;
mod compare;
mod history;
mod label;
mod show;

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use clara_coordinator::evidence::{self, Evidence};
use clara_lifecycle::{
    adapter::AdapterVersion, answers::Answers, gate::GateReport, job::Job, results::StageResult,
    score::Evaluation, stage::Stage,
};
use tonic::Code;

use super::DONE;
use crate::{
    client::{CallError, Client},
    report::{ReportFiles, of_evaluation},
    session::Session,
};

pub(crate) use show::print_summary;

/// What to do with evaluations.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum EvalCommand {
    /// Show an evaluation: summary, criteria, worst samples
    #[command(
        after_help = "Examples:\n  clara eval show verwaltungsrecht-lora-v1.0.0 --failed\n  clara eval show job-0198c1… --sample verwalt-001"
    )]
    Show(ShowArgs),
    /// Compare a version with a baseline, sample by sample
    #[command(
        after_help = "Example:\n  clara eval compare verwaltungsrecht-lora-v1.1.0 verwaltungsrecht-lora-v1.0.0 --junit compare.xml\n\nExit codes: 0 better or not worse, 10 worse, 12 inconclusive, 1 error, 2 usage."
    )]
    Compare(compare::CompareArgs),
    /// Show how the versions of a domain or family did over time
    #[command(after_help = "Example:\n  clara eval history verwaltungsrecht")]
    History(history::HistoryArgs),
    /// Say what you think of answers, so that the judge can be calibrated
    #[command(
        after_help = "Examples:\n  clara eval label verwaltungsrecht-lora-v1.0.0\n  clara eval label verwaltungsrecht-lora-v1.0.0 --sample verwalt-001 --score accuracy=8 --score style=6\n  clara eval label verwaltungsrecht-lora-v1.0.0 --import labels.jsonl"
    )]
    Label(label::LabelArgs),
    /// List what people said about answers
    #[command(after_help = "Example:\n  clara eval labels verwaltungsrecht-lora-v1.0.0 -o json")]
    Labels(label::LabelsArgs),
    /// Compare every judge with the labels, and keep the result
    #[command(after_help = "Example:\n  clara eval calibrate")]
    Calibrate(calibrate::CalibrateArgs),
    /// Show how far each judge agrees with people, and whether it may be trusted now
    #[command(after_help = "Example:\n  clara eval calibration")]
    Calibration,
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
    #[command(flatten)]
    report: ReportFiles,
}

/// An evaluation, and the answers it rests on where they can be read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) evaluation: Evaluation,
    pub(crate) answers: Option<Answers>,
    pub(crate) gate: Option<GateReport>,
}

pub(crate) async fn run(session: &Session, command: EvalCommand) -> Result<u8> {
    match command {
        EvalCommand::Show(args) => show(session, &args).await,
        EvalCommand::Compare(args) => compare::run(session, &args).await,
        EvalCommand::History(args) => history::run(session, &args).await,
        EvalCommand::Label(args) => label::run(session, args).await,
        EvalCommand::Labels(args) => label::list(session, args).await,
        EvalCommand::Calibrate(args) => calibrate::run(session, &args).await,
        EvalCommand::Calibration => calibrate::list(session).await,
    }
}

async fn show(session: &Session, args: &ShowArgs) -> Result<u8> {
    args.report.check()?;
    let found = find_or_read(session, &args.what).await?;
    args.report.write(&of_evaluation(&found.evaluation, found.gate.as_ref()))?;
    let output = session.output;
    match (&args.sample, args.failed) {
        (Some(sample), _) => show::print_sample(output, &found, sample)?,
        (None, true) => show::print_failed(output, &found)?,
        (None, false) if output.is_json() => output.json(&found.evaluation)?,
        (None, false) => print_summary(output, &found)?,
    }
    Ok(DONE)
}

/// An evaluation from a file, or that of a job or an adapter version.
async fn find_or_read(session: &Session, what: &str) -> Result<Found> {
    let path = Path::new(what);
    if path.is_file() {
        return read_file(path);
    }
    let connection = session.connect().await?;
    let found = find(session, &connection.client, what).await;
    connection.close().await;
    found
}

fn read_file(path: &Path) -> Result<Found> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let evaluation = serde_json::from_str(&text)
        .with_context(|| format!("{} is not an evaluation; expected an evaluation.json", path.display()))?;
    Ok(Found { evaluation, answers: None, gate: None })
}

/// The evaluation of a job, or of an adapter version.
pub(crate) async fn find(session: &Session, client: &Client, what: &str) -> Result<Found> {
    let judged = if what.starts_with("job-") {
        Judged::of_job(&client.job(what).await?)
    } else {
        Judged::of_version(client, &client.adapter(what).await?.version).await?
    };
    let Some(evaluation) = judged.evaluation(session).await? else {
        bail!("{what} has no evaluation here yet; {}", judged.hint);
    };
    let answers = match &judged.evidence.answers {
        Some(answers) => Some(evidence::answers(&session.artifacts()?, answers).await?),
        None => None,
    };
    Ok(Found { evaluation, answers, gate: judged.gate })
}

/// Where an evaluation lies, and what the gate made of it.
struct Judged {
    evidence: Evidence,
    gate: Option<GateReport>,
    /// What to do when there is no evaluation.
    hint: String,
}

impl Judged {
    fn of_job(job: &Job) -> Self {
        let gate = match job.result(Stage::Gate) {
            Some(StageResult::Gate(report)) => Some(GateReport::clone(report)),
            _ => None,
        };
        let hint = format!("`clara job show {}` tells where its job stands", job.id);
        Self { evidence: Evidence::of_job(job), gate, hint }
    }

    /// As the version's job has it, which may be judging anew, or as the registry recorded it where the job is not here.
    async fn of_version(client: &Client, version: &AdapterVersion) -> Result<Self> {
        if let Some(lineage) = &version.lineage {
            match client.job(lineage.job.as_str()).await {
                Ok(job) => return Ok(Self::of_job(&job)),
                Err(CallError { code: Code::NotFound, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self {
            evidence: Evidence::of_version(version),
            gate: version.evaluation.as_ref().map(|record| record.report.clone()),
            hint: "its job is not here, and no evaluation was recorded with the version".to_owned(),
        })
    }

    async fn evaluation(&self, session: &Session) -> Result<Option<Evaluation>> {
        let Some(evaluation) = &self.evidence.evaluation else { return Ok(None) };
        Ok(Some(evidence::evaluation(&session.artifacts()?, evaluation).await?))
    }
}
