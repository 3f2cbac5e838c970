//! The statistics of the gate: means with bounds over clusters, paired differences, rates, agreement of raters.

mod agreement;
mod clustered;
mod paired;
mod random;
mod student;
#[cfg(test)]
mod tests;

pub use agreement::{Estimate, Rating, Weighting, cohen_kappa, estimate, spearman};
pub use clustered::{Bounds, Clustered, FEWEST_CLUSTERS, expanded_tail};
pub use paired::PairedTest;
pub use random::SplitMix64;
pub use student::student_t_quantile;

/// Resamples of a bootstrap; its 5 % quantiles are then steady within about a tenth of a standard error.
pub const RESAMPLES: usize = 4_000;

/// The share of cases in which a one-sided bound may be wrong.
const ALPHA: f64 = 0.05;
/// 95 % quantile of the normal distribution.
const Z_ONE_SIDED_95: f64 = 1.644_853_626_951_472_7;
/// 97.5 % quantile of the normal distribution.
const Z_TWO_SIDED_95: f64 = 1.959_963_984_540_054;
/// 80 % quantile of the normal distribution.
const Z_POWER_80: f64 = 0.841_621_233_572_914;

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

/// Wilson's two-sided 95 % interval (0–1) of a rate; `None` when nothing was tried.
pub fn wilson_interval(successes: u32, tries: u32) -> Option<(f64, f64)> {
    wilson(successes, tries, Z_TWO_SIDED_95)
}

/// Wilson's one-sided 95 % bounds (0–1) of a rate, each by itself; `None` when nothing was tried.
pub fn wilson_bounds(successes: u32, tries: u32) -> Option<(f64, f64)> {
    wilson(successes, tries, Z_ONE_SIDED_95)
}

fn wilson(successes: u32, tries: u32, z: f64) -> Option<(f64, f64)> {
    if tries == 0 {
        return None;
    }
    let n = f64::from(tries);
    let rate = f64::from(successes.min(tries)) / n;
    let z2 = z.powi(2);
    let centre = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
    Some(((centre - half).max(0.0), (centre + half).min(1.0)))
}

/// The difference of means that paired samples show with 80 % power at a two-sided level of 5 %, when the mean of their
/// differences has this standard error.
pub fn minimum_detectable_effect(standard_error: f64) -> f64 {
    (Z_TWO_SIDED_95 + Z_POWER_80) * standard_error
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
