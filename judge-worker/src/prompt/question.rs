//! The turn that says what was asked and what was expected.

use clara_lifecycle::{golden::GoldenSample, score::Criterion};

use super::text::Texts;

/// Field, question, context, reference, and the notes on `criteria`.
pub(super) fn text(texts: &Texts, sample: &GoldenSample, criteria: &[Criterion]) -> String {
    let mut sections = vec![(texts.domain, sample.domain.clone()), (texts.question, sample.prompt.clone())];
    if let Some(context) = &sample.context {
        sections.push((texts.context, context.clone()));
    }
    sections.push((texts.reference, sample.expected_output.clone()));
    let notes = notes(sample, criteria);
    if !notes.is_empty() {
        sections.push((texts.notes, notes));
    }
    let parts: Vec<_> = sections.iter().map(|(title, text)| format!("{title}:\n{}", text.trim())).collect();
    parts.join("\n\n")
}

/// The sample's notes by criterion, in the order of the rubric.
fn notes(sample: &GoldenSample, criteria: &[Criterion]) -> String {
    let known = criteria.iter().filter_map(|criterion| {
        let note = sample.criteria.get(criterion.as_str())?;
        Some(format!("- {criterion}: {}", note.trim()))
    });
    known.collect::<Vec<_>>().join("\n")
}
