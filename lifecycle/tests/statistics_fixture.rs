//! Our statistics against values that `SciPy` computed (`fixtures/README.md`).

use clara_lifecycle::statistics::{
    RESAMPLES, bootstrap_bounds, mean, minimum_detectable_effect, standard_deviation, student_t_quantile,
    t_bounds, wilson_interval,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    samples: Vec<Sample>,
    rates: Vec<Rate>,
    t_quantiles: Vec<Quantile>,
    detectable_effects: Vec<Detectable>,
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
struct Detectable {
    standard_deviation: f64,
    samples: usize,
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
        let bounds = t_bounds(&sample.values).unwrap();
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
        // For six values the tails of the studentised mean are too heavy for a tight comparison.
        let tolerance = if sample.values.len() < 10 { 0.5 } else { 0.15 } * sample.standard_error;
        for seed in [1, 42, 4711] {
            let bounds = bootstrap_bounds(&sample.values, RESAMPLES, seed).unwrap();
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
fn detectable_effects_agree_with_scipy() {
    for effect in fixture().unwrap().detectable_effects {
        let ours = minimum_detectable_effect(effect.standard_deviation, effect.samples).unwrap();
        assert!(close(ours, effect.effect, 1e-9), "{ours} is not {}", effect.effect);
    }
}
