//! Decides: scores and a policy in, a decision with its reasons out.

use super::{
    Decision, GateInput, GateMode, GatePolicy, GateReport, PairedDelta, Reason, ReasonCode, ScoredPair,
};
use crate::statistics::{self, Bounds, RESAMPLES};

/// Rounding of a mean; a score this close to a threshold reaches it.
const ROUNDING: f64 = 1e-9;

/// Decides about a version. The same policy and input give the same report.
pub fn decide(policy: &GatePolicy, input: &GateInput) -> GateReport {
    let evidence = Evidence::of(policy, input);
    let (decision, reasons) = match evidence.broken(policy, input) {
        Some(reason) => (Decision::Error, vec![reason]),
        None => match policy.mode {
            GateMode::Point => evidence.decide_by_mean(policy),
            GateMode::Bounds => evidence.decide_by_bounds(policy, input),
        },
    };
    GateReport {
        decision,
        reasons,
        mode: policy.mode,
        mean: evidence.mean,
        lower_bound: evidence.bounds.map(|bounds| bounds.lower),
        upper_bound: evidence.bounds.map(|bounds| bounds.upper),
        scored: evidence.scored,
        unscored: input.unscored,
        pass_rate: evidence.pass_rate,
        champion_delta: evidence.champion_delta,
    }
}

/// The figures that the decision rests on.
struct Evidence {
    scored: u32,
    mean: Option<f64>,
    deviation: Option<f64>,
    bounds: Option<Bounds>,
    pass_rate: Option<f64>,
    champion_delta: Option<PairedDelta>,
}

impl Evidence {
    fn of(policy: &GatePolicy, input: &GateInput) -> Self {
        let pass_or_fail = |score: &f64| if reaches(*score, policy.pass_at) { 1.0 } else { 0.0 };
        let passes: Vec<f64> = input.scores.iter().map(pass_or_fail).collect();
        let bounds = statistics::bootstrap_bounds(&input.scores, RESAMPLES, policy.seed);
        Self {
            scored: u32::try_from(input.scores.len()).unwrap_or(u32::MAX),
            mean: statistics::mean(&input.scores),
            deviation: statistics::standard_deviation(&input.scores),
            bounds: bounds.map(|bounds| within(bounds, 0.0, 100.0)),
            pass_rate: statistics::mean(&passes),
            champion_delta: input.champion.as_deref().and_then(|pairs| paired_delta(pairs, policy.seed)),
        }
    }

    /// Why nothing can be said about the version, in either mode.
    fn broken(&self, policy: &GatePolicy, input: &GateInput) -> Option<Reason> {
        let all = u64::from(self.scored) + u64::from(input.unscored);
        if self.scored == 0 {
            let text =
                format!("none of {all} samples has a score; look at the judge's replies in replies.jsonl");
            return Some(ReasonCode::NothingScored.because(text));
        }
        let share = f64::from(input.unscored) / (f64::from(self.scored) + f64::from(input.unscored));
        (share > policy.max_unscored_share + ROUNDING).then(|| {
            let text = format!(
                "{} of {all} samples ({:.1} %) have no score, at most {:.1} % are allowed; look at the reasons \
                 in evaluation.json and judge again",
                input.unscored,
                share * 100.0,
                policy.max_unscored_share * 100.0
            );
            ReasonCode::TooManyUnscored.because(text)
        })
    }

    fn decide_by_mean(&self, policy: &GatePolicy) -> (Decision, Vec<Reason>) {
        let mean = self.mean.unwrap_or(f64::NAN);
        let reason = mean_reason(mean, policy);
        if reaches(mean, policy.approve_at) {
            (Decision::Approve, vec![reason])
        } else if reaches(mean, policy.review_at) {
            (Decision::Review, vec![reason])
        } else {
            let text = format!("the mean {mean:.2} is below the limit for review {:.2}", policy.review_at);
            (Decision::Reject, vec![ReasonCode::MeanBelowReview.because(text)])
        }
    }

    fn decide_by_bounds(&self, policy: &GatePolicy, input: &GateInput) -> (Decision, Vec<Reason>) {
        let (Some(mean), Some(bounds), true) = (self.mean, self.bounds, self.scored >= policy.min_samples)
        else {
            return (Decision::Inconclusive, vec![self.too_few(policy)]);
        };
        let rejections = self.rejections(policy, bounds);
        if !rejections.is_empty() {
            return (Decision::Reject, rejections);
        }
        let doubts = self.doubts(policy, input, mean, bounds);
        if doubts.is_empty() {
            return (Decision::Approve, self.approvals(policy, mean, bounds));
        }
        (Decision::Review, doubts)
    }

    fn too_few(&self, policy: &GatePolicy) -> Reason {
        let missing = policy.min_samples.saturating_sub(self.scored);
        let effect = self
            .deviation
            .and_then(|deviation| statistics::minimum_detectable_effect(deviation, self.scored as usize))
            .map(|effect| format!("; so many samples show a difference of {effect:.1} points at best"))
            .unwrap_or_default();
        ReasonCode::TooFewSamples.because(format!(
            "{} scored samples, at least {} are needed; add {missing} golden samples{effect}",
            self.scored, policy.min_samples
        ))
    }

