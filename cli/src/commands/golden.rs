//! `clara golden`: the datasets that adapters are judged with.

mod export;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use clara_lifecycle::{
    golden::{Difficulty, GoldenDataset, GoldenSample},
    id::{Domain, GoldenDatasetId},
    score::Criterion,
};
use clara_runtime::clock::{Clock, SystemClock};

use super::{Actor, DONE, FAILED};
use crate::{
    client::{Client, GoldenDocument},
    figures::{self, NONE},
    golden_file::{self, tell_findings},
    session::Session,
    spec::pair,
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
    Add(AddArgs),
    /// List versions and drafts
    #[command(after_help = "Example:\n  clara golden list")]
    List,
    /// Show a version or a draft
    #[command(after_help = "Example:\n  clara golden show law-golden@1.0.0")]
    Show(ReferenceArg),
    /// Tell what is wrong or weak; exit code 1 when it cannot be frozen
    #[command(after_help = "Example:\n  clara golden lint golden.json")]
    Lint {
        /// ID, ID@VERSION or a .json file
        reference: String,
    },
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

/// Samples for a draft.
#[derive(Debug, Clone, Args)]
pub(crate) struct AddArgs {
    /// The draft's id
    id: GoldenDatasetId,
    /// What is asked
    #[arg(long, required_unless_present = "file", requires = "expected")]
    prompt: Option<String>,
    /// The reference that answers are compared with
    #[arg(long)]
    expected: Option<String>,
    /// Text that is given along with the prompt
    #[arg(long)]
    context: Option<String>,
    /// easy, medium or hard
    #[arg(long, default_value = "medium")]
    difficulty: Difficulty,
    /// Free tag; may be repeated
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// Note for the judge, e.g. accuracy="must name § 35 BauGB"; may be repeated
    #[arg(long = "criterion", value_name = "NAME=NOTE", value_parser = pair)]
    criteria: Vec<(String, String)>,
    /// One sample per line, as `clara golden export --format jsonl` writes them
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,
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
    if let GoldenCommand::Lint { reference } = &command {
        return lint(session, reference).await;
    }
    let connection = session.connect().await?;
    let client = &connection.client;
    match command {
        GoldenCommand::Create(args) => create(session, client, args).await?,
        GoldenCommand::Add(args) => add(session, client, args).await?,
        GoldenCommand::List => list(session, client).await?,
        GoldenCommand::Show(args) => show(session, client, &args.reference).await?,
        GoldenCommand::Freeze { id, by } => freeze(session, client, id.as_str(), &by.actor).await?,
        GoldenCommand::Export(args) => export::run(session, client, &args).await?,
        GoldenCommand::Import(args) => import(session, client, &args).await?,
        GoldenCommand::Lint { .. } => {}
    }
    Ok(DONE)
}

async fn create(session: &Session, client: &Client, args: CreateArgs) -> Result<()> {
    let known = client.golden_list().await?;
    if known.iter().any(|document| !document.frozen && document.dataset.dataset_id == args.id) {
        bail!("there is a draft of {0} already; add to it with `clara golden add {0}`", args.id);
    }
    let now = jiff::Timestamp::from_millisecond(SystemClock.now().0)?.to_string();
    let mut dataset = if let Some(from) = &args.from {
        let mut copy = client.golden(from).await?.dataset;
        copy.version = semver::Version::new(copy.version.major, copy.version.minor + 1, 0);
        (copy.created_by, copy.created_at) = (args.by.actor, now);
        copy.dataset_id = args.id;
        copy
    } else {
        let domain = args.domain.clone().context("--domain is missing")?;
        GoldenDataset::new(args.id, domain, args.by.actor, now)
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
    tell(session, &GoldenDocument { dataset: stored, frozen: false, digest: None })
}

async fn add(session: &Session, client: &Client, args: AddArgs) -> Result<()> {
    let draft = client.golden(args.id.as_str()).await?;
    if draft.frozen {
        bail!(
            "{} is frozen and never changes; begin the next version with `clara golden create {} --from {}`",
            draft.dataset.reference(),
            args.id,
            draft.dataset.reference()
        );
    }
    let samples = match &args.file {
        Some(file) => read_samples(file)?,
        None => vec![sample(&args)?],
    };
    let added = GoldenDataset { samples, ..draft.dataset };
    let stored = client.put_golden(&added, true).await?;
    tell(session, &GoldenDocument { dataset: stored, frozen: false, digest: None })
}

fn sample(args: &AddArgs) -> Result<GoldenSample> {
    let prompt = args.prompt.clone().context("--prompt is missing")?;
    let expected = args.expected.clone().context("--expected is missing")?;
    for (criterion, _) in &args.criteria {
        criterion.parse::<Criterion>()?;
    }
    Ok(GoldenSample {
        context: args.context.clone(),
        difficulty: args.difficulty,
        tags: args.tags.clone(),
        criteria: args.criteria.iter().cloned().collect(),
        ..GoldenSample::new(prompt, expected)
    })
}

fn read_samples(file: &std::path::Path) -> Result<Vec<GoldenSample>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}:{} is not a golden sample", file.display(), index + 1))
        })
        .collect()
}

async fn list(session: &Session, client: &Client) -> Result<()> {
    let documents = client.golden_list().await?;
    if session.output.is_json() {
        return session.output.json(&documents);
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
        ("", String::new()),
    ])?;
    let rows = dataset.samples.iter().map(|sample| {
        [sample.sample_id.clone(), sample.difficulty.to_string(), figures::excerpt(&sample.prompt, 80)]
    });
    Ok(session.output.table(["sample", "difficulty", "prompt"], rows.collect())?)
}

async fn lint(session: &Session, reference: &str) -> Result<u8> {
    let path = std::path::Path::new(reference);
    let dataset = if path.is_file() {
        golden_file::read(path)?
    } else {
        session.connect().await?.client.golden(reference).await?.dataset
    };
    let findings = dataset.lint();
    if session.output.is_json() {
        session.output.json(&findings)?;
    }
    let mut lines = Vec::new();
    let broken = tell_findings(&findings, |line| lines.push(line));
    if !session.output.is_json() {
        let verdict = if broken { "cannot be frozen" } else { "can be frozen" };
        lines.push(format!("{} {verdict}", dataset.reference()));
        session.output.line(lines.join("\n"))?;
    }
    Ok(if broken { FAILED } else { DONE })
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
    if golden_file::is_frozen(client, &dataset).await? {
        session.output.note(format!("{} is frozen here with the same content already", dataset.reference()));
        return tell(session, &client.golden(&dataset.reference().to_string()).await?);
    }
    if !args.replace {
        golden_file::refuse_other_draft(client, &dataset).await?;
    }
    let stored = client.put_golden(&dataset, false).await?;
    if args.freeze {
        return freeze(session, client, stored.dataset_id.as_str(), &args.by.actor).await;
    }
    tell(session, &GoldenDocument { dataset: stored, frozen: false, digest: None })
}

fn tell(session: &Session, document: &GoldenDocument) -> Result<()> {
    if session.output.is_json() {
        return session.output.json(document);
    }
    let dataset = &document.dataset;
    let count = dataset.samples.len();
    Ok(session.output.line(format!("{}  {}  {count} samples", dataset.reference(), state(document)))?)
}

fn state(document: &GoldenDocument) -> &'static str {
    if document.frozen { "frozen" } else { "draft" }
}
