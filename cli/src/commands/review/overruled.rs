//! What the approval of a version overrules: the gate's decision, its reasons, and answers that nobody looked at.

use anyhow::{Result, bail};
use clara_lifecycle::{
    counted::counted,
    gate::{Decision, GateReport},
};

use crate::{client::Client, session::Session};

/// Tells what the gate said of a version that is about to be approved, and how much of it the reviewer has seen.
///
/// # Errors
/// When the gate said `reject` or `error` and the reviewer does not approve despite it.
pub(super) async fn tell(
    session: &Session,
    client: &Client,
    (adapter, reviewer): (&str, &str),
    despite_gate: bool,
) -> Result<()> {
    let version = client.adapter(adapter).await?.version;
    let adapter_id = &version.adapter_id;
    let Some(record) = &version.evaluation else {
        session.output.note(format!("no decision of a gate is recorded with {adapter_id}"));
        return Ok(());
    };
    let report = &record.report;
    if report.decision == Decision::Approve {
        return Ok(());
    }
    session.output.note(said(adapter_id, report));
    session.output.note(match client.review_sheet(adapter_id, reviewer).await {
        Ok(sheet) => {
            let seen = sheet.lines.iter().filter(|line| line.seen).count();
            format!("  {reviewer} has seen {seen} of {}", counted(sheet.lines.len(), "answer"))
        }
        Err(error) => format!("  how many answers {reviewer} has seen cannot be told: {error}"),
    });
    if needs_flag(report.decision) && !despite_gate {
        bail!(
            "the gate said `{}` of {adapter_id}, so it is not approved; look at it with `clara review show {adapter_id}`, \
             and approve it all the same with --despite-gate",
            report.decision
        );
    }
    Ok(())
}

fn needs_flag(decision: Decision) -> bool {
    matches!(decision, Decision::Reject | Decision::Error)
}

/// The gate's decision with its reasons, and what cannot be seen from the score.
fn said(adapter_id: &str, report: &GateReport) -> String {
    let mut lines = vec![format!("the gate said `{}` of {adapter_id}:", report.decision)];
    lines.extend(report.reasons.iter().map(|reason| format!("  {}: {}", reason.code, reason.text)));
    lines.push(format!(
        "  {}, {} without a score",
        counted(report.evidence.hard_failures, "hard failure"),
        counted(report.unscored, "answer")
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clara_lifecycle::gate::{GateEvidence, GateMode, Reason};

    use super::*;

    #[test]
    fn an_approval_is_told_what_the_gate_found() {
        let report = GateReport {
            decision: Decision::Error,
            reasons: vec![Reason { code: "canary_failed".to_owned(), text: "the judge is off".to_owned() }],
            mode: GateMode::Point,
            mean: None,
            lower_bound: None,
            upper_bound: None,
            scored: 35,
            unscored: 1,
            pass_rate: None,
            champion_delta: None,
            evidence: GateEvidence { hard_failures: 3, ..GateEvidence::default() },
        };
        assert_eq!(
            said("law-lora-v1.0.0", &report),
            "the gate said `error` of law-lora-v1.0.0:\n  canary_failed: the judge is off\n  \
             3 hard failures, 1 answer without a score"
        );
    }

    #[test]
    fn only_a_void_or_bad_judgement_needs_the_flag() {
        for decision in [Decision::Reject, Decision::Error] {
            assert!(needs_flag(decision), "{decision}");
        }
        for decision in [Decision::Approve, Decision::Review, Decision::Inconclusive] {
            assert!(!needs_flag(decision), "{decision}");
        }
    }
}
