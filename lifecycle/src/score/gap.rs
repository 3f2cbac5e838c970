//! Knowledge gaps: what a version answered badly, as a wish for the next training data.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{EvaluationContext, SampleScore};
use crate::{digest::Digest, golden::GoldenSample};

/// Longest suggested query in characters.
const QUERY_CHARS: usize = 160;

/// One sample that did not pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnowledgeGap {
    /// A UUID made from golden dataset, version and sample: the same gap has the same id.
    pub gap_id: String,
    /// The field of knowledge.
    pub domain: String,
    /// The version that has the gap.
    pub adapter_id: Option<String>,
    /// What it is about: the sample's first tag, else the domain.
    pub topic: String,
    /// How bad it is.
    pub severity: GapSeverity,
    /// How it was found; `evaluation` here.
    pub source: String,
    /// What was asked.
    pub prompt: String,
    /// What was expected.
    pub expected_output: String,
    /// What was answered.
    pub actual_output: String,
    /// How sure the version was; not measured in an evaluation.
    pub confidence_score: Option<f64>,
    /// Overall score, 0–100.
    pub evaluation_score: Option<f64>,
    /// When, RFC 3339.
    pub detected_at: String,
    /// The judge.
    pub detected_by: String,
    /// Tags of the sample.
    pub tags: Vec<String>,
    /// What became of it.
    pub status: GapStatus,
    /// When it was closed, RFC 3339.
    pub resolved_at: Option<String>,
    /// How it was closed.
    pub resolution_notes: Option<String>,
    /// Whether training data can close it.
    pub requires_training_data: bool,
    /// A query that may find such data.
    pub suggested_data_query: Option<String>,
    /// Records found for it so far.
    pub training_samples_collected: u64,
}

/// How bad a gap is, by the overall score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapSeverity {
    /// Below 50.
    Critical,
    /// Below 60.
    High,
    /// Below 70.
    Medium,
    /// 70 and more.
    Low,
}

impl GapSeverity {
    /// The band of an overall score (0–100).
    pub fn of_score(score: f64) -> Self {
        if score < 50.0 {
            Self::Critical
        } else if score < 60.0 {
            Self::High
        } else if score < 70.0 {
            Self::Medium
        } else {
            Self::Low
        }
    }
}

/// What became of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapStatus {
    /// Nothing yet.
    Open,
    /// Someone collects data.
    InProgress,
    /// Closed.
    Resolved,
}

/// A text that names no severity of a gap, or no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a {what} of a gap; expected {expected}")]
pub struct UnknownGapWord {
    /// The text as given.
    pub found: String,
    /// What it should name.
    pub what: &'static str,
    /// The words that exist.
    pub expected: &'static str,
}

impl GapSeverity {
    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for GapSeverity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for GapSeverity {
    type Err = UnknownGapWord;

    fn from_str(text: &str) -> Result<Self, UnknownGapWord> {
        [Self::Critical, Self::High, Self::Medium, Self::Low]
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or_else(|| UnknownGapWord {
                found: text.to_owned(),
                what: "severity",
                expected: "critical, high, medium or low",
            })
    }
}

impl GapStatus {
    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InProgress => "in_progress",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for GapStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for GapStatus {
    type Err = UnknownGapWord;

    fn from_str(text: &str) -> Result<Self, UnknownGapWord> {
        [Self::Open, Self::InProgress, Self::Resolved]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownGapWord {
                found: text.to_owned(),
                what: "status",
                expected: "open, in_progress or resolved",
            })
    }
}

impl KnowledgeGap {
    /// The gap that a score shows.
    pub fn of(score: &SampleScore, sample: &GoldenSample, context: &EvaluationContext<'_>) -> Self {
        Self {
            gap_id: gap_id(&context.golden.digest(), &score.adapter_id, &score.sample_id),
            domain: sample.domain.clone(),
            adapter_id: Some(score.adapter_id.clone()),
            topic: sample.tags.first().unwrap_or(&sample.domain).clone(),
            severity: GapSeverity::of_score(score.overall_score),
            source: "evaluation".to_owned(),
            prompt: score.prompt.clone(),
            expected_output: score.expected_output.clone(),
            actual_output: score.adapter_output.clone(),
            confidence_score: None,
            evaluation_score: Some(score.overall_score),
            detected_at: score.evaluated_at.clone(),
            detected_by: context.judge.judge_id.clone(),
            tags: sample.tags.clone(),
            status: GapStatus::Open,
            resolved_at: None,
            resolution_notes: None,
            requires_training_data: true,
            suggested_data_query: Some(query(&score.prompt)),
            training_samples_collected: 0,
        }
    }
}

/// A UUID of version 8 (own layout) from the first 128 bits of a digest.
fn gap_id(golden: &Digest, adapter_id: &str, sample_id: &str) -> String {
    let parts = [("golden", golden.as_str()), ("adapter", adapter_id), ("sample", sample_id)];
    let digest = Digest::of_parts(parts.map(|(label, text)| (label, text.as_bytes())));
    let mut text = String::with_capacity(36);
    for (position, digit) in digest.as_str().chars().take(32).enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(match position {
            12 | 16 => '8',
            _ => digit,
        });
    }
    text
}

/// The prompt on one line, cut at a word.
fn query(prompt: &str) -> String {
    let mut query = String::new();
    for word in prompt.split_whitespace() {
        if !query.is_empty() && query.chars().count() + 1 + word.chars().count() > QUERY_CHARS {
            break;
        }
        if !query.is_empty() {
            query.push(' ');
        }
        query.push_str(word);
    }
    query
}
