//! Rubrics: for every criterion its weight, the question that it asks, and what the scores 0 to 5 mean.

mod built_in;
mod choice;
mod problems;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    golden::GoldenSample,
    score::{CriteriaScores, Criterion},
};

pub use choice::{RubricChoice, UnknownRubric};

/// The greatest score that a judge gives; the least is 0. Five anchors and zero agree best with people
/// (arXiv 2601.03444).
pub const TOP_ANCHOR: u8 = 5;
/// A score is kept on a scale of ten: so much for each anchor.
pub const POINTS_PER_ANCHOR: f64 = 2.0;

/// The language of rubric and prompts; that of the answers is the best choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Language {
    /// German.
    #[default]
    #[serde(rename = "de")]
    German,
    /// English.
    #[serde(rename = "en")]
    English,
}

/// What answers are scored by. It is data: a job carries it along, and its [`Rubric::digest`] names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rubric {
    /// Its name and version, e.g. `de-2`; change it with every text.
    pub version: String,
    /// The language of the texts around it.
    #[serde(default)]
    pub language: Language,
    /// What is scored, in the order in which it is asked. A criterion that is left out is not scored.
    pub criteria: Vec<RubricCriterion>,
}

/// How one criterion is scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RubricCriterion {
    /// What is scored.
    pub criterion: Criterion,
    /// How much it counts in the overall score.
    pub weight: f64,
    /// The question that the score answers.
    pub question: String,
    /// What the scores mean: six texts, from 0 to 5.
    pub anchors: Vec<String>,
    /// The samples that it applies to.
    #[serde(default)]
    pub applies_when: AppliesWhen,
    /// At this score (0–5) or below the answer is a hard failure, whatever its other scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_fail: Option<f64>,
}

/// The samples that a criterion applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppliesWhen {
    /// All.
    #[default]
    Always,
    /// Those with a note on this criterion.
    Note,
    /// Those with a context.
    Context,
    /// Those with an expected output.
    Reference,
}

impl Language {
    /// The name in files: `de` or `en`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::German => "de",
            Self::English => "en",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl AppliesWhen {
    /// The name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Note => "note",
            Self::Context => "context",
            Self::Reference => "reference",
        }
    }
}

impl RubricCriterion {
    /// Whether `sample` is scored by it.
    pub fn applies_to(&self, sample: &GoldenSample) -> bool {
        let says = |text: &str| !text.trim().is_empty();
        match self.applies_when {
            AppliesWhen::Always => true,
            AppliesWhen::Note => sample.criteria.get(self.criterion.as_str()).is_some_and(|note| says(note)),
            AppliesWhen::Context => sample.context.as_deref().is_some_and(says),
            AppliesWhen::Reference => says(&sample.expected_output),
        }
    }

    /// Whether a score (0–10) is a hard failure.
    pub fn fails_hard(&self, score: f64) -> bool {
        self.hard_fail.is_some_and(|limit| score <= limit * POINTS_PER_ANCHOR)
    }
}

impl Rubric {
    /// The rubric that comes with Clara.
    pub fn built_in(language: Language) -> Self {
        built_in::rubric(language)
    }

    /// Everything that is wrong with it; empty when it is sound.
    pub fn problems(&self) -> Vec<String> {
        problems::of(self)
    }

    /// Digest of everything in it.
    pub fn digest(&self) -> Digest {
        let mut parts =
            vec![("version", self.version.clone()), ("language", self.language.as_str().to_owned())];
        for entry in &self.criteria {
            parts.push(("criterion", entry.criterion.to_string()));
            parts.push(("weight", entry.weight.to_string()));
            parts.push(("question", entry.question.clone()));
            parts.extend(entry.anchors.iter().map(|anchor| ("anchor", anchor.clone())));
            parts.push(("applies_when", entry.applies_when.as_str().to_owned()));
            if let Some(limit) = entry.hard_fail {
                parts.push(("hard_fail", limit.to_string()));
            }
        }
        Digest::of_parts(parts.iter().map(|(label, text)| (*label, text.as_bytes())))
    }

    /// The weights by criterion.
    pub fn weights(&self) -> BTreeMap<Criterion, f64> {
        self.criteria.iter().map(|entry| (entry.criterion, entry.weight)).collect()
    }

    /// The criteria that apply to `sample`, in order.
    pub fn applying<'a>(&'a self, sample: &'a GoldenSample) -> impl Iterator<Item = &'a RubricCriterion> {
        self.criteria.iter().filter(|entry| entry.applies_to(sample))
    }

    /// The weighted mean of `scores` on a scale of 0 to 100: `Σ score·weight / Σ weight · 10`, over the criteria that
    /// have a score.
    pub fn overall(&self, scores: &CriteriaScores) -> f64 {
        scores.overall_by(&self.weights())
    }
}
