//! Decides: scores and a policy in, a decision with its reasons out.

use super::{
    Decision, GateInput, GateMode, GatePolicy, GateReport, Reason, ReasonCode,
    evidence::{Evidence, ROUNDING, reaches},
    rules::{Case, mean_reason},
};

/// Decides about a version. The same policy and input give the same report.
pub fn decide(policy: &GatePolicy, input: &GateInput) -> GateReport {
    let evidence = Evidence::of(policy, input);
    let (decision, reasons) = match broken(&evidence, policy, input) {
        Some(reason) => (Decision::Error, vec![reason]),
        None => match policy.mode {
            GateMode::Point => decide_by_mean(&evidence, policy),
            GateMode::Bounds => Case { policy, input, evidence: &evidence }.decide(),
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
        evidence: evidence.more,
    }
}

/// Why nothing can be said about the version, in either mode.
fn broken(evidence: &Evidence, policy: &GatePolicy, input: &GateInput) -> Option<Reason> {
    let all = u64::from(evidence.scored) + u64::from(input.unscored);
    if evidence.scored == 0 {
        let text = format!("none of {all} samples has a score; look at the judge's replies in replies.jsonl");
        return Some(ReasonCode::NothingScored.because(text));
    }
    let share = f64::from(input.unscored) / (f64::from(evidence.scored) + f64::from(input.unscored));
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

/// Point mode: the mean alone.
fn decide_by_mean(evidence: &Evidence, policy: &GatePolicy) -> (Decision, Vec<Reason>) {
    let mean = evidence.mean.unwrap_or(f64::NAN);
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
