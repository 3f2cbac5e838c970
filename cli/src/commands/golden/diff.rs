//! `clara golden diff`: what differs between two golden datasets.

use anyhow::Result;
use clara_lifecycle::golden::{FieldChange, GoldenDiff};
use serde_json::Value;

use super::{super::DONE, lint::Reach};
use crate::{
    figures::{self, NONE},
    session::Session,
};

/// Longest text of a value that is shown whole, in characters.
const LONGEST_VALUE: usize = 60;

pub(super) async fn run(session: &Session, from: &str, to: &str) -> Result<u8> {
    let mut reach = Reach { session, connection: None };
    let diff = reach.dataset(from).await?.diff(&reach.dataset(to).await?)?;
    if session.output.is_json() {
        session.output.json(&diff)?;
        return Ok(DONE);
    }
    for line in words(&diff) {
        session.output.line(line)?;
    }
    Ok(DONE)
}

fn words(diff: &GoldenDiff) -> Vec<String> {
    let mut lines = vec![format!(
        "{} ({}) → {} ({})",
        diff.from,
        diff.from_digest.short(),
        diff.to,
        diff.to_digest.short()
    )];
    if diff.is_empty() {
        lines.push("no differences".to_owned());
        return lines;
    }
    lines.extend(diff.fields.iter().map(|change| format!("  {}", field(change))));
    lines.extend(diff.removed.iter().map(|id| format!("- {id}")));
    lines.extend(diff.added.iter().map(|id| format!("+ {id}")));
    for sample in &diff.changed {
        lines.push(format!("~ {}", sample.sample_id));
        lines.extend(sample.fields.iter().map(|change| format!("    {}", field(change))));
    }
    if diff.reordered {
        lines.push("the samples of both stand in another order".to_owned());
    }
    lines.push(format!(
        "{} added, {} removed, {} changed",
        diff.added.len(),
        diff.removed.len(),
        diff.changed.len()
    ));
    lines
}

fn field(change: &FieldChange) -> String {
    format!("{}: {} → {}", change.field, shown(&change.old), shown(&change.new))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        Value::String(text) => figures::excerpt(text, LONGEST_VALUE),
        other => figures::excerpt(&other.to_string(), LONGEST_VALUE),
    }
}

#[cfg(test)]
mod tests {
    use clara_lifecycle::golden::{GoldenDataset, GoldenSample};

    use super::*;

    #[test]
    fn a_difference_is_told_sample_by_sample() {
        let (id, domain) = ("golden".parse().unwrap(), "law".parse().unwrap());
        let mut before = GoldenDataset::new(id, domain, "anna".into(), "2026-01-01T00:00:00Z".into());
        for number in 1..=3 {
            before.add(GoldenSample::new(format!("Frage {number}?"), format!("Antwort {number}.")));
        }
        let mut after = before.clone();
        after.samples.remove(0);
        after.samples[0].prompt = "Neu?".into();
        after.samples[1].held_out = true;
        let lines = words(&before.diff(&after).unwrap());
        let expected = [
            "- golden-1",
            "~ golden-2",
            "    prompt: Frage 2? → Neu?",
            "~ golden-3",
            "    held_out: – → true",
            "0 added, 1 removed, 2 changed",
        ];
        assert_eq!(&lines[1..], expected);
        assert_eq!(words(&before.diff(&before).unwrap())[1], "no differences");
    }
}
