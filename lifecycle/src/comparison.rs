//! Two evaluations beside each other: paired by sample, with the significance of their difference.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    score::{Criterion, Evaluation, JudgeIdentity, SampleScore},
    statistics::{Clustered, PairedTest, mean},
};

/// Two-sided level from which on a difference counts as shown.
const LEVEL: f64 = 0.05;
/// A sample that changes by so many points (0–100) is listed.
const NOTABLE: f64 = 10.0;

/// How a comparison is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComparisonOptions {
    /// How many points (0–100) worse the candidate may be.
    pub margin: f64,
    /// Seed of the resampling.
    pub seed: u64,
    /// Compares although dataset or judge differ.
    pub force: bool,
}

/// Candidate beside baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What the figures say.
    pub verdict: ComparisonVerdict,
    /// The version under test.
    pub candidate: Side,
    /// The version that it is compared with.
    pub baseline: Side,
    /// How many points worse the candidate may be.
    pub margin: f64,
    /// Difference of the overall scores (0–100) on the samples that both have; absent below two clusters.
    pub delta: Option<PairedTest>,
    /// Mean difference by criterion (0–10).
    pub criteria: BTreeMap<Criterion, f64>,
    /// Samples that got worse by ten points or no longer pass, the worst first.
    pub regressions: Vec<SampleChange>,
    /// Samples that got better by ten points or pass now, the best first.
    pub improvements: Vec<SampleChange>,
    /// Samples that only one side has a score for.
    pub unpaired: Vec<String>,
    /// Why the comparison was refused without `force`.
    pub differences: Vec<String>,
}

/// What a comparison says about the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonVerdict {
    /// Better, by a difference that is shown.
    Better,
    /// Not worse by more than the margin.
    NotWorse,
    /// Worse, by a difference that is shown and may exceed the margin.
    Worse,
    /// Too little evidence.
    Inconclusive,
}

/// One of the two evaluations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The version.
    pub adapter_id: String,
    /// The golden dataset as `id@version`.
    pub golden_dataset: String,
    /// Its judges.
    pub judges: Vec<String>,
    /// When, RFC 3339.
    pub evaluated_at: String,
    /// Mean overall score on the paired samples.
    pub mean: Option<f64>,
}

/// One sample on both sides; scores are 0–100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleChange {
    /// The golden sample.
    pub sample_id: String,
    /// Score of the candidate.
    pub candidate: f64,
    /// Score of the baseline.
    pub baseline: f64,
    /// Candidate − baseline.
    pub change: f64,
    /// Whether the candidate passes.
    pub candidate_passed: bool,
    /// Whether the baseline passes.
    pub baseline_passed: bool,
}

/// Evaluations whose scores do not compare.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// Another dataset or another judge.
    #[error("the evaluations do not compare: {}; judge both alike, or compare all the same with --force", .0.join("; "))]
    Differs(Vec<String>),
    /// Nothing to pair.
    #[error("no sample has a score on both sides; compare evaluations of the same golden dataset")]
    NoPairs,
}

impl Comparison {
    /// Compares `candidate` with `baseline`.
    ///
    /// # Errors
    /// [`Incomparable`] when golden dataset or judge differ (unless forced), or no sample has both scores.
    pub fn of(
        candidate: &Evaluation,
        baseline: &Evaluation,
        options: ComparisonOptions,
    ) -> Result<Self, Incomparable> {
        let differences = differences(candidate, baseline);
        if !differences.is_empty() && !options.force {
            return Err(Incomparable::Differs(differences));
        }
        let pairs = Pairs::of(candidate, baseline);
        if pairs.pairs.is_empty() {
            return Err(Incomparable::NoPairs);
        }
        let delta = pairs.differences().and_then(|differences| PairedTest::of(&differences, options.seed));
        let (regressions, improvements) = pairs.changes();
        Ok(Self {
            verdict: verdict(delta.as_ref(), options.margin),
            candidate: pairs.side(candidate, |pair| pair.0.overall_score),
            baseline: pairs.side(baseline, |pair| pair.1.overall_score),
            margin: options.margin,
            delta,
            criteria: pairs.criteria(),
            regressions,
            improvements,
            unpaired: pairs.unpaired,
            differences,
        })
    }
}

impl fmt::Display for ComparisonVerdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Better => "better",
            Self::NotWorse => "not worse",
            Self::Worse => "worse",
            Self::Inconclusive => "inconclusive",
        })
    }
}

fn verdict(delta: Option<&PairedTest>, margin: f64) -> ComparisonVerdict {
    match delta {
        Some(delta) if delta.p_value < LEVEL && delta.mean > 0.0 => ComparisonVerdict::Better,
        Some(delta) if delta.lower_bound > -margin => ComparisonVerdict::NotWorse,
        Some(delta) if delta.p_value < LEVEL => ComparisonVerdict::Worse,
        Some(_) | None => ComparisonVerdict::Inconclusive,
    }
}

