//! Checks an own rubric and reports every problem at once.

use std::collections::BTreeSet;

use super::{AppliesWhen, Rubric, RubricCriterion, TOP_ANCHOR};

/// Longest text of a rubric in characters: each is read by the judge with every sample.
const LONGEST_TEXT: usize = 1_000;

pub(super) fn of(rubric: &Rubric) -> Vec<String> {
    let mut found = Vec::new();
    if rubric.version.trim().is_empty() {
        found.push("`version` is empty; give the rubric a name, e.g. \"tax-1\"".to_owned());
    }
    let mut seen = BTreeSet::new();
    for entry in &rubric.criteria {
        if !seen.insert(entry.criterion) {
            found.push(format!("{} stands there twice; keep one", entry.criterion));
        }
        found
            .extend(of_criterion(entry).into_iter().map(|problem| format!("{}: {problem}", entry.criterion)));
    }
    // Else a sample could come that nothing scores.
    if !rubric.criteria.iter().any(|entry| entry.applies_when == AppliesWhen::Always) {
        found.push(
            "no criterion applies always; expected at least one with `applies_when` \"always\"".to_owned(),
        );
    }
    found
}

fn of_criterion(entry: &RubricCriterion) -> Vec<String> {
    let mut found = Vec::new();
    if !(entry.weight > 0.0 && entry.weight <= 100.0) {
        found.push(format!("`weight` is {}; expected more than 0 and at most 100", entry.weight));
    }
    let anchors = usize::from(TOP_ANCHOR) + 1;
    if entry.anchors.len() != anchors {
        found.push(format!(
            "`anchors` has {} texts; expected {anchors}, one for each score from 0 to {TOP_ANCHOR}",
            entry.anchors.len()
        ));
    }
    if let Some(limit) = entry.hard_fail
        && !(0.0..f64::from(TOP_ANCHOR)).contains(&limit)
    {
        found.push(format!("`hard_fail` is {limit}; expected 0 to below {TOP_ANCHOR}"));
    }
    let anchors =
        entry.anchors.iter().enumerate().map(|(score, text)| (format!("the anchor of {score}"), text));
    for (name, text) in anchors.chain([("`question`".to_owned(), &entry.question)]) {
        let length = text.chars().count();
        if text.trim().is_empty() {
            found.push(format!("{name} is empty"));
        } else if length > LONGEST_TEXT {
            found.push(format!("{name} has {length} characters; expected at most {LONGEST_TEXT}"));
        }
    }
    found
}
