//! `clara golden`: the datasets that adapters are judged with.

mod add;
mod diff;
mod export;
mod lint;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use clara_lifecycle::{
    counted::counted,
    golden::GoldenDataset,
    id::{Domain, GoldenDatasetId},
};
use clara_runtime::clock::{Clock, SystemClock};

use super::{Actor, DONE};
use crate::{
    client::{Client, GoldenDocument},
    figures::{self, NONE},
    golden_file,
    session::Session,
    usage::usage,
};

/// What to do with golden datasets.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum GoldenCommand {
    /// Begin a draft
    #[command(
        after_help = "Examples:\n  clara golden create law-golden --domain law\n  clara golden create law-golden --from law-golden@1.0.0 --set-version 1.1.0"
    )]
    Create(CreateArgs),
    /// Add a sample to a draft, or the samples of a JSONL file
    #[command(
        after_help = "Example:\n  clara golden add law-golden --prompt \"Wer ist zuständig?\" --expected \"Die Gemeinde.\" \\\n                   --difficulty easy --criterion accuracy=\"Muss § 36 BauGB nennen\""
    )]
    Add(Box<add::AddArgs>),
    /// List versions and drafts
    #[command(after_help = "Example:\n  clara golden list")]
    List,
    /// Show a version or a draft
    #[command(after_help = "Example:\n  clara golden show law-golden@1.0.0")]
    Show(ReferenceArg),
    /// Tell what is wrong or weak; exit code 1 when it cannot be frozen
    #[command(
        after_help = "Examples:\n  clara golden lint golden.json\n  clara golden lint law-golden --training-data law.jsonl --training-data law-lora-v1.0.0"
    )]
    Lint(lint::LintArgs),
    /// Show what differs between two versions, drafts or files; exit code 0 whether or not they differ
    #[command(
        after_help = "Examples:\n  clara golden diff law-golden@1.0.0 law-golden@1.1.0\n  clara golden diff law-golden@1.1.0 golden.json -o json"
    )]
    Diff {
        /// ID, ID@VERSION or a .json file: the one before
        from: String,
        /// ID, ID@VERSION or a .json file: the one after
        to: String,
    },
    /// Begin the next version with other samples held out
    #[command(after_help = "Example:\n  clara golden rotate law-golden --share 0.3 --seed 7")]
    Rotate(RotateArgs),
    /// Make a draft an immutable version
    #[command(after_help = "Example:\n  clara golden freeze law-golden")]
    Freeze {
        /// The dataset's id
        id: GoldenDatasetId,
        #[command(flatten)]
        by: Actor,
    },
    /// Write a version or a draft as json, jsonl or csv
    #[command(
        after_help = "Example:\n  clara golden export law-golden@1.0.0 --format csv --file law-golden.csv"
    )]
    Export(export::ExportArgs),
    /// Read a golden dataset from a .json file as a draft
    #[command(after_help = "Example:\n  clara golden import golden.json --freeze")]
    Import(ImportArgs),
}

/// A new draft.
#[derive(Debug, Clone, Args)]
pub(crate) struct CreateArgs {
    /// Its id, e.g. verwaltungsrecht-golden
    id: GoldenDatasetId,
    /// Field of knowledge [default: that of --from]
    #[arg(long, required_unless_present = "from")]
    domain: Option<Domain>,
    /// Begin with the samples of this version
    #[arg(long, value_name = "ID[@VERSION]")]
    from: Option<String>,
    /// What it is, for people
    #[arg(long)]
    description: Option<String>,
    /// Its version [default: 1.0.0, or the next minor version of --from]
    #[arg(long, value_name = "SEMVER")]
    set_version: Option<semver::Version>,
    #[command(flatten)]
    by: Actor,
}

/// A rotation.
#[derive(Debug, Clone, Args)]
pub(crate) struct RotateArgs {
    /// ID (its newest version) or ID@VERSION
    reference: String,
    /// Share (0–1) of the samples that the next version holds back
    #[arg(long, default_value_t = 0.3, allow_negative_numbers = true)]
    share: f64,
    /// Seed of the draw; the same seed holds the same samples back
    #[arg(long, default_value_t = 42, allow_negative_numbers = true)]
    seed: u64,
    #[command(flatten)]
    by: Actor,
}

