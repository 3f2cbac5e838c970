//! Tests of the statistics; values from outside are in `tests/statistics_fixture.rs`.

use super::{Bounds, SplitMix64, bootstrap_bounds, mean, standard_deviation, wilson_interval};

/// A normal variable, by Box and Muller.
fn normal(random: &mut SplitMix64) -> f64 {
    (-2.0 * (1.0 - random.unit()).ln()).sqrt() * (2.0 * std::f64::consts::PI * random.unit()).cos()
}

/// A gamma variable of scale 1, by Marsaglia and Tsang.
fn gamma(shape: f64, random: &mut SplitMix64) -> f64 {
    if shape < 1.0 {
        return gamma(shape + 1.0, random) * (1.0 - random.unit()).powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    loop {
        let x = normal(random);
        let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
        if v > 0.0 && (1.0 - random.unit()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// A score from 0 to 100 with this mean and deviation, skewed to the left as a judge's scores are: 100 times a
/// beta variable.
fn score(mean: f64, deviation: f64, random: &mut SplitMix64) -> f64 {
    let share = mean / 100.0;
    let total = share * (1.0 - share) / (deviation / 100.0).powi(2) - 1.0;
    let (hit, miss) = (gamma(share * total, random), gamma((1.0 - share) * total, random));
    100.0 * hit / (hit + miss)
}

#[test]
fn the_generator_gives_the_published_sequence() {
    // The first outputs for seed 1234567 as the authors' reference code gives them.
    let mut random = SplitMix64::new(1_234_567);
    let drawn: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
    assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
}

#[test]
fn draws_stay_below_the_limit_and_reach_all_of_it() {
    let mut random = SplitMix64::new(7);
    let mut seen = [0_u32; 5];
    for _ in 0..5_000 {
        seen[random.below(5)] += 1;
    }
    assert!(seen.iter().all(|&times| times > 850), "{seen:?}");
    assert_eq!(random.below(0), 0);
}

#[test]
fn the_lower_bound_covers_the_mean_of_skewed_scores_in_94_of_100_cases() {
    const SEED: u64 = 20_260_101;
    const ROUNDS: u32 = 10_000;
    const MEAN: f64 = 85.0;
    let mut random = SplitMix64::new(SEED);
    for (deviation, size) in [(12.0, 20), (12.0, 30), (16.0, 20), (16.0, 30)] {
        let mut covered = 0;
        for round in 0..ROUNDS {
            let scores: Vec<f64> = (0..size).map(|_| score(MEAN, deviation, &mut random)).collect();
            let bounds = bootstrap_bounds(&scores, 500, u64::from(round)).unwrap();
            covered += u32::from(bounds.lower <= MEAN);
        }
        let share = f64::from(covered) / f64::from(ROUNDS);
        assert!(
            share >= 0.94,
            "seed {SEED}, deviation {deviation}, n = {size}: holds in {share} of the cases"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_bounds() {
    let scores = [71.0, 84.0, 90.0, 62.0, 88.0, 95.0, 77.0, 81.0];
    let bounds = bootstrap_bounds(&scores, 1_000, 42);
    assert_eq!(bounds, bootstrap_bounds(&scores, 1_000, 42));
    assert_ne!(bounds, bootstrap_bounds(&scores, 1_000, 43));
}

#[test]
fn equal_scores_have_no_spread() {
    let bounds = bootstrap_bounds(&[80.0; 30], 1_000, 1);
    assert_eq!(bounds, Some(Bounds { mean: 80.0, lower: 80.0, upper: 80.0 }));
}

#[test]
fn one_odd_score_among_equal_ones_still_gives_finite_bounds() {
    let mut scores = [80.0; 30];
    scores[3] = 20.0;
    let bounds = bootstrap_bounds(&scores, 1_000, 1).unwrap();
    assert!(bounds.lower.is_finite() && bounds.upper.is_finite(), "{bounds:?}");
    assert!(bounds.lower < 78.0 && bounds.upper > 78.0, "{bounds:?}");
}

#[test]
fn bounds_need_two_values_and_rates_one_try() {
    assert_eq!(bootstrap_bounds(&[], 100, 1), None);
    assert_eq!(bootstrap_bounds(&[80.0], 100, 1), None);
    assert_eq!(standard_deviation(&[80.0]), None);
    assert_eq!(mean(&[]), None);
    assert_eq!(wilson_interval(0, 0), None);
}
