//! Lines stand in the order of events, and an interrupted training goes on without gaps and repetitions.

use clara_lifecycle::curve::TrainingCurve;

use super::*;

fn steps(numbers: std::ops::RangeInclusive<u64>) -> Vec<StepRecord> {
    let record = |step: u64| StepRecord {
        step,
        loss: 1.0 / f64::from(u32::try_from(step).unwrap()),
        learning_rate: 0.1 + 0.2,
        grad_norm: 1.5,
        tokens: 7,
        target_tokens: 5,
        seconds: 0.25,
    };
    numbers.map(record).collect()
}

fn validations(after: &[u64]) -> Vec<ValidationRecord> {
    after.iter().map(|step| ValidationRecord { step: *step, loss: 2.5 }).collect()
}

#[test]
fn a_validation_stands_after_the_step_that_it_follows() {
    let lines = String::from_utf8(metrics_lines(&steps(1..=2), &validations(&[0, 1, 2])).unwrap()).unwrap();
    let expected = [
        r#"{"step":0,"validation_loss":2.5}"#,
        r#"{"step":1,"loss":1.0,"learning_rate":0.30000000000000004,"grad_norm":1.5,"tokens":7,"target_tokens":5,"seconds":0.25}"#,
        r#"{"step":1,"validation_loss":2.5}"#,
        r#"{"step":2,"loss":0.5,"learning_rate":0.30000000000000004,"grad_norm":1.5,"tokens":7,"target_tokens":5,"seconds":0.25}"#,
        r#"{"step":2,"validation_loss":2.5}"#,
    ];
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn every_line_is_a_point_of_the_curve() {
    let (steps, validations) = (steps(1..=3), validations(&[0, 2, 3]));
    let lines = String::from_utf8(metrics_lines(&steps, &validations).unwrap()).unwrap();
    let mut expected = TrainingCurve::default();
    for record in &steps {
        expected.add(record.into());
    }
    let curve = TrainingCurve::of_lines(&lines).unwrap();
    assert_eq!(curve.steps, expected.steps);
    assert_eq!(curve.validations.iter().map(|point| point.step).collect::<Vec<_>>(), [0, 2, 3]);
}

#[test]
fn a_training_that_is_resumed_repeats_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(METRICS_FILE);
    let mut first = MetricsFile::open(&path, &[], &[]).unwrap();
    first.validation(&validations(&[0])[0]).unwrap();
    for record in steps(1..=5) {
        first.step(&record).unwrap();
    }
    let whole = metrics_lines(&steps(1..=6), &validations(&[0, 4])).unwrap();
    assert!(whole.len() > std::fs::read(&path).unwrap().len());
    // The checkpoint is that of step 3.
    let mut second = MetricsFile::open(&path, &steps(1..=3), &validations(&[0])).unwrap();
    second.step(&steps(4..=4)[0]).unwrap();
    second.validation(&validations(&[4])[0]).unwrap();
    for record in steps(5..=6) {
        second.step(&record).unwrap();
    }
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn a_file_that_lacks_what_the_checkpoint_knows_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(METRICS_FILE);
    std::fs::write(&path, "{\"step\":1,\"lo").unwrap();
    MetricsFile::open(&path, &steps(1..=3), &[]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), metrics_lines(&steps(1..=3), &[]).unwrap());
}
