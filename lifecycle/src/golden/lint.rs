//! Finds what is wrong or weak in a golden dataset before it is frozen.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{GoldenDataset, GoldenSample};
use crate::score::Criterion;

/// Fewest samples for a decision of the gate in bounds mode.
pub const MIN_SAMPLES: usize = 30;

/// Fewest samples per difficulty for a look at that difficulty alone.
pub const MIN_SAMPLES_PER_DIFFICULTY: u64 = 5;

/// One thing that is wrong or weak in a golden dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether the dataset may be frozen nevertheless.
    pub severity: Severity,
    /// The sample, where one is meant.
    pub sample_id: Option<String>,
    /// What kind of finding it is.
    pub code: FindingCode,
    /// What was found, what was expected, what to do.
    pub message: String,
}

/// Whether a dataset with a finding may be frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It must not be used before this is mended.
    Error,
    /// It can be used, but says less than it could.
    Warning,
}

/// What kind of finding it is; stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingCode {
    /// There are no samples.
    NoSamples,
    /// Two samples have the same id.
    DuplicateId,
    /// Two samples ask the same, blanks and case aside.
    DuplicatePrompt,
    /// The prompt is empty.
    EmptyPrompt,
    /// The expected output is empty.
    EmptyExpectedOutput,
    /// The expected score is not between 0 and 1.
    ExpectedScoreOutOfRange,
    /// A note is meant for a criterion that does not exist.
    UnknownCriterion,
    /// The sample belongs to another domain than its dataset.
    OtherDomain,
    /// A difficulty has few samples or none.
    ThinDifficulty,
    /// Too few samples for a decision in bounds mode.
    FewSamples,
}

impl FindingCode {
    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSamples => "no_samples",
            Self::DuplicateId => "duplicate_id",
            Self::DuplicatePrompt => "duplicate_prompt",
            Self::EmptyPrompt => "empty_prompt",
            Self::EmptyExpectedOutput => "empty_expected_output",
            Self::ExpectedScoreOutOfRange => "expected_score_out_of_range",
            Self::UnknownCriterion => "unknown_criterion",
            Self::OtherDomain => "other_domain",
            Self::ThinDifficulty => "thin_difficulty",
            Self::FewSamples => "few_samples",
        }
    }

    /// Whether a dataset with this finding may be frozen.
    pub fn severity(self) -> Severity {
        match self {
            Self::NoSamples
            | Self::DuplicateId
            | Self::DuplicatePrompt
            | Self::EmptyPrompt
            | Self::EmptyExpectedOutput
            | Self::ExpectedScoreOutOfRange
            | Self::UnknownCriterion => Severity::Error,
            Self::OtherDomain | Self::ThinDifficulty | Self::FewSamples => Severity::Warning,
        }
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

pub(super) fn lint(dataset: &GoldenDataset) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut ids = BTreeMap::new();
    let mut prompts = BTreeMap::new();
    for (index, sample) in dataset.samples.iter().enumerate() {
        check_sample(sample, dataset, &mut found);
        if let Some(first) = ids.insert(sample.sample_id.as_str(), index + 1) {
            let message = format!(
                "sample {} has the id of sample {first}; give each sample its own id or none, and ids are given",
                index + 1
            );
            found.push(about(sample, FindingCode::DuplicateId, message));
        }
        let asked = (normalised(&sample.prompt), normalised(sample.context.as_deref().unwrap_or_default()));
        if let Some(first) = prompts.insert(asked, sample.sample_id.as_str()) {
            let message = format!("asks the same as {first}, blanks and case aside; remove one of the two");
            found.push(about(sample, FindingCode::DuplicatePrompt, message));
        }
    }
    check_size(dataset, &mut found);
    found
}

fn check_sample(sample: &GoldenSample, dataset: &GoldenDataset, found: &mut Vec<Finding>) {
    let mut add = |code, message| found.push(about(sample, code, message));
    if sample.prompt.trim().is_empty() {
        add(FindingCode::EmptyPrompt, "the prompt is empty; write what is asked".into());
    }
    if sample.expected_output.trim().is_empty() {
        let message = "the expected output is empty; write the answer that earns full marks".into();
        add(FindingCode::EmptyExpectedOutput, message);
    }
    if !(0.0..=1.0).contains(&sample.expected_score) {
        let message = format!("the expected score is {}; expected 0 to 1", sample.expected_score);
        add(FindingCode::ExpectedScoreOutOfRange, message);
    }
    for name in sample.criteria.keys().filter(|name| name.parse::<Criterion>().is_err()) {
        let message = format!(
            "has a note for `{name}`, which is no criterion and would reach no judge; expected {}",
            Criterion::ALL.map(Criterion::as_str).join(", ")
        );
        add(FindingCode::UnknownCriterion, message);
    }
    if sample.domain != dataset.domain.as_str() {
        let message = format!("belongs to domain `{}`, its dataset to `{}`", sample.domain, dataset.domain);
        add(FindingCode::OtherDomain, message);
    }
}

fn check_size(dataset: &GoldenDataset, found: &mut Vec<Finding>) {
    let mut add = |code: FindingCode, message| {
        found.push(Finding { severity: code.severity(), sample_id: None, code, message });
    };
    let samples = dataset.samples.len();
    if samples == 0 {
        add(FindingCode::NoSamples, "there are no samples; add some with `clara golden add`".into());
        return;
    }
    if samples < MIN_SAMPLES {
        let message = format!(
            "{samples} samples; with fewer than {MIN_SAMPLES} the gate stays inconclusive in bounds mode, \
             add {} more",
            MIN_SAMPLES - samples
        );
        add(FindingCode::FewSamples, message);
    }
    for (difficulty, count) in dataset.difficulty_distribution() {
        if count < MIN_SAMPLES_PER_DIFFICULTY {
            let message = format!(
                "{count} samples of difficulty {difficulty}; expected at least {MIN_SAMPLES_PER_DIFFICULTY} \
                 to see how the adapter does there"
            );
            add(FindingCode::ThinDifficulty, message);
        }
    }
}

fn about(sample: &GoldenSample, code: FindingCode, message: String) -> Finding {
    Finding { severity: code.severity(), sample_id: Some(sample.sample_id.clone()), code, message }
}

fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
