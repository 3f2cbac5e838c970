//! Reads the scores out of a judge's reply: tolerant in form, strict in content. No score is ever made up.

mod json;
mod mark;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_lifecycle::{
    rubric::TOP_ANCHOR,
    score::{Criterion, UnscoredReason},
};
use serde_json::{Map, Value};

/// Why a reply holds nothing usable.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ReplyFault {
    /// No JSON object with scores was found.
    #[error("no JSON object with scores was found")]
    NoScores,
    /// A score cannot be read as a number.
    #[error("the score for {criterion} is {found}; expected a number from 0 to {TOP_ANCHOR}")]
    NotANumber {
        /// The criterion.
        criterion: Criterion,
        /// What stands there instead.
        found: String,
    },
    /// A criterion has two different scores.
    #[error("there are two different scores for {0}; expected one")]
    Ambiguous(Criterion),
    /// A criterion has no score.
    #[error("there is no score for {0}; expected one for each criterion that was asked for")]
    Missing(Criterion),
    /// A score is out of range.
    #[error("the score for {criterion} is {found}; expected 0 to {TOP_ANCHOR}")]
    OutOfRange {
        /// The criterion.
        criterion: Criterion,
        /// The score as given.
        found: f64,
    },
    /// No preference was found.
    #[error("no JSON object with `better` as A, B or tie was found")]
    NoPreference,
}

impl ReplyFault {
    /// The code under which the sample stays unscored.
    pub(crate) fn reason(&self) -> UnscoredReason {
        match self {
            Self::NoScores | Self::NotANumber { .. } | Self::Ambiguous(_) | Self::NoPreference => {
                UnscoredReason::Unparsable
            }
            Self::Missing(_) => UnscoredReason::MissingCriterion,
            Self::OutOfRange { .. } => UnscoredReason::ScoreOutOfRange,
        }
    }
}

/// What a reply says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Scores {
    /// Scores (0–5) by criterion.
    pub(crate) marks: BTreeMap<Criterion, f64>,
    /// Reasons by criterion, where there are some.
    pub(crate) reasons: BTreeMap<Criterion, String>,
}

/// Which of two shown answers is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// The one that was shown first.
    First,
    /// The one that was shown second.
    Second,
    /// Neither.
    Tie,
}

/// Reads the scores of a reply for the criteria `wanted`; others are passed over.
///
/// The last JSON object in the text that scores a criterion counts: what stands before may be a quotation of the
/// judged answer. Accepted are text around the object, code fences, commas before a closing bracket, scores in
/// an inner object, beside other fields or as a list, names in any case and in German, and numbers written as
/// `4`, `"4"`, `"4,5"`, `"4/5"` or `{"score": 4}`.
///
/// # Errors
/// [`ReplyFault`] when a score is missing, unreadable, ambiguous or out of range; nothing is filled in.
pub(crate) fn read_scores(reply: &str, wanted: &[Criterion]) -> Result<Scores, ReplyFault> {
    let objects = json::objects(reply);
    let (object, entries) = objects
        .iter()
        .rev()
        .map(|object| (object, entries(object)))
        .find(|(_, entries)| !entries.is_empty())
        .ok_or(ReplyFault::NoScores)?;
    let mut marks = BTreeMap::new();
    for (criterion, value) in entries {
        if !wanted.contains(&criterion) {
            continue;
        }
        let mark = mark::read(value)
            .ok_or_else(|| ReplyFault::NotANumber { criterion, found: shortened(&value.to_string()) })?;
        if !(0.0..=f64::from(TOP_ANCHOR)).contains(&mark) {
            return Err(ReplyFault::OutOfRange { criterion, found: mark });
        }
        let earlier = marks.insert(criterion, mark);
        if earlier.is_some_and(|earlier: f64| (earlier - mark).abs() > f64::EPSILON) {
            return Err(ReplyFault::Ambiguous(criterion));
        }
    }
    match wanted.iter().find(|criterion| !marks.contains_key(criterion)) {
        Some(missing) => Err(ReplyFault::Missing(*missing)),
        None => Ok(Scores { marks, reasons: reasons(object) }),
    }
}

/// Reads which answer is better: the last JSON object that says so counts.
///
/// # Errors
/// [`ReplyFault::NoPreference`] when none does.
pub(crate) fn read_preference(reply: &str) -> Result<Better, ReplyFault> {
    let objects = json::objects(reply);
    objects.iter().rev().find_map(preference).ok_or(ReplyFault::NoPreference)
}

fn preference(object: &Map<String, Value>) -> Option<Better> {
    let names = ["better", "besser", "winner", "preference"];
    let (_, value) = object.iter().find(|(name, _)| names.contains(&simple(name).as_str()))?;
    match simple(value.as_str()?).as_str() {
        "a" | "answer a" | "antwort a" => Some(Better::First),
        "b" | "answer b" | "antwort b" => Some(Better::Second),
        "tie" | "unentschieden" | "gleich" => Some(Better::Tie),
        _ => None,
    }
}

/// The reasons that stand beside the scores.
fn reasons(object: &Map<String, Value>) -> BTreeMap<Criterion, String> {
    let names = ["reasoning", "reasons", "begründung", "begruendung"];
    let found = object.iter().find(|(name, _)| names.contains(&simple(name).as_str()));
    let Some((_, Value::Object(reasons))) = found else { return BTreeMap::new() };
    named(reasons)
        .into_iter()
        .filter_map(|(criterion, reason)| Some((criterion, reason.as_str()?.to_owned())))
        .collect()
}

/// What an object says about criteria: in an inner object or list of scores, else in itself.
fn entries(object: &Map<String, Value>) -> Vec<(Criterion, &Value)> {
    let inner =
        object.iter().find(|(name, _)| matches!(simple(name).as_str(), "scores" | "punkte" | "bewertung"));
    match inner {
        Some((_, Value::Object(scores))) => named(scores),
        Some((_, Value::Array(scores))) => {
            scores.iter().filter_map(Value::as_object).filter_map(listed).collect()
        }
        Some(_) | None => named(object),
    }
}

fn named(scores: &Map<String, Value>) -> Vec<(Criterion, &Value)> {
    scores.iter().filter_map(|(name, value)| criterion(name).map(|criterion| (criterion, value))).collect()
}

/// One element of a list such as `{"criterion": "accuracy", "score": 8}`.
fn listed(element: &Map<String, Value>) -> Option<(Criterion, &Value)> {
    let name =
        element.iter().find(|(name, _)| matches!(simple(name).as_str(), "criterion" | "kriterium" | "name"));
    let value = element.iter().find(|(name, _)| matches!(simple(name).as_str(), "score" | "punkte"));
    Some((criterion(name?.1.as_str()?)?, value?.1))
}

fn criterion(name: &str) -> Option<Criterion> {
    match simple(name).as_str() {
        "accuracy" | "genauigkeit" | "richtigkeit" => Some(Criterion::Accuracy),
        "relevance" | "relevanz" => Some(Criterion::Relevance),
        "style" | "stil" => Some(Criterion::Style),
        "completeness" | "vollständigkeit" | "vollstaendigkeit" => Some(Criterion::Completeness),
        "coherence" | "kohärenz" | "kohaerenz" => Some(Criterion::Coherence),
        _ => None,
    }
}

fn simple(name: &str) -> String {
    name.trim().to_lowercase()
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
