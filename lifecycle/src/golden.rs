//! Golden datasets: the prompts and expected outputs that every version of an adapter is judged with.

mod checks;
mod diff;
mod lint;
mod rotate;
mod stored;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    id::{Domain, GoldenDatasetId, GoldenReference},
};

pub use checks::AnswerChecks;
pub use diff::{FieldChange, GoldenDiff, SampleChange};
pub use lint::{Finding, FindingCode, MIN_SAMPLES, MIN_SAMPLES_PER_DIFFICULTY, Severity};

/// A golden dataset in one version. A frozen version never changes; a job pins it by [`Self::digest`].
///
/// Its JSON is one object with the samples inline; `total_samples` and `difficulty_distribution` are written
/// there too, always counted afresh, and ignored when read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "stored::StoredDataset", into = "stored::StoredDataset")]
pub struct GoldenDataset {
    /// Its name across versions.
    pub dataset_id: GoldenDatasetId,
    /// The field of knowledge that it examines.
    pub domain: Domain,
    /// Its version.
    pub version: Version,
    /// What it is, for people.
    pub description: String,
    /// The samples, in the order in which they are asked.
    pub samples: Vec<GoldenSample>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// Free tags.
    pub tags: Vec<String>,
}

/// One prompt with the output that is expected for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenSample {
    /// Unique within the dataset; where it is missing in a file, `{dataset_id}-{n}` is given.
    #[serde(default)]
    pub sample_id: String,
    /// The field of knowledge; where it is missing in a file, the dataset's.
    #[serde(default)]
    pub domain: String,
    /// What is asked.
    pub prompt: String,
    /// Text that is given along with the prompt, such as a case or the wording of a law.
    #[serde(default)]
    pub context: Option<String>,
    /// The reference that answers are compared with.
    pub expected_output: String,
    /// Score (0–1) that the expected output itself would earn; 1 for a complete model answer.
    #[serde(default = "full_score")]
    pub expected_score: f64,
    /// Free tags, e.g. the topic.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How hard it is.
    #[serde(default)]
    pub difficulty: Difficulty,
    /// When it was made, RFC 3339; where it is missing in a file, the dataset's.
    #[serde(default)]
    pub created_at: String,
    /// Where it came from.
    #[serde(default = "manual")]
    pub source: String,
    /// Notes for the judge by criterion, e.g. `accuracy`: "must name § 35 BauGB".
    #[serde(default)]
    pub criteria: BTreeMap<String, String>,
    /// What it belongs to, e.g. its statute: confidence bounds take a cluster as one observation. Without it the sample
    /// stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What an answer must hold, whatever the judge thinks.
    #[serde(default, skip_serializing_if = "AnswerChecks::is_empty")]
    pub checks: AnswerChecks,
    /// Kept back: not asked in this version, so that a later one can examine with it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub held_out: bool,
}

/// How hard a golden sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difficulty {
    /// A look into one provision answers it.
    Easy,
    /// Needs an ordinary amount of reasoning.
    #[default]
    Medium,
    /// Needs several provisions or weighing.
    Hard,
}

/// A text that names no difficulty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a difficulty; expected easy, medium or hard")]
pub struct UnknownDifficulty {
    /// The text as given.
    pub found: String,
}

impl Difficulty {
    /// All difficulties, the easiest first.
    pub const ALL: [Self; 3] = [Self::Easy, Self::Medium, Self::Hard];

    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
        }
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Difficulty {
    type Err = UnknownDifficulty;

    fn from_str(text: &str) -> Result<Self, UnknownDifficulty> {
        Self::ALL
            .into_iter()
            .find(|difficulty| difficulty.as_str() == text)
            .ok_or_else(|| UnknownDifficulty { found: text.to_owned() })
    }
}

impl GoldenDataset {
    /// A dataset without samples, in version 1.0.0. `created_at` is RFC 3339.
    pub fn new(dataset_id: GoldenDatasetId, domain: Domain, created_by: String, created_at: String) -> Self {
        Self {
            dataset_id,
            domain,
            version: Version::new(1, 0, 0),
            description: String::new(),
            samples: Vec::new(),
            created_at,
            created_by,
            tags: Vec::new(),
        }
    }

    /// Appends a sample and returns its id. An empty `sample_id` becomes `{dataset_id}-{n}` with the first
    /// free `n` after the number of samples, an empty `domain` the dataset's.
    pub fn add(&mut self, sample: GoldenSample) -> String {
        self.samples.push(sample);
        self.fill_in();
        self.samples.last().map(|sample| sample.sample_id.clone()).unwrap_or_default()
    }

