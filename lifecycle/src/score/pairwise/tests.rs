//! Tests of the pairwise report.

use super::{PairwiseReport, PairwiseResult, Preference, length_controlled, sigmoid};
use crate::statistics::SplitMix64;

fn compared(candidate_first: Preference, champion_first: Preference) -> (PairwiseResult, f64) {
    (PairwiseResult { sample_id: "s".into(), candidate_first, champion_first }, 0.0)
}

#[test]
fn a_flipped_verdict_counts_as_a_tie() {
    use Preference::{Candidate, Champion, Tie};
    let compared = vec![
        compared(Candidate, Candidate),
        compared(Candidate, Champion),
        compared(Champion, Champion),
        compared(Tie, Tie),
    ];
    let report = PairwiseReport::of(compared).unwrap();
    assert!((report.win_rate - 0.5).abs() < 1e-12 && (report.flip_rate() - 0.25).abs() < 1e-12);
    assert_eq!(report.length_controlled_win_rate, None);
    assert_eq!(PairwiseReport::of(Vec::new()), None);
}

#[test]
fn a_judge_that_prefers_what_is_longer_is_seen_through() {
    // Verdicts by length alone; the candidate is longer in 32 of 40.
    let differences: Vec<f64> =
        (0..40).map(|number| if number % 5 == 0 { -300.0 } else { 300.0 } + f64::from(number)).collect();
    let verdicts: Vec<f64> = differences.iter().map(|d| if *d > 0.0 { 1.0 } else { 0.0 }).collect();
    let plain = crate::statistics::mean(&verdicts).unwrap();
    let controlled = length_controlled(&verdicts, &differences).unwrap();
    assert!((plain - 0.8).abs() < 1e-12 && (0.45..0.65).contains(&controlled), "{plain} {controlled}");
}

#[test]
fn a_better_candidate_stays_better_at_any_length() {
    let differences: Vec<f64> = (0..60).map(|number| f64::from(number % 7) * 50.0 - 150.0).collect();
    let verdicts: Vec<f64> = (0..60).map(|number| if number % 4 == 0 { 0.0 } else { 1.0 }).collect();
    let controlled = length_controlled(&verdicts, &differences).unwrap();
    assert!((controlled - 0.75).abs() < 0.03, "{controlled}");
}

#[test]
fn the_regression_finds_the_rate_that_verdicts_were_drawn_with() {
    let (seed, a, b) = (7, 0.6, 1.5);
    let mut random = SplitMix64::new(seed);
    let lengths: Vec<f64> = (0..4_000).map(|_| random.unit() * 400.0 - 100.0).collect();
    let spread = crate::statistics::standard_deviation(&lengths).unwrap();
    let verdicts: Vec<f64> = lengths
        .iter()
        .map(|length| if random.unit() < sigmoid(a + b * (length / spread).tanh()) { 1.0 } else { 0.0 })
        .collect();
    let found = length_controlled(&verdicts, &lengths).unwrap();
    assert!((found - sigmoid(a)).abs() < 0.03, "{found}, expected {}, seed {seed}", sigmoid(a));
}
