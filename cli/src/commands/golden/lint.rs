//! `clara golden lint`: what is wrong or weak in a golden dataset, leakage into training data included.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use clara_ingest_worker::{GoldenTexts, Leak, LeakReport, find_leaks};
use clara_lifecycle::{
    artifact::ArtifactRef,
    counted::counted,
    golden::{Finding, FindingCode, GoldenDataset},
    results::StageResult,
    spec::IngestOptions,
    stage::Stage,
};

use super::super::{DONE, FAILED};
use crate::{
    client::Client,
    golden_file::{self, tell_findings},
    session::{Connection, Session},
};

/// What to lint, and beside which training data.
#[derive(Debug, Clone, Args)]
pub(crate) struct LintArgs {
    /// ID, ID@VERSION or a .json file
    reference: String,
    /// Training data that must hold no sample: a file or folder, or the dataset of a job or an adapter; may be repeated
    #[arg(long, value_name = "FILE|FOLDER|JOB|ADAPTER")]
    training_data: Vec<String>,
}

pub(super) async fn run(session: &Session, args: &LintArgs) -> Result<u8> {
    let mut reach = Reach { session, connection: None };
    let dataset = reach.dataset(&args.reference).await?;
    let mut findings = dataset.lint();
    for training_data in &args.training_data {
        findings.extend(leaks(&mut reach, &dataset, training_data).await?);
    }
    if session.output.is_json() {
        session.output.json(&findings)?;
    }
    let mut lines = Vec::new();
    let broken = tell_findings(&findings, |line| lines.push(line));
    if !session.output.is_json() {
        let verdict = match (broken, args.training_data.is_empty()) {
            (true, _) => "must be mended",
            (false, true) => "can be frozen",
            (false, false) => "can be frozen, the training data holds none of it",
        };
        lines.push(format!("{} {verdict}", dataset.reference()));
        session.output.line(lines.join("\n"))?;
    }
    Ok(if broken { FAILED } else { DONE })
}

/// A way to golden datasets and training data; a coordinator is asked only when one is needed.
pub(super) struct Reach<'a> {
    pub(super) session: &'a Session,
    pub(super) connection: Option<Connection>,
}

impl Reach<'_> {
    /// A dataset by its file, or by its reference at the coordinator.
    pub(super) async fn dataset(&mut self, reference: &str) -> Result<GoldenDataset> {
        let path = Path::new(reference);
        if path.is_file() {
            return golden_file::read(path);
        }
        Ok(self.client().await?.golden(reference).await?.dataset)
    }

    async fn client(&mut self) -> Result<&Client> {
        if self.connection.is_none() {
            self.connection = Some(self.session.connect().await?);
        }
        Ok(&self.connection.as_ref().context("there is no connection to a coordinator")?.client)
    }

    /// The dataset that a job made, or that an adapter version was trained on.
    async fn training_data(&mut self, what: &str) -> Result<ArtifactRef> {
        let client = self.client().await?;
        if what.starts_with("job-") {
            return match client.job(what).await?.result(Stage::Ingest) {
                Some(StageResult::Ingest(result)) => Ok(result.dataset.clone()),
                _ => bail!("job {what} has no dataset yet; `clara job show {what}` tells where it stands"),
            };
        }
        let lineage = client.adapter(what).await?.version.lineage;
        let lineage = lineage.with_context(|| {
            format!("{what} was imported from another registry; its training data is not here")
        })?;
        Ok(lineage.dataset)
    }
}

async fn leaks(reach: &mut Reach<'_>, dataset: &GoldenDataset, training_data: &str) -> Result<Vec<Finding>> {
    let samples = GoldenTexts::new(dataset.reference().to_string(), dataset.digest(), dataset).samples;
    let copy;
    let sources = if Path::new(training_data).exists() {
        vec![training_data.to_owned()]
    } else {
        let artifact = reach.training_data(training_data).await.with_context(|| {
            format!("--training-data {training_data} is no file or folder, and no job or adapter either")
        })?;
        copy = tempfile::tempdir().context("cannot make a folder for the training data")?;
        reach.session.artifacts()?.fetch(&artifact, copy.path()).await?;
        records(copy.path())
    };
    let options = IngestOptions::default();
    let report = tokio::task::spawn_blocking(move || find_leaks(&sources, &samples, &options)).await??;
    let LeakReport { documents, broken, leaks } = report;
    reach.session.output.note(format!(
        "compared {} of {training_data} with {}{}",
        counted(documents, "document"),
        counted(dataset.samples.len(), "sample"),
        if broken == 0 { String::new() } else { format!("; {broken} more could not be read") }
    ));
    Ok(leaks.iter().map(|leak| finding(leak, training_data)).collect())
}

/// The files of a dataset that are trained on or validated with.
fn records(folder: &Path) -> Vec<String> {
    let paths = ["train.jsonl", "validation.jsonl"].map(|name| folder.join(name));
    let there = paths.into_iter().filter(|path: &PathBuf| path.is_file());
    there.map(|path| path.to_string_lossy().into_owned()).collect()
}

fn finding(leak: &Leak, training_data: &str) -> Finding {
    let place = Path::new(&leak.origin).file_name().map(|name| name.to_string_lossy().into_owned());
    let others = match leak.documents {
        0 | 1 => String::new(),
        2 => ", and 1 more document holds some".to_owned(),
        count => format!(", and {} more documents hold some", count - 1),
    };
    let message = format!(
        "{training_data} holds {:.0} % of its word sequences ({}){others}; take the document out or hold another sample \
         back, since an adapter may know it by heart",
        leak.share * 100.0,
        place.unwrap_or_else(|| leak.origin.clone())
    );
    Finding::about(&leak.sample_id, FindingCode::LeakedIntoTraining, message)
}
