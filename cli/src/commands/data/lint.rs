//! `clara data lint`: what is wrong or weak in a dataset.

use anyhow::Result;
use clap::Args;
use clara_ingest_worker::{
    GoldenTexts,
    inspect::{DROPPED, LintOptions, TRAIN, VALIDATION, lint},
};
use clara_lifecycle::golden::{GoldenDataset, Severity};

use super::{
    super::FAILED,
    DONE, DatasetArg,
    opened::{Opened, Reach},
};
use crate::{golden_file::GoldenChoice, session::Session};

/// A dataset to check.
#[derive(Debug, Clone, Args)]
pub(crate) struct LintArgs {
    #[command(flatten)]
    dataset: DatasetArg,
    /// Golden dataset that it must not hold: ID, ID@VERSION or a .json file [default: the one it was made with]
    #[arg(long, value_name = "ID[@VERSION]|FILE")]
    golden_dataset: Option<String>,
    /// Characters from which on a record is called very long
    #[arg(long, default_value_t = 8_000, value_name = "CHARACTERS")]
    long_chars: usize,
}

pub(super) async fn run(session: &Session, args: &LintArgs) -> Result<u8> {
    let mut reach = Reach::new(session);
    let [packed, plain] = DROPPED;
    let opened = reach.open(&args.dataset.dataset, &[TRAIN, VALIDATION, packed, plain]).await?;
    let golden = golden(&mut reach, args, &opened).await?;
    let samples = golden
        .map(|dataset| GoldenTexts::new(dataset.reference().to_string(), dataset.digest(), &dataset).samples);
    let (folder, long_chars) = (opened.folder().to_owned(), args.long_chars);
    let check =
        move || lint(&folder, &LintOptions { golden: samples.as_deref().unwrap_or_default(), long_chars });
    let findings = tokio::task::spawn_blocking(check).await??;
    let broken = findings.iter().any(|finding| finding.severity == Severity::Error);
    if session.output.is_json() {
        session.output.json(&findings)?;
    } else {
        for finding in &findings {
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            session.output.line(format!("{severity} {}: {}", finding.code, finding.message))?;
        }
        let verdict = if broken { "must not be trained on" } else { "can be trained on" };
        session.output.line(format!("{} {verdict}", args.dataset.dataset))?;
    }
    Ok(if broken { FAILED } else { DONE })
}

/// The golden dataset that was named, or the one that the dataset was made with, where it is known here.
async fn golden(reach: &mut Reach<'_>, args: &LintArgs, opened: &Opened) -> Result<Option<GoldenDataset>> {
    if let Some(named) = &args.golden_dataset {
        return match GoldenChoice::of(named)? {
            GoldenChoice::File(dataset) => Ok(Some(*dataset)),
            GoldenChoice::Known(reference) => {
                let client = &reach.connection().await?.client;
                Ok(Some(client.golden(&reference.to_string()).await?.dataset))
            }
        };
    }
    let (Some(overlap), true) = (&opened.manifest.golden_overlap, opened.document.is_some()) else {
        return Ok(None);
    };
    let client = &reach.connection().await?.client;
    Ok(Some(client.golden(&overlap.golden_dataset).await?.dataset))
}
