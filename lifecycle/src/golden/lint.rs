//! Finds what is wrong or weak in a golden dataset before it is frozen.

mod clusters;
mod near;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Difficulty, GoldenDataset, GoldenSample};
use crate::{counted::counted, score::Criterion, text::collapse};

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
    /// Two samples ask nearly the same.
    NearDuplicatePrompt,
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
    /// A check of the sample cannot be carried out.
    InvalidCheck,
    /// The expected output fails the checks of its own sample.
    ExpectedOutputFailsCheck,
    /// Samples about one statute stand alone instead of in a cluster.
    MissingCluster,
    /// The training data holds much of the sample.
    LeakedIntoTraining,
}

impl FindingCode {
    /// All codes.
    pub const ALL: [Self; 15] = [
        Self::NoSamples,
        Self::DuplicateId,
        Self::DuplicatePrompt,
        Self::NearDuplicatePrompt,
        Self::EmptyPrompt,
        Self::EmptyExpectedOutput,
        Self::ExpectedScoreOutOfRange,
        Self::UnknownCriterion,
        Self::OtherDomain,
        Self::ThinDifficulty,
        Self::FewSamples,
        Self::InvalidCheck,
        Self::ExpectedOutputFailsCheck,
        Self::MissingCluster,
        Self::LeakedIntoTraining,
    ];

    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSamples => "no_samples",
            Self::DuplicateId => "duplicate_id",
            Self::DuplicatePrompt => "duplicate_prompt",
            Self::NearDuplicatePrompt => "near_duplicate_prompt",
            Self::EmptyPrompt => "empty_prompt",
            Self::EmptyExpectedOutput => "empty_expected_output",
            Self::ExpectedScoreOutOfRange => "expected_score_out_of_range",
            Self::UnknownCriterion => "unknown_criterion",
            Self::OtherDomain => "other_domain",
            Self::ThinDifficulty => "thin_difficulty",
            Self::FewSamples => "few_samples",
            Self::InvalidCheck => "invalid_check",
            Self::ExpectedOutputFailsCheck => "expected_output_fails_check",
            Self::MissingCluster => "missing_cluster",
            Self::LeakedIntoTraining => "leaked_into_training",
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
            | Self::UnknownCriterion
            | Self::InvalidCheck
            | Self::ExpectedOutputFailsCheck
            | Self::LeakedIntoTraining => Severity::Error,
            Self::NearDuplicatePrompt
            | Self::OtherDomain
            | Self::ThinDifficulty
            | Self::FewSamples
            | Self::MissingCluster => Severity::Warning,
        }
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Finding {
    /// A finding about one sample; the code says how severe it is.
    pub fn about(sample_id: &str, code: FindingCode, message: String) -> Self {
        Self { severity: code.severity(), sample_id: Some(sample_id.to_owned()), code, message }
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
            found.push(Finding::about(&sample.sample_id, FindingCode::DuplicateId, message));
        }
        let asked = (collapse(&sample.prompt), collapse(sample.context.as_deref().unwrap_or_default()));
        if let Some(first) = prompts.insert(asked, sample.sample_id.as_str()) {
            let message = format!("asks the same as {first}, blanks and case aside; remove one of the two");
            found.push(Finding::about(&sample.sample_id, FindingCode::DuplicatePrompt, message));
        }
    }
    for (index, first, share) in near::near_duplicates(&dataset.samples) {
        let (Some(sample), Some(first)) = (dataset.samples.get(index), dataset.samples.get(first)) else {
            continue;
        };
        let message = format!(
            "asks nearly the same as {}: {:.0} % of the letter triples are common; remove one of the two, or give \
             both one cluster",
            first.sample_id,
            share * 100.0
        );
        found.push(Finding::about(&sample.sample_id, FindingCode::NearDuplicatePrompt, message));
    }
    check_clusters(dataset, &mut found);
    check_size(dataset, &mut found);
    found
}

fn check_sample(sample: &GoldenSample, dataset: &GoldenDataset, found: &mut Vec<Finding>) {
    let mut add = |code, message| found.push(Finding::about(&sample.sample_id, code, message));
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
    for problem in sample.checks.problems() {
        add(FindingCode::InvalidCheck, problem);
    }
    for failed in sample.checks.failed_by(&sample.expected_output) {
        let message = format!(
            "the expected output fails the check {}: {}; mend one of the two, else no answer can pass",
            failed.code, failed.text
        );
        add(FindingCode::ExpectedOutputFailsCheck, message);
    }
}

fn check_clusters(dataset: &GoldenDataset, found: &mut Vec<Finding>) {
    for together in clusters::without_cluster(&dataset.samples) {
        let others = match together.clusters.as_slice() {
            [] => String::new(),
            clusters => format!("; other samples about it are in {}", clusters.join(", ")),
        };
        let code = FindingCode::MissingCluster;
        let message = format!(
            "{} samples about {} have no cluster ({}){others}; give them `\"cluster\": \"{}\"`, so that confidence \
             bounds take them as one observation",
            together.sample_ids.len(),
            together.name,
            excerpt(&together.sample_ids),
            together.clusters.first().unwrap_or(&together.name)
        );
        found.push(Finding { severity: code.severity(), sample_id: None, code, message });
    }
}

/// The first few of many names.
fn excerpt(names: &[String]) -> String {
    const MOST: usize = 5;
    let shown: Vec<_> = names.iter().take(MOST).map(String::as_str).collect();
    let more = names.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn check_size(dataset: &GoldenDataset, found: &mut Vec<Finding>) {
    let mut add = |code: FindingCode, message| {
        found.push(Finding { severity: code.severity(), sample_id: None, code, message });
    };
    let samples = dataset.asked().count();
    if samples == 0 {
        let message = match dataset.samples.len() {
            0 => "there are no samples; add some with `clara golden add`".to_owned(),
            all => format!(
                "all {all} samples are held out, so that none is asked; take `held_out` from most of them"
            ),
        };
        add(FindingCode::NoSamples, message);
        return;
    }
    if samples < MIN_SAMPLES {
        let message = format!(
            "{} asked; with fewer than {MIN_SAMPLES} the gate stays inconclusive in bounds mode, add {} more",
            counted(samples, "sample"),
            MIN_SAMPLES - samples
        );
        add(FindingCode::FewSamples, message);
    }
    for difficulty in Difficulty::ALL {
        let count = dataset.asked().filter(|sample| sample.difficulty == difficulty).count() as u64;
        if count < MIN_SAMPLES_PER_DIFFICULTY {
            let message = format!(
                "{} of difficulty {difficulty} asked; expected at least {MIN_SAMPLES_PER_DIFFICULTY} to see how the adapter \
                 does there",
                counted(count, "sample")
            );
            add(FindingCode::ThinDifficulty, message);
        }
    }
}
