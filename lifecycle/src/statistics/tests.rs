//! Tests of the statistics; values from outside are in `tests/statistics_fixture.rs`, coverage in `tests/coverage.rs`.

use super::{
    Bounds, Clustered, PairedTest, Rating, SplitMix64, Weighting, cohen_kappa, estimate, mean, spearman,
    standard_deviation, wilson_bounds, wilson_interval,
};

fn alone(values: &[f64]) -> Clustered {
    Clustered::alone(values).unwrap()
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
fn the_same_seed_gives_the_same_bounds() {
    let scores = alone(&[71.0, 84.0, 90.0, 62.0, 88.0, 95.0, 77.0, 81.0, 66.0, 79.0]);
    let bounds = scores.bounds(1_000, 42);
    assert_eq!(bounds, scores.bounds(1_000, 42));
    assert_ne!(bounds, scores.bounds(1_000, 43));
}

#[test]
fn equal_scores_have_no_spread() {
    let bounds = alone(&[80.0; 30]).bounds(1_000, 1);
    assert_eq!(bounds, Some(Bounds { mean: 80.0, lower: 80.0, upper: 80.0 }));
}

#[test]
fn one_odd_score_among_equal_ones_still_gives_finite_bounds() {
    let mut scores = [80.0; 30];
    scores[3] = 20.0;
    let bounds = alone(&scores).bounds(1_000, 1).unwrap();
    assert!(bounds.lower.is_finite() && bounds.upper.is_finite(), "{bounds:?}");
    assert!(bounds.lower < 78.0 && bounds.upper > 78.0, "{bounds:?}");
}

#[test]
fn bounds_need_two_clusters_and_rates_one_try() {
    assert_eq!(Clustered::alone(&[]), None);
    assert_eq!(alone(&[80.0]).bounds(100, 1), None);
    let one_cluster = Clustered::new([(80.0, Some("a")), (70.0, Some("a"))]).unwrap();
    assert_eq!(one_cluster.bounds(100, 1), None);
    assert_eq!(PairedTest::of(&one_cluster, 1), None);
    assert_eq!(standard_deviation(&[80.0]), None);
    assert_eq!(mean(&[]), None);
    assert_eq!((wilson_interval(0, 0), wilson_bounds(0, 0)), (None, None));
}

#[test]
fn repeating_every_value_within_its_cluster_tells_nothing_new() {
    let values = [71.0, 84.0, 90.0, 62.0, 88.0, 95.0, 77.0, 81.0, 70.0, 86.0, 92.0];
    let names: Vec<String> = (0..values.len()).map(|index| format!("c{index}")).collect();
    let repeated = values.iter().zip(&names).flat_map(|(value, name)| [(*value, Some(name.as_str())); 4]);
    let (once, four_times) = (alone(&values), Clustered::new(repeated).unwrap());
    assert!((four_times.effective_size() - 11.0).abs() < 1e-9, "{}", four_times.effective_size());
    let (few, many) = (once.bounds(2_000, 5).unwrap(), four_times.bounds(2_000, 5).unwrap());
    assert!(
        (few.lower - many.lower).abs() < 1e-9 && (few.upper - many.upper).abs() < 1e-9,
        "{few:?} {many:?}"
    );
    let tests = [PairedTest::of(&once, 5).unwrap(), PairedTest::of(&four_times, 5).unwrap()];
    assert!((tests[0].p_value - tests[1].p_value).abs() < 1e-12, "{tests:?}");
    assert!(
        (tests[0].minimum_detectable_effect - tests[1].minimum_detectable_effect).abs() < 1e-9,
        "{tests:?}"
    );
}

#[test]
fn few_clusters_have_bounds_at_least_as_wide_as_those_of_student() {
    let scores = alone(&[71.0, 84.0, 90.0, 62.0, 88.0]);
    let (bounds, by_t) = (scores.bounds(2_000, 3).unwrap(), scores.t_bounds().unwrap());
    assert!(bounds.lower <= by_t.lower && bounds.upper >= by_t.upper, "{bounds:?} {by_t:?}");
}

#[test]
fn a_cluster_that_outweighs_the_others_widens_the_bounds() {
    let values: Vec<f64> = (0..24).map(|index| 70.0 + f64::from(index * 7 % 24)).collect();
    let bounds_of = |name: &dyn Fn(usize) -> String| {
        let names: Vec<String> = (0..24).map(name).collect();
        let clustered =
            Clustered::new(values.iter().zip(&names).map(|(value, name)| (*value, Some(name.as_str()))));
        let clustered = clustered.unwrap();
        (clustered.clone(), clustered.bounds(2_000, 3).unwrap())
    };
    // Twelve clusters of two, and twelve of which one has thirteen values.
    let (even, even_bounds) = bounds_of(&|index| format!("c{}", index / 2));
    let (uneven, uneven_bounds) = bounds_of(&|index| format!("c{}", index.saturating_sub(12)));
    let in_errors = |clustered: &Clustered, bounds: Bounds| {
        (bounds.mean - bounds.lower) / clustered.standard_error().unwrap()
    };
    assert!(
        in_errors(&uneven, uneven_bounds) > in_errors(&even, even_bounds),
        "{even_bounds:?} {uneven_bounds:?}"
    );
}

#[test]
fn no_difference_at_all_is_certain_and_has_no_effect() {
    let test = PairedTest::of(&alone(&[0.0; 12]), 1).unwrap();
    assert_eq!(
        (test.mean, test.lower, test.upper, test.p_value, test.effect_size),
        (0.0, 0.0, 0.0, 1.0, 0.0)
    );
}

#[test]
fn raters_who_always_say_the_same_have_no_kappa_and_no_correlation() {
    assert_eq!(cohen_kappa(&[(8, 8); 5], Weighting::Quadratic), None);
    assert_eq!(cohen_kappa(&[], Weighting::Equal), None);
    assert_eq!(spearman(&[(8.0, 1.0), (8.0, 2.0)]), None);
}

#[test]
fn an_interval_holds_the_figure_and_needs_two_clusters() {
    let scores: Vec<f64> = (0..40).map(|index| f64::from(index % 10)).collect();
    let names: Vec<String> = (0..40).map(|index| format!("s{index}")).collect();
    let ratings: Vec<_> = scores
        .iter()
        .zip(&names)
        .enumerate()
        .map(|(index, (score, cluster))| Rating {
            first: *score,
            second: if index % 3 == 0 { 9.0 - score } else { *score },
            cluster,
        })
        .collect();
    let figure = |ratings: &[&Rating<'_>]| {
        spearman(&ratings.iter().map(|rating| (rating.first, rating.second)).collect::<Vec<_>>())
    };
    let found = estimate(&ratings, 7, figure).unwrap();
    let (lower, upper) = (found.lower.unwrap(), found.upper.unwrap());
    assert!(lower < found.value && found.value < upper && upper < 1.0, "{found:?}");
    assert_eq!(Some(found), estimate(&ratings, 7, figure));
    let one: Vec<_> = ratings.iter().map(|rating| Rating { cluster: "one", ..rating.clone() }).collect();
    assert_eq!(estimate(&one, 7, figure).unwrap().lower, None);
}
