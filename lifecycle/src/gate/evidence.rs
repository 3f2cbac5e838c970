//! The figures that a decision rests on, computed once from the scores.

use super::{GateEvidence, GateInput, GatePolicy, GateSample, PairedDelta, Stratum};
use crate::{
    golden::Difficulty,
    statistics::{self, Bounds, Clustered, RESAMPLES},
};

/// Rounding of a mean; a score this close to a threshold reaches it.
pub(super) const ROUNDING: f64 = 1e-9;

/// The figures that the decision rests on.
pub(super) struct Evidence {
    pub(super) scored: u32,
    pub(super) mean: Option<f64>,
    pub(super) deviation: Option<f64>,
    pub(super) standard_error: Option<f64>,
    pub(super) bounds: Option<Bounds>,
    pub(super) pass_rate: Option<f64>,
    /// Samples that are scored for candidate and champion both.
    pub(super) pairs: u32,
    pub(super) champion_delta: Option<PairedDelta>,
    pub(super) more: GateEvidence,
}

impl Evidence {
    pub(super) fn of(policy: &GatePolicy, input: &GateInput) -> Self {
        let samples = &input.samples;
        let pass_or_fail =
            |sample: &GateSample| if reaches(sample.score, policy.pass_at) { 1.0 } else { 0.0 };
        let passes: Vec<f64> = samples.iter().map(pass_or_fail).collect();
        let scores = Clustered::new(samples.iter().map(|sample| (sample.score, sample.cluster())));
        let bounds = scores.as_ref().and_then(|scores| scores.bounds(RESAMPLES, policy.seed));
        let differences = Clustered::new(
            samples.iter().filter_map(|sample| Some((sample.score - sample.champion?, sample.cluster()))),
        );
        let delta = differences.as_ref().and_then(|differences| differences.bounds(RESAMPLES, policy.seed));
        let more = GateEvidence {
            clusters: whole(scores.as_ref().map_or(0, Clustered::clusters)),
            effective_samples: scores.as_ref().map(Clustered::effective_size),
            strata: strata(policy, samples),
            hard_failures: whole(samples.iter().filter(|sample| !sample.hard_failures.is_empty()).count()),
            injections: whole(samples.iter().filter(|sample| sample.is_injection).count()),
            evaluations: input.evaluations,
            standing: input.standing.clone(),
        };
        Self {
            scored: whole(samples.len()),
            mean: scores.as_ref().map(Clustered::mean),
            deviation: scores.as_ref().and_then(|scores| statistics::standard_deviation(scores.values())),
            standard_error: scores.as_ref().and_then(Clustered::standard_error),
            bounds: bounds.map(|bounds| within(bounds, 0.0, 100.0)),
            pass_rate: statistics::mean(&passes),
            pairs: whole(differences.as_ref().map_or(0, |differences| differences.values().len())),
            champion_delta: delta.map(paired_delta),
            more,
        }
    }
}

impl GateSample {
    fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }
}

fn strata(policy: &GatePolicy, samples: &[GateSample]) -> Vec<Stratum> {
    let stratum = |difficulty| {
        let of_level = samples.iter().filter(|sample| sample.difficulty == difficulty);
        let scores = Clustered::new(of_level.map(|sample| (sample.score, sample.cluster())))?;
        let bounds = scores.bounds(RESAMPLES, policy.seed).map(|bounds| within(bounds, 0.0, 100.0));
        Some(Stratum {
            difficulty,
            samples: whole(scores.values().len()),
            mean: scores.mean(),
            lower_bound: bounds.map(|bounds| bounds.lower),
            upper_bound: bounds.map(|bounds| bounds.upper),
        })
    };
    Difficulty::ALL.into_iter().filter_map(stratum).collect()
}

fn paired_delta(bounds: Bounds) -> PairedDelta {
    let Bounds { mean, lower, upper } = within(bounds, -100.0, 100.0);
    PairedDelta { mean, lower_bound: lower, upper_bound: upper }
}

/// Whether `value` is at or above `threshold`, rounding aside.
pub(crate) fn reaches(value: f64, threshold: f64) -> bool {
    value + ROUNDING >= threshold
}

fn within(bounds: Bounds, least: f64, greatest: f64) -> Bounds {
    Bounds { lower: bounds.lower.max(least), upper: bounds.upper.min(greatest), ..bounds }
}

fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
