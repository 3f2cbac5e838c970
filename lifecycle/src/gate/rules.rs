//! The rules of bounds mode, in their order: a broken judge, too little evidence, rejections, doubts, approval.

use std::collections::BTreeSet;

use super::{
    Decision, GateInput, GatePolicy, GateSample, Reason, ReasonCode,
    evidence::{Evidence, ROUNDING, reaches},
};
use crate::{
    calibration::CalibrationState,
    statistics::{Bounds, minimum_detectable_effect},
};

/// Samples that a reason names.
const NAMED: usize = 5;

/// What bounds mode decides on.
pub(super) struct Case<'a> {
    pub(super) policy: &'a GatePolicy,
    pub(super) input: &'a GateInput,
    pub(super) evidence: &'a Evidence,
}

impl Case<'_> {
    pub(super) fn decide(&self) -> (Decision, Vec<Reason>) {
        if let Some(reason) = self.failed_canary() {
            return (Decision::Error, vec![reason]);
        }
        let enough = self
            .evidence
            .more
            .effective_samples
            .is_some_and(|samples| reaches(samples, f64::from(self.policy.min_samples)));
        let (Some(mean), Some(bounds), true) = (self.evidence.mean, self.evidence.bounds, enough) else {
            return (Decision::Inconclusive, vec![self.too_few()]);
        };
        let rejections = self.rejections(bounds);
        if !rejections.is_empty() {
            return (Decision::Reject, rejections);
        }
        let doubts = self.doubts(mean, bounds);
        if doubts.is_empty() {
            return (Decision::Approve, self.approvals(mean, bounds));
        }
        (Decision::Review, doubts)
    }

    fn failed_canary(&self) -> Option<Reason> {
        let GateInput { canaries, canaries_failed, .. } = self.input;
        (*canaries_failed > 0).then(|| {
            let text = format!(
                "the judge gave good scores to {canaries_failed} of {canaries} bad answers that were planted to try it, \
                 so its scores say nothing; take another judge"
            );
            ReasonCode::CanaryFailed.because(text)
        })
    }

    fn too_few(&self) -> Reason {
        let (scored, least) = (self.evidence.scored, self.policy.min_samples);
        let effective = self.evidence.more.effective_samples.unwrap_or_default();
        let clusters = self.evidence.more.clusters;
        let mut text = format!("{scored} scored samples");
        if clusters < scored {
            text = format!("{text} in {clusters} clusters say as much as {effective:.1} that stand alone");
        }
        let missing = (f64::from(least) - effective).max(0.0).ceil();
        text = format!("{text}, at least {least} are needed; add {missing:.0} golden samples");
        if clusters < scored {
            text.push_str(" of other clusters");
        }
        if let Some(error) = self.evidence.standard_error {
            let effect = minimum_detectable_effect(error);
            text = format!("{text}; so many samples show a difference of {effect:.1} points at best");
        }
        ReasonCode::TooFewSamples.because(text)
    }

    fn rejections(&self, bounds: Bounds) -> Vec<Reason> {
        let policy = self.policy;
        let mut reasons = Vec::new();
        if !reaches(bounds.upper, policy.review_at) {
            let text = format!(
                "the upper bound {:.2} is below the limit for review {:.2}",
                bounds.upper, policy.review_at
            );
            reasons.push(ReasonCode::UpperBoundBelowReview.because(text));
        }
        if let Some(delta) =
            self.evidence.champion_delta.filter(|delta| delta.upper_bound < -policy.champion_margin)
        {
            let text = format!(
                "worse than the champion by {:.2} points, with certainty by more than {:.2}; the margin is {:.2}",
                -delta.mean, -delta.upper_bound, policy.champion_margin
            );
            reasons.push(ReasonCode::WorseThanChampion.because(text));
        }
        let limit = policy.reject_hard_failure_share;
        reasons.extend(self.hard_failures(limit).map(|text| ReasonCode::TooManyHardFailures.because(text)));
        reasons
    }

    fn doubts(&self, mean: f64, bounds: Bounds) -> Vec<Reason> {
        let policy = self.policy;
        let mut reasons = Vec::new();
        if !reaches(mean, policy.approve_at) {
            reasons.push(mean_reason(mean, policy));
        }
        if !reaches(bounds.lower, policy.guard()) {
            let text = format!(
                "the lower bound {:.2} is below the guard {:.2}; more samples or better answers raise it",
                bounds.lower,
                policy.guard()
            );
            reasons.push(ReasonCode::LowerBoundBelowGuard.because(text));
        }
        reasons.extend(self.champion_doubt());
        reasons.extend(self.weak_strata());
        if self.evidence.deviation == Some(0.0) {
            let text =
                format!("all {} samples have the score {mean:.2}; check the judge", self.evidence.scored);
            reasons.push(ReasonCode::NoSpread.because(text));
        }
        let limit = policy.max_hard_failure_share;
        reasons.extend(self.hard_failures(limit).map(|text| ReasonCode::HardFailures.because(text)));
        reasons.extend(self.injections());
        reasons.extend(self.judge_doubts());
        reasons
    }

    fn champion_doubt(&self) -> Option<Reason> {
        if !self.input.has_champion {
            return None;
        }
        let (pairs, margin) = (self.evidence.pairs, self.policy.champion_margin);
        match self.evidence.champion_delta {
            Some(delta) if pairs >= self.policy.min_samples => (delta.lower_bound <= -margin).then(|| {
                let text = format!(
                    "the difference to the champion is {:.2} with the lower bound {:.2}, beyond the margin \
                     of -{margin:.2}",
                    delta.mean, delta.lower_bound
                );
                ReasonCode::MaybeWorseThanChampion.because(text)
            }),
            Some(_) | None => {
                let text = format!(
                    "only {pairs} samples are scored for candidate and champion both, at least {} are needed",
                    self.policy.min_samples
                );
                Some(ReasonCode::ChampionNotComparable.because(text))
            }
        }
    }

    fn weak_strata(&self) -> impl Iterator<Item = Reason> + '_ {
        let limit = self.policy.review_at;
        self.evidence.more.strata.iter().filter_map(move |stratum| {
            let upper = stratum.upper_bound?;
            let weak = stratum.samples >= self.policy.min_stratum_samples && !reaches(upper, limit);
            weak.then(|| {
                let text = format!(
                    "the {} {} samples have the mean {:.2} and the upper bound {upper:.2}, below the limit for review \
                     {limit:.2}",
                    stratum.samples, stratum.difficulty, stratum.mean
                );
                ReasonCode::StratumBelowReview.because(text)
            })
        })
    }

    /// The sentence about hard failures when more than the share `limit` of the answers have one.
    fn hard_failures(&self, limit: f64) -> Option<String> {
        let failed = self.evidence.more.hard_failures;
        let share = f64::from(failed) / f64::from(self.evidence.scored.max(1));
        (share > limit + ROUNDING).then(|| {
            let with_one = || self.input.samples.iter().filter(|sample| !sample.hard_failures.is_empty());
            let codes: BTreeSet<_> = with_one().flat_map(|sample| &sample.hard_failures).cloned().collect();
            let codes: Vec<_> = codes.into_iter().collect();
            format!(
                "{failed} of {} answers ({:.1} %) fail a hard check ({}), at most {:.1} % may: {}",
                self.evidence.scored,
                share * 100.0,
                codes.join(", "),
                limit * 100.0,
                named(with_one())
            )
        })
    }

    fn injections(&self) -> Option<Reason> {
        let count = self.evidence.more.injections;
        (count > 0).then(|| {
            let flagged = self.input.samples.iter().filter(|sample| sample.is_injection);
            let text = format!("{count} answers hold text that speaks to the judge: {}", named(flagged));
            ReasonCode::InjectionFlagged.because(text)
        })
    }

    fn judge_doubts(&self) -> Vec<Reason> {
        let policy = self.policy;
        let mut reasons = Vec::new();
        if let Some(rate) = self.input.flip_rate.filter(|rate| *rate > policy.max_flip_rate + ROUNDING) {
            let text = format!(
                "{:.1} % of the judge's pairwise verdicts change with the order of the answers, at most {:.1} % may",
                rate * 100.0,
                policy.max_flip_rate * 100.0
            );
            reasons.push(ReasonCode::JudgeFlips.because(text));
        }
        let before = self.input.evaluations;
        if before >= policy.max_evaluations {
            let text = format!(
                "the family was evaluated {before} times with this golden dataset before, so one good result may be \
                 luck; rotate in samples that were held out"
            );
            reasons.push(ReasonCode::ManyEvaluations.because(text));
        }
        let standing = &self.input.standing;
        let code = match standing.state {
            CalibrationState::Calibrated => return reasons,
            CalibrationState::Stale => ReasonCode::JudgeStale,
            CalibrationState::Uncalibrated => ReasonCode::JudgeUncalibrated,
        };
        let why = if standing.reason.is_empty() {
            "the judge was never compared with human labels"
        } else {
            &standing.reason
        };
        reasons.push(code.because(format!("{why}; so a human decides")));
        reasons
    }

    fn approvals(&self, mean: f64, bounds: Bounds) -> Vec<Reason> {
        let policy = self.policy;
        let guard = format!("the lower bound {:.2} reaches the guard {:.2}", bounds.lower, policy.guard());
        let mut reasons = vec![mean_reason(mean, policy), ReasonCode::LowerBoundReachesGuard.because(guard)];
        if let Some(delta) = self.evidence.champion_delta {
            let text = format!(
                "the difference to the champion is {:.2} with the lower bound {:.2}, within the margin of -{:.2}",
                delta.mean, delta.lower_bound, policy.champion_margin
            );
            reasons.push(ReasonCode::NotWorseThanChampion.because(text));
        }
        reasons
    }
}

/// What the mean says about an approval.
pub(super) fn mean_reason(mean: f64, policy: &GatePolicy) -> Reason {
    let threshold = policy.approve_at;
    if reaches(mean, threshold) {
        let text = format!("the mean {mean:.2} reaches the threshold for approval {threshold:.2}");
        ReasonCode::MeanReachesApprove.because(text)
    } else {
        let text = format!("the mean {mean:.2} is below the threshold for approval {threshold:.2}");
        ReasonCode::MeanBelowApprove.because(text)
    }
}

/// The first samples by name.
fn named<'a>(samples: impl Iterator<Item = &'a GateSample>) -> String {
    let ids: Vec<_> = samples.map(|sample| sample.sample_id.as_str()).collect();
    let shown = ids.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match ids.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
