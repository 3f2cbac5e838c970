//! `clara data`: the datasets that adapters were or will be trained on.

mod diff;
mod export;
mod lint;
mod opened;
mod preview;
mod show;
mod stats;

use anyhow::Result;
use clap::{Args, Subcommand};
use clara_lifecycle::id::Domain;

pub(crate) use show::{of_manifest, tell_dropped};

use super::DONE;
use crate::{
    client::DatasetDocument,
    figures::{self, NONE},
    session::Session,
};

/// What to do with datasets.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DataCommand {
    /// List datasets, newest first
    #[command(
        after_help = "Examples:\n  clara data list --domain verwaltungsrecht\n  clara data list -o json | jq '.[0].digest'"
    )]
    List(ListArgs),
    /// Show what a dataset holds, where it came from and what was left out
    #[command(
        after_help = "Examples:\n  clara data show job-0198c1…\n  clara data show 4f0c9a2b11de --card > card.md\n  clara data show ./dataset"
    )]
    Show(show::ShowArgs),
    /// Show records of a dataset, or documents that were left out
    #[command(
        after_help = "Examples:\n  clara data preview law-lora-v1.0.0 --random\n  clara data preview ./dataset --dropped near_duplicate --count 20"
    )]
    Preview(preview::PreviewArgs),
    /// Count lengths, tokens, languages and what was left out
    #[command(
        after_help = "Examples:\n  clara data stats job-0198c1…\n  clara data stats ./dataset --svg lengths.svg"
    )]
    Stats(stats::StatsArgs),
    /// Tell what differs between two datasets: documents, sources, options; exit code 0 whether or not they differ
    #[command(after_help = "Example:\n  clara data diff law-lora-v1.0.0 law-lora-v1.1.0 --documents")]
    Diff(diff::DiffArgs),
    /// Copy a dataset into a new folder, whole and verified or not at all
    #[command(after_help = "Example:\n  clara data export law-lora-v1.0.0 --out ./law-data")]
    Export(export::ExportArgs),
    /// Tell what is damaged, wrong or weak in a dataset; exit code 1 when it must not be trained on
    #[command(
        after_help = "Examples:\n  clara data lint job-0198c1…\n  clara data lint ./dataset --golden-dataset law-golden@1.0.0"
    )]
    Lint(lint::LintArgs),
}

/// Which datasets are listed.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    /// Only those of this domain
    #[arg(long)]
    domain: Option<Domain>,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

/// One dataset.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatasetArg {
    /// A job, an adapter, at least 6 characters of a dataset's digest, or a folder that `clara ingest` wrote
    pub(crate) dataset: String,
}

pub(crate) async fn run(session: &Session, command: DataCommand) -> Result<u8> {
    match command {
        DataCommand::List(args) => list(session, &args).await?,
        DataCommand::Show(args) => show::run(session, &args).await?,
        DataCommand::Preview(args) => preview::run(session, &args).await?,
        DataCommand::Stats(args) => stats::run(session, &args).await?,
        DataCommand::Diff(args) => diff::run(session, &args).await?,
        DataCommand::Export(args) => export::run(session, &args).await?,
        DataCommand::Lint(args) => return lint::run(session, &args).await,
    }
    Ok(DONE)
}

async fn list(session: &Session, args: &ListArgs) -> Result<()> {
    let connection = session.connect().await?;
    let datasets = connection.client.datasets(args.domain.clone().map(String::from), args.limit).await?;
    if session.output.is_json() {
        return session.output.json(&datasets);
    }
    if let (Some(domain), true) = (&args.domain, datasets.is_empty()) {
        session
            .output
            .note(format!("there is no dataset of the domain {domain} here; `clara data list` shows all"));
        return Ok(());
    }
    if datasets.is_empty() {
        session.output.note(
            "there is no dataset here: `clara run` and `clara job submit` make one for a job; one without a job is made by \
             `clara ingest` and looked at by its folder, e.g. `clara data show ./dataset`",
        );
        return Ok(());
    }
    let row = |dataset: &DatasetDocument| {
        [
            dataset.digest.short().to_owned(),
            dataset.domain.clone(),
            figures::excerpt(&dataset.sources.join(", "), 40),
            records(dataset),
            dataset.made_at.map_or_else(|| NONE.to_owned(), figures::time),
            several(&dataset.jobs),
            several(&dataset.adapters),
        ]
    };
    let header = ["dataset", "domain", "sources", "records", "made (UTC)", "job", "adapter"];
    Ok(session.output.table(header, datasets.iter().map(row).collect())?)
}

/// Records to train on and held out.
fn records(dataset: &DatasetDocument) -> String {
    let count = |count: Option<u64>| count.map_or_else(|| NONE.to_owned(), |count| count.to_string());
    format!("{} + {}", count(dataset.train_records), count(dataset.validation_records))
}

/// The first, and how many more there are.
fn several(names: &[String]) -> String {
    match names {
        [] => NONE.to_owned(),
        [only] => only.clone(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    }
}