    fn rejections(&self, policy: &GatePolicy, bounds: Bounds) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if !reaches(bounds.upper, policy.review_at) {
            let text = format!(
                "the upper bound {:.2} is below the limit for review {:.2}",
                bounds.upper, policy.review_at
            );
            reasons.push(ReasonCode::UpperBoundBelowReview.because(text));
        }
        if let Some(delta) = self.champion_delta.filter(|delta| delta.upper_bound < -policy.champion_margin) {
            let text = format!(
                "worse than the champion by {:.2} points, with certainty by more than {:.2}; the margin is {:.2}",
                -delta.mean, -delta.upper_bound, policy.champion_margin
            );
            reasons.push(ReasonCode::WorseThanChampion.because(text));
        }
        reasons
    }

    fn doubts(&self, policy: &GatePolicy, input: &GateInput, mean: f64, bounds: Bounds) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if !reaches(mean, policy.approve_at) {
            reasons.push(mean_reason(mean, policy));
        }
        if !reaches(bounds.lower, policy.approve_lower_bound) {
            let text = format!(
                "the lower bound {:.2} is below the guard {:.2}; more samples or better answers raise it",
                bounds.lower, policy.approve_lower_bound
            );
            reasons.push(ReasonCode::LowerBoundBelowGuard.because(text));
        }
        reasons.extend(self.champion_doubt(policy, input));
        if self.deviation == Some(0.0) {
            let text = format!("all {} samples have the score {mean:.2}; check the judge", self.scored);
            reasons.push(ReasonCode::NoSpread.because(text));
        }
        if !input.calibrated {
            let text = "the judge was never compared with human labels, so a human decides".to_owned();
            reasons.push(ReasonCode::JudgeUncalibrated.because(text));
        }
        reasons
    }

    fn champion_doubt(&self, policy: &GatePolicy, input: &GateInput) -> Option<Reason> {
        let pairs = input.champion.as_ref()?.len();
        match self.champion_delta {
            Some(delta) if pairs >= policy.min_samples as usize => (delta.lower_bound <= -policy.champion_margin)
                .then(|| {
                    let text = format!(
                        "the difference to the champion is {:.2} with the lower bound {:.2}, beyond the margin \
                         of -{:.2}",
                        delta.mean, delta.lower_bound, policy.champion_margin
                    );
                    ReasonCode::MaybeWorseThanChampion.because(text)
                }),
            Some(_) | None => {
                let text = format!(
                    "only {pairs} samples are scored for candidate and champion both, at least {} are needed",
                    policy.min_samples
                );
                Some(ReasonCode::ChampionNotComparable.because(text))
            }
        }
    }

    fn approvals(&self, policy: &GatePolicy, mean: f64, bounds: Bounds) -> Vec<Reason> {
        let guard = format!(
            "the lower bound {:.2} reaches the guard {:.2}",
            bounds.lower, policy.approve_lower_bound
        );
        let mut reasons = vec![mean_reason(mean, policy), ReasonCode::LowerBoundReachesGuard.because(guard)];
        if let Some(delta) = self.champion_delta {
            let text = format!(
                "the difference to the champion is {:.2} with the lower bound {:.2}, within the margin of -{:.2}",
                delta.mean, delta.lower_bound, policy.champion_margin
            );
            reasons.push(ReasonCode::NotWorseThanChampion.because(text));
        }
        reasons
    }
}

fn mean_reason(mean: f64, policy: &GatePolicy) -> Reason {
    let threshold = policy.approve_at;
    if reaches(mean, threshold) {
        let text = format!("the mean {mean:.2} reaches the threshold for approval {threshold:.2}");
        ReasonCode::MeanReachesApprove.because(text)
    } else {
        let text = format!("the mean {mean:.2} is below the threshold for approval {threshold:.2}");
        ReasonCode::MeanBelowApprove.because(text)
    }
}

fn paired_delta(pairs: &[ScoredPair], seed: u64) -> Option<PairedDelta> {
    let differences: Vec<f64> = pairs.iter().map(|pair| pair.candidate - pair.champion).collect();
    let bounds = within(statistics::bootstrap_bounds(&differences, RESAMPLES, seed)?, -100.0, 100.0);
    Some(PairedDelta { mean: bounds.mean, lower_bound: bounds.lower, upper_bound: bounds.upper })
}

/// Whether `value` is at or above `threshold`, rounding aside.
pub(crate) fn reaches(value: f64, threshold: f64) -> bool {
    value + ROUNDING >= threshold
}

fn within(bounds: Bounds, least: f64, greatest: f64) -> Bounds {
    Bounds { lower: bounds.lower.max(least), upper: bounds.upper.min(greatest), ..bounds }
}
