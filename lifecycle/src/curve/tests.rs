//! Points come from lines and events, a training that goes back replaces them, and neighbours can become one.

use super::*;
use crate::attempt::Progress;

fn step(step: u64, loss: f64) -> CurvePoint {
    CurvePoint::Step(StepPoint { step, loss, learning_rate: 0.5, grad_norm: 2.0 * loss })
}

fn validation(step: u64, validation_loss: f64) -> CurvePoint {
    CurvePoint::Validation(ValidationPoint { step, validation_loss })
}

fn curve(points: &[CurvePoint]) -> TrainingCurve {
    let mut curve = TrainingCurve::default();
    for point in points {
        curve.add(*point);
    }
    curve
}

fn steps(curve: &TrainingCurve) -> Vec<u64> {
    curve.steps.iter().map(|point| point.step).collect()
}

fn validated(curve: &TrainingCurve) -> Vec<u64> {
    curve.validations.iter().map(|point| point.step).collect()
}

#[test]
fn lines_of_steps_and_validations_are_told_apart_by_their_fields() {
    let lines = concat!(
        r#"{"step":0,"validation_loss":3.5}"#,
        "\n\n",
        r#"{"step":1,"loss":3.25,"learning_rate":0.5,"grad_norm":6.5,"tokens":7,"target_tokens":5,"seconds":0.1}"#,
        "\n",
        r#"{"step":2,"loss":3.0,"lr":0.5,"grad_norm":6.0}"#,
    );
    let read = TrainingCurve::of_lines(lines).unwrap();
    assert_eq!(read, curve(&[validation(0, 3.5), step(1, 3.25), step(2, 3.0)]));
}

#[test]
fn a_line_that_is_no_point_is_named() {
    let (line, _) =
        TrainingCurve::of_lines("{\"step\":0,\"validation_loss\":3.5}\n{\"step\":1}\n").unwrap_err();
    assert_eq!(line, 2);
}

#[test]
fn a_training_that_goes_back_to_a_checkpoint_replaces_what_came_after_it() {
    let mut curve =
        curve(&[validation(0, 9.0), step(1, 5.0), step(2, 4.0), validation(2, 4.5), step(3, 3.0)]);
    curve.add(step(2, 4.25));
    assert_eq!((steps(&curve), validated(&curve)), (vec![1, 2], vec![0]));
    curve.add(validation(0, 8.0));
    assert_eq!((steps(&curve), validated(&curve)), (vec![], vec![0]));
}

#[test]
fn points_that_come_twice_are_kept_once() {
    let points = [step(1, 5.0), step(2, 4.0), validation(2, 4.5), step(3, 3.0)];
    let twice = [points, points].concat();
    assert_eq!(curve(&twice), curve(&points));
}

#[test]
fn a_curve_grows_with_the_progress_of_training_and_starts_anew_with_a_repetition() {
    let mut seen = TrainingCurve::default();
    let told = |stage, points: &[CurvePoint]| {
        let progress = Progress { points: points.to_vec(), ..Progress::default() };
        JobEvent::Progressed { stage, progress }
    };
    assert!(seen.see(&told(Stage::Train, &[step(1, 5.0)])));
    assert!(seen.see(&told(Stage::Train, &[step(2, 4.0), validation(2, 4.5)])));
    for nothing in [told(Stage::Train, &[]), told(Stage::Judge, &[step(7, 1.0)]), JobEvent::Submitted] {
        assert!(!seen.see(&nothing), "{nothing:?}");
    }
    assert_eq!(seen, curve(&[step(1, 5.0), step(2, 4.0), validation(2, 4.5)]));
    assert!(!seen.see(&JobEvent::Retried { from: Stage::Judge }));
    assert!(seen.see(&JobEvent::Retried { from: Stage::Train }) && seen.is_empty());
}

#[test]
fn a_thinned_curve_has_means_at_the_last_step_of_each_run() {
    let points: Vec<CurvePoint> =
        (1..).zip([1.0, 2.0, 3.0, 4.0, 8.0]).map(|(number, loss)| step(number, loss)).collect();
    let thinned = curve(&points).thinned(3);
    assert_eq!(thinned, curve(&[step(2, 1.5), step(4, 3.5), step(5, 8.0)]));
    assert_eq!(curve(&points).thinned(5), curve(&points));
    assert_eq!(steps(&curve(&points).thinned(0)), [5]);
    assert!(TrainingCurve::default().thinned(3).is_empty());
}
