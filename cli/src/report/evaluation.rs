//! The report of an evaluation: the gate's decision and every sample.

use clara_lifecycle::{
    gate::{Decision, GateReport},
    score::{Evaluation, SampleScore},
};

use super::{Case, Outcome, Report};
use crate::figures;

const ANSWER_CHARS: usize = 300;

/// The report of `evaluation`, with the gate's decision where there is one.
pub(crate) fn of_evaluation(evaluation: &Evaluation, gate: Option<&GateReport>) -> Report {
    let summary = &evaluation.summary;
    let judges: Vec<_> = evaluation.judges().iter().map(|judge| judge.judge_id.as_str()).collect();
    let mut facts = vec![
        ("adapter", summary.adapter_id.clone()),
        ("golden dataset", summary.golden_dataset_id.clone()),
        ("judge", judges.join(", ")),
        ("evaluated", summary.evaluated_at.clone()),
        ("score", figures::number(summary.average_score, 1)),
        ("pass rate", figures::percent(summary.pass_rate.map(|percent| percent / 100.0))),
    ];
    if let Some(gate) = gate {
        let bounds = [gate.lower_bound, gate.upper_bound].map(|bound| figures::number(bound, 1));
        facts.push(("95 % bounds", bounds.join(" to ")));
        facts.push(("decision", gate.decision.to_string()));
    }
    let mut cases: Vec<_> = gate.map(decision_case).into_iter().collect();
    cases.extend(evaluation.results.iter().map(sample_case));
    cases.extend(evaluation.unscored.iter().map(|unscored| Case {
        group: "sample",
        name: unscored.sample_id.clone(),
        outcome: Outcome::Broken(format!("no score, {}: {}", unscored.reason, unscored.detail)),
    }));
    Report {
        title: format!("Evaluation of {}", summary.adapter_id),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        cases,
    }
}

fn decision_case(gate: &GateReport) -> Case {
    let reasons: Vec<_> =
        gate.reasons.iter().map(|reason| format!("{}: {}", reason.code, reason.text)).collect();
    let said = format!("{}\n{}", gate.decision, reasons.join("\n"));
    let outcome = match gate.decision {
        Decision::Approve => Outcome::Passed(said),
        Decision::Review | Decision::Reject => Outcome::Failed(said),
        Decision::Inconclusive | Decision::Error => Outcome::Broken(said),
    };
    Case { group: "gate", name: "decision".to_owned(), outcome }
}

fn sample_case(score: &SampleScore) -> Case {
    let criteria: Vec<_> =
        score.criteria_scores.iter().map(|(criterion, score)| format!("{criterion} {score:.1}")).collect();
    let mut said = format!("score {:.1} ({})", score.overall_score, criteria.join(", "));
    for check in &score.details.checks {
        said = format!("{said}\n{}: {}", check.code, check.text);
    }
    let outcome = if score.passed {
        Outcome::Passed(said)
    } else {
        let answer = figures::excerpt(&score.adapter_output, ANSWER_CHARS);
        Outcome::Failed(format!("{said}\nanswer: {answer}"))
    };
    Case { group: "sample", name: score.sample_id.clone(), outcome }
}
