//! Reads the scores out of a judge's reply: tolerant in form, strict in content. No score is ever made up.

mod json;
mod mark;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_lifecycle::score::{CriteriaScores, Criterion, InvalidScores, UnscoredReason};
use serde_json::{Map, Value};

/// Why a reply holds no usable scores.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ReplyFault {
    /// No JSON object with scores was found.
    #[error("no JSON object with scores was found")]
    NoScores,
    /// A score cannot be read as a number.
    #[error("the score for {criterion} is {found}; expected a number from 0 to 10")]
    NotANumber {
        /// The criterion.
        criterion: Criterion,
        /// What stands there instead.
        found: String,
    },
    /// A criterion has two different scores.
    #[error("there are two different scores for {0}; expected one")]
    Ambiguous(Criterion),
    /// A score is missing or out of range.
    #[error(transparent)]
    Invalid(#[from] InvalidScores),
}

impl ReplyFault {
    /// The code under which the sample stays unscored.
    pub(crate) fn reason(&self) -> UnscoredReason {
        match self {
            Self::NoScores
            | Self::NotANumber { .. }
            | Self::Ambiguous(_)
            | Self::Invalid(InvalidScores::Empty) => UnscoredReason::Unparsable,
            Self::Invalid(InvalidScores::Missing(_)) => UnscoredReason::MissingCriterion,
            Self::Invalid(InvalidScores::OutOfRange { .. }) => UnscoredReason::ScoreOutOfRange,
        }
    }
}

/// Reads the scores of a reply.
///
/// The last JSON object in the text that scores a criterion counts: what stands before may be a quotation of the
/// judged answer. Accepted are text around the object, code fences, commas before a closing bracket, scores in
/// an inner object, beside other fields or as a list, names in any case and in German, and numbers written as
/// `8`, `"8"`, `"8,5"`, `"8/10"` or `{"score": 8}`.
///
/// # Errors
/// [`ReplyFault`] when a score is missing, unreadable, ambiguous or out of range; nothing is filled in.
pub(crate) fn read_scores(reply: &str) -> Result<CriteriaScores, ReplyFault> {
    let objects = json::objects(reply);
    let entries =
        objects.iter().rev().map(entries).find(|entries| !entries.is_empty()).ok_or(ReplyFault::NoScores)?;
    let mut scores = BTreeMap::new();
    for (criterion, value) in entries {
        let score = mark::read(value)
            .ok_or_else(|| ReplyFault::NotANumber { criterion, found: shortened(&value.to_string()) })?;
        let earlier = scores.insert(criterion, score);
        if earlier.is_some_and(|earlier: f64| (earlier - score).abs() > f64::EPSILON) {
            return Err(ReplyFault::Ambiguous(criterion));
        }
    }
    Ok(CriteriaScores::new(scores)?)
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
