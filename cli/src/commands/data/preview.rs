//! `clara data preview`: records of a dataset, or documents that were left out.

use anyhow::Result;
use clap::Args;
use clara_ingest_worker::{
    card::{lot, spoken},
    inspect::{self, DROPPED, TRAIN, VALIDATION},
};
use clara_lifecycle::dataset::{DropReason, DroppedDocument, TrainingRecord};

use super::{DatasetArg, opened::Reach};
use crate::{figures, output::Output, session::Session, usage::usage};

/// What is shown of a dataset.
#[derive(Debug, Clone, Args)]
pub(crate) struct PreviewArgs {
    #[command(flatten)]
    dataset: DatasetArg,
    /// So many records or documents
    #[arg(long, short = 'n', default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Records drawn by chance instead of the first ones
    #[arg(long)]
    random: bool,
    /// Seed of the draw; the same seed draws the same records
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Records that are held out instead of those to train on
    #[arg(long, conflicts_with = "dropped")]
    validation: bool,
    /// Documents that were left out for this reason, or `all`: never their text, which was not kept
    #[arg(long, value_name = "REASON")]
    dropped: Option<String>,
    /// Longest text in characters; 0 shows all
    #[arg(long, default_value_t = 800, value_name = "CHARACTERS")]
    max_chars: usize,
}

pub(super) async fn run(session: &Session, args: &PreviewArgs) -> Result<()> {
    let mut reach = Reach::new(session);
    let name = &args.dataset.dataset;
    if let Some(reason) = &args.dropped {
        let reason = match reason.as_str() {
            "all" => None,
            reason => Some(known(reason)?),
        };
        let opened = reach.open(name, &DROPPED).await?;
        let dropped = inspect::dropped(opened.folder())?.filter(|document| {
            document.as_ref().map_or(true, |document| reason.is_none_or(|reason| document.reason == reason))
        });
        let documents = drawn(dropped, args, |document| &document.document_id)?;
        tell_dropped(session.output, &documents)?;
        let counts = &opened.manifest.dropped;
        let there: u64 =
            reason.map_or_else(|| counts.values().sum(), |reason| counts.get(&reason).copied().unwrap_or(0));
        tell_rest(session.output, documents.len(), there, "no such document was left out");
        return Ok(());
    }
    let file = if args.validation { VALIDATION } else { TRAIN };
    let opened = reach.open(name, &[file]).await?;
    let records = drawn(inspect::records(opened.folder(), file)?, args, |record| &record.document_id)?;
    tell(session.output, &records, args.max_chars)?;
    let (there, none) = if args.validation {
        (opened.manifest.validation_records, "no record was held out")
    } else {
        (opened.manifest.train_records, "there is no record to train on")
    };
    tell_rest(session.output, records.len(), there, none);
    Ok(())
}

/// Says that there are more than the shown ones, by the manifest, or that there are none.
fn tell_rest(output: Output, shown: usize, there: u64, none: &str) {
    if shown == 0 {
        output.note(none);
    } else if (shown as u64) < there {
        output.note(format!("{shown} of {there}; --count N shows more"));
    }
}

fn known(reason: &str) -> Result<DropReason> {
    reason.replace('-', "_").parse().map_err(|_| {
        let reasons: Vec<_> = DropReason::ALL.iter().map(ToString::to_string).collect();
        usage(format!("--dropped {reason} names no reason; expected all, {}", reasons.join(", ")))
    })
}

/// The first ones, or those that the seed draws; no more than these stay in memory.
fn drawn<T, E: std::error::Error + Send + Sync + 'static>(
    items: impl Iterator<Item = Result<T, E>>,
    args: &PreviewArgs,
    id: impl Fn(&T) -> &str,
) -> Result<Vec<T>> {
    let count = args.count as usize;
    if !args.random {
        return Ok(items.take(count).collect::<Result<_, _>>()?);
    }
    // Those with the least keys; the number keeps them in the dataset's order in the end.
    let mut chosen = std::collections::BTreeMap::new();
    for (number, item) in items.enumerate() {
        let item = item?;
        let lot = lot(&format!("{} {number} {}", args.seed, id(&item)));
        chosen.insert((lot, number), item);
        if chosen.len() > count {
            chosen.pop_last();
        }
    }
    let mut chosen: Vec<_> = chosen.into_iter().map(|((_, number), item)| (number, item)).collect();
    chosen.sort_by_key(|(number, _)| *number);
    Ok(chosen.into_iter().map(|(_, item)| item).collect())
}

fn tell(output: Output, records: &[TrainingRecord], max_chars: usize) -> Result<()> {
    if output.is_json() {
        return output.json(&records);
    }
    for record in records {
        output.line(format!("── {}", figures::plain(&record.document_id)))?;
        let several = spoken(record).len() > 1;
        for (role, text) in spoken(record) {
            if several {
                output.line(format!("[{role}]"))?;
            }
            output.line(shortened(text, max_chars))?;
        }
        output.line("")?;
    }
    Ok(())
}

fn shortened(text: &str, max_chars: usize) -> String {
    let text = figures::plain(text);
    match text.char_indices().nth(max_chars) {
        Some((end, _)) if max_chars > 0 => {
            format!("{} … ({} characters)", text.get(..end).unwrap_or(&text), text.chars().count())
        }
        _ => text,
    }
}

fn tell_dropped(output: Output, documents: &[DroppedDocument]) -> Result<()> {
    if output.is_json() {
        return output.json(&documents);
    }
    let rows = documents.iter().map(|document| {
        [
            figures::plain(&document.document_id),
            document.reason.to_string(),
            figures::plain(&document.origin),
            figures::plain(&document.detail),
        ]
    });
    Ok(output.table(["document", "reason", "origin", "detail"], rows.collect())?)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn args(count: u32, random: bool, seed: u64) -> PreviewArgs {
        let dataset = DatasetArg { dataset: "x".to_owned() };
        PreviewArgs { dataset, count, random, seed, validation: false, dropped: None, max_chars: 0 }
    }

    fn numbers(args: &PreviewArgs) -> Vec<String> {
        let items = (0..1_000).map(|number| Ok::<_, Infallible>(number.to_string()));
        drawn(items, args, |item| item).unwrap()
    }

    #[test]
    fn the_first_ones_are_shown_unless_chance_is_asked_for() {
        assert_eq!(numbers(&args(3, false, 1)), ["0", "1", "2"]);
        let chance = numbers(&args(20, true, 1));
        assert_eq!(chance, numbers(&args(20, true, 1)), "the same seed draws the same");
        assert_ne!(chance, numbers(&args(20, true, 2)));
        assert_eq!(chance.len(), 20);
        let values: Vec<u32> = chance.iter().map(|number| number.parse().unwrap()).collect();
        assert!(values.is_sorted() && values[19] > 500 && values[0] < 500, "{values:?}");
    }

    #[test]
    fn a_reason_is_known_with_dashes_too_and_others_are_refused_with_the_list() {
        assert_eq!(known("near-duplicate").unwrap(), DropReason::NearDuplicate);
        let error = known("boring").unwrap_err().to_string();
        assert!(error.contains("near_duplicate"), "{error}");
    }

    #[test]
    fn a_long_text_says_how_long_it_is() {
        assert_eq!(shortened("äöü", 2), "äö … (3 characters)");
        assert_eq!(shortened("äöü", 0), "äöü");
        assert_eq!(shortened("äöü", 3), "äöü");
    }
}
