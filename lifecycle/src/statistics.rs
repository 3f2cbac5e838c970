//! The statistics of the gate: means with one-sided bounds, rates, and what a sample of a size can show.

mod random;
mod student;
#[cfg(test)]
mod tests;

pub use random::SplitMix64;
pub use student::student_t_quantile;

/// Resamples of a bootstrap; its 5 % quantiles are then steady within about a tenth of a standard error.
pub const RESAMPLES: usize = 4_000;

/// The share of cases in which a one-sided bound may be wrong.
const ALPHA: f64 = 0.05;
/// 97.5 % quantile of the normal distribution.
const Z_TWO_SIDED_95: f64 = 1.959_963_984_540_054;
/// 80 % quantile of the normal distribution.
const Z_POWER_80: f64 = 0.841_621_233_572_914;

/// A mean with one-sided 95 % bounds: each holds by itself in 95 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The mean.
    pub mean: f64,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

/// The arithmetic mean; `None` for no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / count(values.len()))
}

/// The standard deviation of the population that `values` are a sample of (divisor n − 1); `None` below two.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (count(values.len()) - 1.0)).sqrt())
}

/// One-sided 95 % bounds of the mean by the studentised bootstrap (bootstrap-t).
///
/// The bounds of Student's t hold less often than they say for few, skewed scores; these hold (Efron and
/// Tibshirani, An Introduction to the Bootstrap, section 12.5). The result is a function of `values` and `seed`
/// alone. Where more than 5 % of the resamples have no spread, so that a quantile does not exist, the bounds of
/// [`t_bounds`] are given instead. `None` below two values.
pub fn bootstrap_bounds(values: &[f64], resamples: usize, seed: u64) -> Option<Bounds> {
    let mean = mean(values)?;
    let error = standard_error(values)?;
    if error == 0.0 {
        return Some(Bounds { mean, lower: mean, upper: mean });
    }
    let mut random = SplitMix64::new(seed);
    let mut statistics: Vec<f64> =
        (0..resamples.max(1)).map(|_| studentised_resample(values, mean, &mut random)).collect();
    statistics.sort_unstable_by(f64::total_cmp);
    let low = quantile(&statistics, ALPHA)?;
    let high = quantile(&statistics, 1.0 - ALPHA)?;
    if !(low.is_finite() && high.is_finite()) {
        return t_bounds(values);
    }
    Some(Bounds { mean, lower: mean - high * error, upper: mean - low * error })
}

/// One-sided 95 % bounds of the mean by Student's t; `None` below two values.
pub fn t_bounds(values: &[f64]) -> Option<Bounds> {
    let mean = mean(values)?;
    let half = student_t_quantile(1.0 - ALPHA, count(values.len()) - 1.0) * standard_error(values)?;
    Some(Bounds { mean, lower: mean - half, upper: mean + half })
}

/// Wilson's two-sided 95 % interval (0–1) of a rate; `None` when nothing was tried.
pub fn wilson_interval(successes: u32, tries: u32) -> Option<(f64, f64)> {
    if tries == 0 {
        return None;
    }
    let n = f64::from(tries);
    let rate = f64::from(successes.min(tries)) / n;
    let z2 = Z_TWO_SIDED_95.powi(2);
    let centre = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_TWO_SIDED_95 / (1.0 + z2 / n) * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
    Some(((centre - half).max(0.0), (centre + half).min(1.0)))
}

/// The difference of means that `samples` paired samples show with 80 % power at a two-sided level of 5 %, when
/// single differences scatter by `standard_deviation`; `None` for no samples.
pub fn minimum_detectable_effect(standard_deviation: f64, samples: usize) -> Option<f64> {
    (samples > 0).then(|| (Z_TWO_SIDED_95 + Z_POWER_80) * standard_deviation / count(samples).sqrt())
}

fn standard_error(values: &[f64]) -> Option<f64> {
    standard_deviation(values).map(|deviation| deviation / count(values.len()).sqrt())
}

/// `(mean* − mean) / error*` of one resample; infinite when the resample has no spread but another mean.
fn studentised_resample(values: &[f64], mean: f64, random: &mut SplitMix64) -> f64 {
    let n = count(values.len());
    let mut sum = 0.0;
    let mut squares = 0.0;
    for _ in 0..values.len() {
        // Differences to the mean keep the squares small, so that their difference below stays exact.
        let value = values.get(random.below(values.len())).copied().unwrap_or(mean) - mean;
        sum += value;
        squares += value * value;
    }
    let shift = sum / n;
    let variance = (squares - n * shift * shift) / (n - 1.0);
    // Below this the variance is rounding noise of equal values.
    if variance <= f64::EPSILON * squares { shift * f64::INFINITY } else { shift / (variance / n).sqrt() }
}

/// The quantile of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let position = share * (count(sorted.len()) - 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ position < len")]
    let index = position.floor() as usize;
    let low = *sorted.get(index)?;
    let high = sorted.get(index + 1).copied().unwrap_or(low);
    let rest = position - position.floor();
    Some(if rest == 0.0 { low } else { low + rest * (high - low) })
}

#[expect(clippy::cast_precision_loss, reason = "sample counts are far below 2^52")]
fn count(values: usize) -> f64 {
    values as f64
}