/// What makes scores of two evaluations differ, besides the answers.
fn differences(candidate: &Evaluation, baseline: &Evaluation) -> Vec<String> {
    let mut found = Vec::new();
    let (ours, theirs) = (&candidate.summary.golden_dataset_id, &baseline.summary.golden_dataset_id);
    let digests = candidate.golden_digest.as_ref().zip(baseline.golden_digest.as_ref());
    match digests {
        Some((ours, theirs)) if ours != theirs => {
            found.push(format!("the golden dataset has the digest {} and {}", ours.short(), theirs.short()));
        }
        None if ours != theirs => found.push(format!("the golden dataset is {ours} and {theirs}")),
        Some(_) | None => {}
    }
    let judges =
        |evaluation: &Evaluation| -> BTreeSet<_> { evaluation.judges().iter().map(judge_of).collect() };
    let (ours, theirs) = (judges(candidate), judges(baseline));
    if ours != theirs {
        let names = |judges: &BTreeSet<(String, String, String)>| {
            judges.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>().join(", ")
        };
        let (ours, theirs) = (names(&ours), names(&theirs));
        found.push(if ours == theirs {
            format!("the judge {ours} had another prompt or rubric")
        } else {
            format!("the judge is {ours} and {theirs}")
        });
    }
    found
}

fn judge_of(judge: &JudgeIdentity) -> (String, String, String) {
    (judge.judge_id.clone(), judge.prompt_digest.to_string(), judge.rubric_digest.to_string())
}

/// The samples that both sides scored, and the others.
struct Pairs<'a> {
    pairs: Vec<(&'a SampleScore, &'a SampleScore)>,
    unpaired: Vec<String>,
}

impl<'a> Pairs<'a> {
    /// A sample pairs when id, prompt and expected output are the same: under `force` the datasets may differ.
    fn of(candidate: &'a Evaluation, baseline: &'a Evaluation) -> Self {
        let mut theirs: BTreeMap<_, _> =
            baseline.results.iter().map(|score| (score.sample_id.as_str(), score)).collect();
        let (mut pairs, mut unpaired) = (Vec::new(), Vec::new());
        for ours in &candidate.results {
            match theirs.remove(ours.sample_id.as_str()) {
                Some(other)
                    if ours.prompt == other.prompt && ours.expected_output == other.expected_output =>
                {
                    pairs.push((ours, other));
                }
                Some(_) | None => unpaired.push(ours.sample_id.clone()),
            }
        }
        unpaired.extend(theirs.into_keys().map(str::to_owned));
        Self { pairs, unpaired }
    }

    fn differences(&self) -> Option<Clustered> {
        Clustered::new(
            self.pairs
                .iter()
                .map(|(ours, theirs)| (ours.overall_score - theirs.overall_score, ours.cluster.as_deref())),
        )
    }

    fn side(&self, evaluation: &Evaluation, score: fn(&(&SampleScore, &SampleScore)) -> f64) -> Side {
        Side {
            adapter_id: evaluation.summary.adapter_id.clone(),
            golden_dataset: evaluation.summary.golden_dataset_id.clone(),
            judges: evaluation.judges().iter().map(|judge| judge.judge_id.clone()).collect(),
            evaluated_at: evaluation.summary.evaluated_at.clone(),
            mean: mean(&self.pairs.iter().map(score).collect::<Vec<_>>()),
        }
    }

    fn criteria(&self) -> BTreeMap<Criterion, f64> {
        let mut changes = BTreeMap::<Criterion, Vec<f64>>::new();
        for (ours, theirs) in &self.pairs {
            let of_baseline: BTreeMap<_, _> = theirs.criteria_scores.iter().collect();
            for (criterion, score) in ours.criteria_scores.iter() {
                if let Some(before) = of_baseline.get(&criterion) {
                    changes.entry(criterion).or_default().push(score - before);
                }
            }
        }
        changes.into_iter().filter_map(|(criterion, changes)| Some((criterion, mean(&changes)?))).collect()
    }

    /// Regressions and improvements, each with the largest first.
    fn changes(&self) -> (Vec<SampleChange>, Vec<SampleChange>) {
        let mut changes: Vec<_> = self
            .pairs
            .iter()
            .map(|(ours, theirs)| SampleChange {
                sample_id: ours.sample_id.clone(),
                candidate: ours.overall_score,
                baseline: theirs.overall_score,
                change: ours.overall_score - theirs.overall_score,
                candidate_passed: ours.passed,
                baseline_passed: theirs.passed,
            })
            .filter(|change| {
                change.change.abs() >= NOTABLE || change.candidate_passed != change.baseline_passed
            })
            .collect();
        changes.sort_by(|a, b| a.change.total_cmp(&b.change).then_with(|| a.sample_id.cmp(&b.sample_id)));
        let (regressions, mut improvements): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| change.change < 0.0);
        improvements.reverse();
        (regressions, improvements)
    }
}