    /// How the dataset is pinned: `id@version`.
    pub fn reference(&self) -> GoldenReference {
        GoldenReference { id: self.dataset_id.clone(), version: Some(self.version.clone()) }
    }

    /// The sample called `sample_id`.
    pub fn sample(&self, sample_id: &str) -> Option<&GoldenSample> {
        self.samples.iter().find(|sample| sample.sample_id == sample_id)
    }

    /// The samples that are asked: all that are not held out, in their order.
    pub fn asked(&self) -> impl Iterator<Item = &GoldenSample> {
        self.samples.iter().filter(|sample| !sample.held_out)
    }

    /// How many samples there are of each difficulty; all three are listed.
    pub fn difficulty_distribution(&self) -> BTreeMap<Difficulty, u64> {
        let mut counts: BTreeMap<_, _> =
            Difficulty::ALL.into_iter().map(|difficulty| (difficulty, 0)).collect();
        for sample in &self.samples {
            *counts.entry(sample.difficulty).or_insert(0) += 1;
        }
        counts
    }

    /// Digest of everything that can change an evaluation: id, version, domain, and each sample in its order.
    ///
    /// Description, tags of the dataset, author and all `created_at` are left out: the same content imported
    /// again, at another time by someone else, has the same digest.
    pub fn digest(&self) -> Digest {
        let mut parts = vec![
            ("dataset_id", self.dataset_id.as_str().as_bytes().to_vec()),
            ("version", self.version.to_string().into_bytes()),
            ("domain", self.domain.as_str().as_bytes().to_vec()),
        ];
        for sample in &self.samples {
            sample.append_parts(&mut parts);
        }
        Digest::of_parts(parts.iter().map(|(label, content)| (*label, content.as_slice())))
    }

    /// Everything that is wrong or weak, in the order of the samples.
    pub fn lint(&self) -> Vec<Finding> {
        lint::lint(self)
    }

    fn fill_in(&mut self) {
        let mut taken: BTreeSet<String> =
            self.samples.iter().map(|sample| sample.sample_id.clone()).collect();
        for (index, sample) in self.samples.iter_mut().enumerate() {
            if sample.sample_id.is_empty() {
                let mut number = index + 1;
                while taken.contains(&format!("{}-{number}", self.dataset_id)) {
                    number += 1;
                }
                sample.sample_id = format!("{}-{number}", self.dataset_id);
                taken.insert(sample.sample_id.clone());
            }
            if sample.domain.is_empty() {
                self.domain.as_str().clone_into(&mut sample.domain);
            }
            if sample.created_at.is_empty() {
                sample.created_at.clone_from(&self.created_at);
            }
        }
    }
}

impl GoldenSample {
    /// A sample of medium difficulty, to be filled in by the dataset that takes it.
    pub fn new(prompt: String, expected_output: String) -> Self {
        Self {
            sample_id: String::new(),
            domain: String::new(),
            prompt,
            context: None,
            expected_output,
            expected_score: full_score(),
            tags: Vec::new(),
            difficulty: Difficulty::default(),
            created_at: String::new(),
            source: manual(),
            criteria: BTreeMap::new(),
            cluster: None,
            checks: AnswerChecks::default(),
            held_out: false,
        }
    }

    /// Every part carries its label and its length, and `sample` opens a sample: two different samples
    /// never give the same parts.
    fn append_parts(&self, parts: &mut Vec<(&'static str, Vec<u8>)>) {
        let mut add = |label, content: &str| parts.push((label, content.as_bytes().to_vec()));
        add("sample", &self.sample_id);
        add("domain", &self.domain);
        add("prompt", &self.prompt);
        if let Some(context) = &self.context {
            add("context", context);
        }
        add("expected_output", &self.expected_output);
        add("difficulty", self.difficulty.as_str());
        add("source", &self.source);
        for tag in &self.tags {
            add("tag", tag);
        }
        for (criterion, note) in &self.criteria {
            add("criterion", criterion);
            add("note", note);
        }
        if let Some(cluster) = &self.cluster {
            add("cluster", cluster);
        }
        self.checks.append_parts(&mut add);
        if self.held_out {
            add("held_out", "true");
        }
        parts.push(("expected_score", self.expected_score.to_le_bytes().to_vec()));
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn full_score() -> f64 {
    1.0
}

fn manual() -> String {
    "manual".to_owned()
}
