//! Tests of comparisons.

use super::{Comparison, ComparisonOptions, ComparisonVerdict, Incomparable};
use crate::{digest::Digest, samples, score::Evaluation};

const OPTIONS: ComparisonOptions = ComparisonOptions { margin: 2.0, seed: 42, force: false };

fn evaluation(adapter: &str, score_of: impl Fn(u32) -> f64) -> Evaluation {
    samples::evaluation(adapter, &(0..40).map(score_of).collect::<Vec<_>>())
}

/// Scores from 71 to 90.
fn usual(number: u32) -> f64 {
    71.0 + f64::from(number * 7 % 20)
}

fn compared(change: impl Fn(u32) -> f64) -> Comparison {
    let candidate = evaluation("v2", |number| usual(number) + change(number));
    Comparison::of(&candidate, &evaluation("v1", usual), OPTIONS).unwrap()
}

fn jitter(number: u32) -> f64 {
    f64::from(number % 5) - 2.0
}

#[test]
fn a_clear_gain_is_better_and_a_clear_loss_worse() {
    let better = compared(|number| 4.0 + jitter(number));
    assert_eq!(better.verdict, ComparisonVerdict::Better);
    let delta = better.delta.unwrap();
    assert!((delta.mean - 4.0).abs() < 1e-9 && delta.lower > 3.0 && delta.p_value < 0.001, "{delta:?}");
    assert!(delta.effect_size > 2.0, "{delta:?}");
    let worse = compared(|number| -4.0 + jitter(number));
    assert_eq!(worse.verdict, ComparisonVerdict::Worse);
}

#[test]
fn a_loss_within_the_margin_is_not_worse() {
    assert_eq!(compared(jitter).verdict, ComparisonVerdict::NotWorse);
    // Shown, and still within the margin.
    let little = compared(|number| -1.0 + jitter(number));
    assert!(little.delta.as_ref().unwrap().p_value < 0.05, "{little:?}");
    assert_eq!(little.verdict, ComparisonVerdict::NotWorse);
}

#[test]
fn a_difference_that_the_samples_cannot_show_is_inconclusive() {
    let unclear = compared(|number| -1.5 + 5.0 * jitter(number));
    assert_eq!(unclear.verdict, ComparisonVerdict::Inconclusive);
    assert!(unclear.delta.unwrap().minimum_detectable_effect > 3.0);
}

#[test]
fn samples_of_one_cluster_go_together() {
    // Two statutes: one gains, the other does not. Forty answers show nothing about statutes in general.
    let gain = |number: u32| if number.is_multiple_of(2) { 6.0 } else { 1.0 };
    assert_eq!(compared(gain).verdict, ComparisonVerdict::Better);
    let cluster = |mut evaluation: Evaluation| {
        for (index, score) in evaluation.results.iter_mut().enumerate() {
            score.cluster = Some(format!("statute {}", index % 2));
        }
        evaluation
    };
    let candidate = cluster(evaluation("v2", |number| usual(number) + gain(number)));
    let found = Comparison::of(&candidate, &cluster(evaluation("v1", usual)), OPTIONS).unwrap();
    assert_ne!(found.verdict, ComparisonVerdict::Better);
    assert_eq!(found.delta.unwrap().clusters, 2);
}

#[test]
fn regressions_and_improvements_are_named_the_largest_first() {
    let found = compared(|number| match number {
        3 => -12.0,
        5 => -30.0,
        // From 78 it still passes, so ten points are what makes it notable.
        9 => 10.0,
        // From 71 to below the limit.
        0 => -1.5,
        _ => 0.0,
    });
    let names = |changes: &[super::SampleChange]| {
        changes.iter().map(|change| change.sample_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&found.regressions), ["s5", "s3", "s0"]);
    assert_eq!(names(&found.improvements), ["s9"]);
    assert!(found.regressions[2].baseline_passed && !found.regressions[2].candidate_passed);
}

#[test]
fn another_dataset_or_judge_is_refused_unless_forced() {
    let (candidate, baseline) = (evaluation("v2", usual), evaluation("v1", usual));
    let forced = ComparisonOptions { force: true, ..OPTIONS };
    let other_golden = Evaluation { golden_digest: Some(Digest::of(b"other dataset")), ..baseline.clone() };
    let mut other_rubric = baseline.clone();
    other_rubric.judge.rubric_digest = Digest::of(b"other rubric");
    let mut other_judge = baseline.clone();
    other_judge.judge.judge_id = "another".to_owned();
    let mut unnamed = Evaluation { golden_digest: None, ..baseline };
    unnamed.summary.golden_dataset_id = "other@1.0.0".to_owned();
    let table = [
        (other_golden, "the golden dataset has the digest"),
        (other_rubric, "had another prompt or rubric"),
        (other_judge, "the judge is"),
        (unnamed, "the golden dataset is golden@1.0.0 and other@1.0.0"),
    ];
    for (baseline, expected) in table {
        let refused = Comparison::of(&candidate, &baseline, OPTIONS).unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
        let all_the_same = Comparison::of(&candidate, &baseline, forced).unwrap();
        assert_eq!(all_the_same.differences.len(), 1, "{all_the_same:?}");
    }
}

#[test]
fn only_samples_that_ask_the_same_are_paired() {
    let candidate = evaluation("v2", usual);
    let mut baseline = evaluation("v1", usual);
    baseline.results[4].prompt = "another question".to_owned();
    baseline.results.truncate(30);
    let found = Comparison::of(&candidate, &baseline, OPTIONS).unwrap();
    assert_eq!(found.delta.unwrap().pairs, 29);
    assert_eq!(found.unpaired.len(), 11);
    baseline.results.clear();
    assert_eq!(Comparison::of(&candidate, &baseline, OPTIONS), Err(Incomparable::NoPairs));
}
