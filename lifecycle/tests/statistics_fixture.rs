//! Our statistics against values that `SciPy` computed (`fixtures/README.md`).

use clara_lifecycle::statistics::{
    Clustered, FEWEST_CLUSTERS, PairedTest, RESAMPLES, Weighting, cohen_kappa, expanded_tail, mean,
    minimum_detectable_effect, spearman, standard_deviation, student_t_quantile, wilson_interval,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    samples: Vec<Sample>,
    rates: Vec<Rate>,
    t_quantiles: Vec<Quantile>,
    tails: Vec<TailCase>,
    detectable_effects: Vec<Detectable>,
    clustered: Vec<InClusters>,
    agreements: Vec<Raters>,
}

#[derive(Deserialize)]
struct InClusters {
    name: String,
    values: Vec<f64>,
    labels: Vec<String>,
    standard_error: f64,
    t_lower: f64,
    icc: f64,
    p_value: f64,
    hedges_g: f64,
    detectable: f64,
}

#[derive(Deserialize)]
struct Raters {
    name: String,
    first: Vec<i32>,
    second: Vec<i32>,
    kappa: f64,
    quadratic_kappa: f64,
    spearman: f64,
}

#[derive(Deserialize)]
struct Sample {
    name: String,
    values: Vec<f64>,
    mean: f64,
    standard_deviation: f64,
    t_lower: f64,
    t_upper: f64,
    bootstrap: (f64, f64),
    standard_error: f64,
}

#[derive(Deserialize)]
struct Rate {
    successes: u32,
    tries: u32,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct Quantile {
    p: f64,
    degrees: f64,
    t: f64,
}

#[derive(Deserialize)]
struct TailCase {
    clusters: f64,
    tail: f64,
    expanded: f64,
}

#[derive(Deserialize)]
struct Detectable {
    standard_error: f64,
    effect: f64,
}

fn fixture() -> serde_json::Result<Fixture> {
    serde_json::from_str(include_str!("fixtures/statistics.json"))
}

fn close(ours: f64, theirs: f64, tolerance: f64) -> bool {
    (ours - theirs).abs() <= tolerance * theirs.abs().max(1.0)
}

#[test]
fn mean_deviation_and_t_bounds_agree_with_scipy() {
    for sample in fixture().unwrap().samples {
        let bounds = Clustered::alone(&sample.values).unwrap().t_bounds().unwrap();
        let pairs = [
            (mean(&sample.values).unwrap(), sample.mean),
            (standard_deviation(&sample.values).unwrap(), sample.standard_deviation),
            (bounds.lower, sample.t_lower),
            (bounds.upper, sample.t_upper),
        ];
        for (ours, theirs) in pairs {
            assert!(close(ours, theirs, 1e-9), "{}: {ours} is not {theirs}", sample.name);
        }
    }
}

#[test]
fn bootstrap_bounds_agree_within_the_noise_of_resampling() {
    for sample in fixture().unwrap().samples {
        // With so few values the bounds of Student's t may be the wider ones, which then hold.
        if sample.values.len() < FEWEST_CLUSTERS {
            continue;
        }
        let tolerance = 0.15 * sample.standard_error;
        for seed in [1, 42, 4711] {
            // More of them than the gate draws, so that the far tail is steady.
            let bounds = Clustered::alone(&sample.values).unwrap().bounds(10 * RESAMPLES, seed).unwrap();
            let (low, high) = sample.bootstrap;
            let agrees = (bounds.lower - low).abs() < tolerance && (bounds.upper - high).abs() < tolerance;
            assert!(agrees, "{}, seed {seed}: {bounds:?} is not {low} to {high}", sample.name);
        }
    }
}

#[test]
fn wilson_intervals_agree_with_scipy() {
    for rate in fixture().unwrap().rates {
        let (low, high) = wilson_interval(rate.successes, rate.tries).unwrap();
        let agrees = close(low, rate.low, 1e-9) && close(high, rate.high, 1e-9);
        assert!(agrees, "{} of {}: {low} to {high}", rate.successes, rate.tries);
    }
}

#[test]
fn t_quantiles_agree_with_scipy() {
    for quantile in fixture().unwrap().t_quantiles {
        let ours = student_t_quantile(quantile.p, quantile.degrees);
        assert!(close(ours, quantile.t, 1e-9), "p {}, {} degrees: {ours}", quantile.p, quantile.degrees);
    }
}

#[test]
fn expanded_tails_agree_with_scipy() {
    for tail in fixture().unwrap().tails {
        let ours = expanded_tail(tail.clusters, tail.tail);
        assert!(
            (ours - tail.expanded).abs() <= 5.1e-7,
            "{} of {} clusters: {ours}",
            tail.tail,
            tail.clusters
        );
    }
}

#[test]
fn detectable_effects_agree_with_scipy() {
    for effect in fixture().unwrap().detectable_effects {
        let ours = minimum_detectable_effect(effect.standard_error);
        assert!(close(ours, effect.effect, 1e-9), "{ours} is not {}", effect.effect);
    }
}

#[test]
fn errors_over_clusters_agree_with_statsmodels_and_tests_with_scipy() {
    for sample in fixture().unwrap().clustered {
        let values =
            sample.values.iter().copied().zip(sample.labels.iter().map(|label| Some(label.as_str())));
        let clustered = Clustered::new(values).unwrap();
        let test = PairedTest::of(&clustered, 42).unwrap();
        let pairs = [
            (clustered.standard_error().unwrap(), sample.standard_error),
            (clustered.t_bounds().unwrap().lower, sample.t_lower),
            (clustered.intraclass_correlation(), sample.icc),
            (test.effect_size, sample.hedges_g),
            (test.minimum_detectable_effect, sample.detectable),
        ];
        for (ours, theirs) in pairs {
            assert!(close(ours, theirs, 1e-9), "{}: {ours} is not {theirs}", sample.name);
        }
        // Up to 14 clusters both try every combination of signs.
        let tolerance = if clustered.clusters() <= 14 { 1e-9 } else { 0.01 };
        let p_value = test.p_value;
        assert!(
            (p_value - sample.p_value).abs() < tolerance,
            "{}: {p_value} is not {}",
            sample.name,
            sample.p_value
        );
    }
}

#[test]
fn agreements_agree_with_scikit_learn_and_scipy() {
    for raters in fixture().unwrap().agreements {
        let whole: Vec<_> = raters.first.iter().copied().zip(raters.second.iter().copied()).collect();
        let scores: Vec<_> =
            whole.iter().map(|(first, second)| (f64::from(*first), f64::from(*second))).collect();
        let pairs = [
            (cohen_kappa(&whole, Weighting::Equal).unwrap(), raters.kappa),
            (cohen_kappa(&whole, Weighting::Quadratic).unwrap(), raters.quadratic_kappa),
            (spearman(&scores).unwrap(), raters.spearman),
        ];
        for (ours, theirs) in pairs {
            assert!(close(ours, theirs, 1e-9), "{}: {ours} is not {theirs}", raters.name);
        }
    }
}
