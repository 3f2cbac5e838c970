//! `clara golden add`: a sample from flags, or the samples of a file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use clara_lifecycle::{
    golden::{AnswerChecks, Difficulty, GoldenDataset, GoldenSample},
    id::GoldenDatasetId,
    score::Criterion,
};

use super::tell;
use crate::{
    client::{Client, GoldenDocument},
    session::Session,
    spec::pair,
    usage::usage,
};

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
    /// What it belongs to, e.g. its statute: bounds take a cluster as one observation
    #[arg(long)]
    cluster: Option<String>,
    /// Keep it back: it is not asked in this version
    #[arg(long)]
    held_out: bool,
    #[command(flatten)]
    checks: CheckArgs,
    /// One sample per line, as `clara golden export --format jsonl` writes them
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,
}

/// What an answer must hold, whatever the judge thinks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Checks")]
struct CheckArgs {
    /// Provision that the answer must cite, e.g. "§ 35 Abs. 1 BauGB"; may be repeated
    #[arg(long, value_name = "CITATION")]
    must_cite: Vec<String>,
    /// Text that it must contain; may be repeated
    #[arg(long, value_name = "TEXT")]
    must_contain: Vec<String>,
    /// Text that it must not contain; may be repeated
    #[arg(long, value_name = "TEXT")]
    must_not_contain: Vec<String>,
    /// Its language by ISO 639-1, e.g. de
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// Fewest characters
    #[arg(long, value_name = "COUNT")]
    min_chars: Option<u32>,
    /// Most characters
    #[arg(long, value_name = "COUNT")]
    max_chars: Option<u32>,
}

impl From<CheckArgs> for AnswerChecks {
    fn from(args: CheckArgs) -> Self {
        Self {
            must_cite: args.must_cite,
            must_contain: args.must_contain,
            must_not_contain: args.must_not_contain,
            language: args.language,
            min_chars: args.min_chars,
            max_chars: args.max_chars,
        }
    }
}

pub(super) async fn run(session: &Session, client: &Client, args: AddArgs) -> Result<()> {
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
        None => vec![sample(args)?],
    };
    let added = GoldenDataset { samples, ..draft.dataset };
    tell(session, &GoldenDocument::draft(client.put_golden(&added, true).await?))
}

fn sample(args: AddArgs) -> Result<GoldenSample> {
    let prompt = args.prompt.context("--prompt is missing")?;
    let expected = args.expected.context("--expected is missing")?;
    for (criterion, _) in &args.criteria {
        criterion.parse::<Criterion>()?;
    }
    let checks = AnswerChecks::from(args.checks);
    let problems = checks.problems();
    if !problems.is_empty() {
        return Err(usage(format!("the checks cannot be carried out: {}", problems.join("; "))));
    }
    Ok(GoldenSample {
        context: args.context,
        difficulty: args.difficulty,
        tags: args.tags,
        criteria: args.criteria.into_iter().collect(),
        cluster: args.cluster,
        held_out: args.held_out,
        checks,
        ..GoldenSample::new(prompt, expected)
    })
}

fn read_samples(file: &Path) -> Result<Vec<GoldenSample>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}:{} is not a golden sample", file.display(), index + 1))
        })
        .collect()
}