/// A version or a draft.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReferenceArg {
    /// ID (the draft, or else the newest version) or ID@VERSION
    reference: String,
}

/// A file to read.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    /// The file
    file: PathBuf,
    /// Replace a draft that is there
    #[arg(long)]
    replace: bool,
    /// Freeze it at once
    #[arg(long)]
    freeze: bool,
    #[command(flatten)]
    by: Actor,
}

pub(crate) async fn run(session: &Session, command: GoldenCommand) -> Result<u8> {
    match command {
        GoldenCommand::Lint(args) => return lint::run(session, &args).await,
        GoldenCommand::Diff { from, to } => return diff::run(session, &from, &to).await,
        other => change(session, other).await?,
    }
    Ok(DONE)
}

async fn change(session: &Session, command: GoldenCommand) -> Result<()> {
    let connection = session.connect().await?;
    let client = &connection.client;
    match command {
        GoldenCommand::Create(args) => create(session, client, args).await?,
        GoldenCommand::Add(args) => add::run(session, client, *args).await?,
        GoldenCommand::List => list(session, client).await?,
        GoldenCommand::Show(args) => show(session, client, &args.reference).await?,
        GoldenCommand::Freeze { id, by } => freeze(session, client, id.as_str(), by.name()?).await?,
        GoldenCommand::Export(args) => export::run(session, client, &args).await?,
        GoldenCommand::Import(args) => import(session, client, &args).await?,
        GoldenCommand::Rotate(args) => rotate(session, client, &args).await?,
        GoldenCommand::Lint(_) | GoldenCommand::Diff { .. } => {}
    }
    Ok(())
}

async fn create(session: &Session, client: &Client, args: CreateArgs) -> Result<()> {
    let actor = args.by.name()?.to_owned();
    refuse_draft(client, &args.id).await?;
    let now = now()?;
    let mut dataset = if let Some(from) = &args.from {
        let mut copy = client.golden(from).await?.dataset;
        copy.version = semver::Version::new(copy.version.major, copy.version.minor + 1, 0);
        (copy.created_by, copy.created_at) = (actor, now);
        copy.dataset_id = args.id;
        copy
    } else {
        let domain = args.domain.clone().context("--domain is missing")?;
        GoldenDataset::new(args.id, domain, actor, now)
    };
    if let Some(domain) = args.domain {
        dataset.domain = domain;
    }
    if let Some(version) = args.set_version {
        dataset.version = version;
    }
    if let Some(description) = args.description {
        dataset.description = description;
    }
    let stored = client.put_golden(&dataset, false).await?;
    tell(session, &GoldenDocument::draft(stored))
}

async fn rotate(session: &Session, client: &Client, args: &RotateArgs) -> Result<()> {
    if !(0.0..1.0).contains(&args.share) {
        return Err(usage(format!("--share is {}; expected 0 to below 1", args.share)));
    }
    let document = client.golden(&args.reference).await?;
    ensure!(
        document.frozen,
        "{0} is a draft; freeze it with `clara golden freeze {0}` before its samples are rotated",
        document.dataset.dataset_id
    );
    refuse_draft(client, &document.dataset.dataset_id).await?;
    let mut next = document.dataset.rotated(args.share, args.seed);
    (next.created_by, next.created_at) = (args.by.name()?.to_owned(), now()?);
    let stored = client.put_golden(&next, false).await?;
    let (all, asked) = (stored.samples.len(), stored.asked().count());
    session.output.note(format!("{asked} of {} asked, {} held out", counted(all, "sample"), all - asked));
    tell(session, &GoldenDocument::draft(stored))
}

async fn refuse_draft(client: &Client, id: &GoldenDatasetId) -> Result<()> {
    let known = client.golden_list().await?;
    if known.iter().any(|document| !document.frozen && document.dataset.dataset_id == *id) {
        bail!("there is a draft of {id} already; freeze it with `clara golden freeze {id}`, or add to it");
    }
    Ok(())
}

fn now() -> Result<String> {
    Ok(jiff::Timestamp::from_millisecond(SystemClock.now().0)?.to_string())
}

