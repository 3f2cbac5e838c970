//! The gate on recorded scores: the report comes out the same to the byte, on every machine and for ever.

use clara_lifecycle::{
    calibration::JudgeStanding,
    gate::{GateInput, GateMode, GatePolicy, decide},
    score::Evaluation,
};

/// An evaluation with champion, clusters, difficulties and a failed check, as a judge-worker wrote it.
const EVALUATION: &str = include_str!("fixtures/evaluation.json");

fn report(mode: GateMode, standing: JudgeStanding) -> String {
    let evaluation: Evaluation = serde_json::from_str(EVALUATION).unwrap();
    let input = GateInput { standing, evaluations: 2, ..evaluation.gate_input() };
    let report = decide(&GatePolicy { mode, ..GatePolicy::default() }, &input);
    serde_json::to_string_pretty(&report).unwrap() + "\n"
}

#[test]
fn a_report_in_bounds_mode_is_the_same_to_the_byte() {
    let trusted = JudgeStanding::calibrated("it agrees with 40 labels".to_owned());
    assert_eq!(report(GateMode::Bounds, trusted), include_str!("fixtures/report-bounds.json"));
}

#[test]
fn a_report_in_point_mode_is_the_same_to_the_byte() {
    assert_eq!(report(GateMode::Point, JudgeStanding::default()), include_str!("fixtures/report-point.json"));
}