async fn list(session: &Session, client: &Client) -> Result<()> {
    let documents = client.golden_list().await?;
    if session.output.is_json() {
        return session.output.json(&documents);
    }
    if documents.is_empty() {
        session.output.note(
            "there is no golden dataset here; `clara golden create law-golden --domain law` begins one, `clara golden import` reads one",
        );
        return Ok(());
    }
    let rows = documents.iter().map(|document| {
        let dataset = &document.dataset;
        let counts: Vec<_> =
            dataset.difficulty_distribution().iter().map(|(name, count)| format!("{name} {count}")).collect();
        [
            dataset.reference().to_string(),
            state(document).to_owned(),
            dataset.domain.to_string(),
            dataset.samples.len().to_string(),
            counts.join(", "),
            document.digest.as_deref().and_then(|digest| digest.get(..12)).unwrap_or(NONE).to_owned(),
        ]
    });
    let header = ["golden dataset", "state", "domain", "samples", "difficulty", "digest"];
    Ok(session.output.table(header, rows.collect())?)
}

async fn show(session: &Session, client: &Client, reference: &str) -> Result<()> {
    let document = client.golden(reference).await?;
    if session.output.is_json() {
        return session.output.json(&document);
    }
    let dataset = &document.dataset;
    session.output.fields(&[
        ("golden dataset", dataset.reference().to_string()),
        ("state", state(&document).to_owned()),
        ("digest", document.digest.clone().unwrap_or_else(|| NONE.to_owned())),
        ("domain", dataset.domain.to_string()),
        ("description", dataset.description.clone()),
        ("created", format!("{} by {}", dataset.created_at, dataset.created_by)),
        ("samples", format!("{}, {} of them asked", dataset.samples.len(), dataset.asked().count())),
        ("evaluations", evaluations(&document)),
        ("", String::new()),
    ])?;
    let rows = dataset.samples.iter().map(|sample| {
        [
            sample.sample_id.clone(),
            sample.difficulty.to_string(),
            sample.cluster.clone().unwrap_or_else(|| NONE.to_owned()),
            if sample.held_out { "held out" } else { "yes" }.to_owned(),
            figures::excerpt(&sample.prompt, 80),
        ]
    });
    Ok(session.output.table(["sample", "difficulty", "cluster", "asked", "prompt"], rows.collect())?)
}

/// Trying until it passes shows here.
fn evaluations(document: &GoldenDocument) -> String {
    match document.evaluations {
        None => NONE.to_owned(),
        Some(1) => "1 adapter version was evaluated with it".to_owned(),
        Some(count) => format!("{count} adapter versions were evaluated with it"),
    }
}

async fn freeze(session: &Session, client: &Client, id: &str, actor: &str) -> Result<()> {
    let (reference, digest) = client.freeze_golden(id, actor).await?;
    if session.output.is_json() {
        return session.output.json(&serde_json::json!({ "reference": reference, "digest": digest }));
    }
    Ok(session.output.line(format!("{reference}  {digest}"))?)
}

async fn import(session: &Session, client: &Client, args: &ImportArgs) -> Result<()> {
    let dataset = golden_file::read(&args.file)?;
    let freezes_as = args.freeze.then(|| args.by.name()).transpose()?;
    if golden_file::is_frozen(client, &dataset).await? {
        session.output.note(format!("{} is frozen here with the same content already", dataset.reference()));
        return tell(session, &client.golden(&dataset.reference().to_string()).await?);
    }
    if !args.replace {
        golden_file::refuse_other_draft(client, &dataset).await?;
    }
    let stored = client.put_golden(&dataset, false).await?;
    if let Some(actor) = freezes_as {
        return freeze(session, client, stored.dataset_id.as_str(), actor).await;
    }
    tell(session, &GoldenDocument::draft(stored))
}

fn tell(session: &Session, document: &GoldenDocument) -> Result<()> {
    if session.output.is_json() {
        return session.output.json(document);
    }
    let dataset = &document.dataset;
    let count = counted(dataset.samples.len(), "sample");
    Ok(session.output.line(format!("{}  {}  {count}", dataset.reference(), state(document)))?)
}

fn state(document: &GoldenDocument) -> &'static str {
    if document.frozen { "frozen" } else { "draft" }
}
