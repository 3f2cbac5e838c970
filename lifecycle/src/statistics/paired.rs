//! Paired differences: how large, how sure, and what the samples could have shown at all.

use serde::{Deserialize, Serialize};

use super::{Clustered, RESAMPLES, SplitMix64, count, minimum_detectable_effect, student::ln_gamma};

/// Up to so many clusters every combination of signs is tried; above, as many at random as below.
const EXACT_CLUSTERS: usize = 14;
/// Combinations of signs drawn at random.
const DRAWS: u32 = 20_000;
/// The interval leaves out so much on each side.
const TAIL: f64 = 0.025;

/// What paired differences (candidate − baseline) over clusters say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedTest {
    /// Pairs.
    pub pairs: u32,
    /// Clusters that they are in.
    pub clusters: u32,
    /// So many pairs that stand alone would say as much.
    pub effective_pairs: f64,
    /// Mean difference.
    pub mean: f64,
    /// Lower end of its two-sided 95 % interval (studentised bootstrap over clusters).
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// One-sided lower 95 % bound.
    pub lower_bound: f64,
    /// One-sided upper 95 % bound.
    pub upper_bound: f64,
    /// Two-sided p-value: how often random signs of the clusters give so large a mean.
    pub p_value: f64,
    /// Hedges' g of the differences: their mean by their standard deviation, corrected for few pairs; 0 without spread.
    pub effect_size: f64,
    /// The difference that so many pairs show with 80 % power.
    pub minimum_detectable_effect: f64,
}

impl PairedTest {
    /// Tests `differences`; `None` below two clusters.
    pub fn of(differences: &Clustered, seed: u64) -> Option<Self> {
        let (lower, upper) = differences.interval(TAIL, RESAMPLES, seed)?;
        let bounds = differences.bounds(RESAMPLES, seed)?;
        let values = differences.values();
        let deviation = super::standard_deviation(values)?;
        let effect_size = if deviation == 0.0 {
            0.0
        } else {
            differences.mean() / deviation * small_sample_factor(count(values.len()) - 1.0)
        };
        Some(Self {
            pairs: u32::try_from(values.len()).unwrap_or(u32::MAX),
            clusters: u32::try_from(differences.clusters()).unwrap_or(u32::MAX),
            effective_pairs: differences.effective_size(),
            mean: differences.mean(),
            lower,
            upper,
            lower_bound: bounds.lower,
            upper_bound: bounds.upper,
            p_value: sign_flip(&differences.sums().collect::<Vec<_>>(), seed),
            effect_size,
            minimum_detectable_effect: minimum_detectable_effect(differences.standard_error()?),
        })
    }
}

/// Two-sided p-value of the sign-flip test of whole clusters: under the null hypothesis the sum of a cluster is as
/// likely to have the other sign. Exact for few clusters, else by random signs, the observed ones counted in.
fn sign_flip(sums: &[f64], seed: u64) -> f64 {
    let scale: f64 = sums.iter().map(|sum| sum.abs()).sum();
    // Sums in another order differ by rounding.
    let observed = sums.iter().sum::<f64>().abs() - 1e-12 * scale;
    let total_of = |signs: &dyn Fn(usize) -> bool| {
        let signed = sums.iter().enumerate().map(|(index, sum)| if signs(index) { *sum } else { -sum });
        signed.sum::<f64>().abs()
    };
    if sums.len() <= EXACT_CLUSTERS {
        let combinations = 1_u32 << sums.len();
        let extreme = (0..combinations).filter(|bits| total_of(&|index| bits >> index & 1 == 1) >= observed);
        return count(extreme.count()) / f64::from(combinations);
    }
    let mut random = SplitMix64::new(seed);
    let words = sums.len().div_ceil(64);
    let mut extreme = 1_u32;
    for _ in 0..DRAWS {
        let bits: Vec<u64> = (0..words).map(|_| random.next_u64()).collect();
        let sign = |index: usize| bits.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1);
        extreme += u32::from(total_of(&sign) >= observed);
    }
    f64::from(extreme) / f64::from(DRAWS + 1)
}

/// Γ(d/2) / (√(d/2) Γ((d − 1)/2)): takes the bias of few values out of Cohen's d (Hedges 1981).
fn small_sample_factor(degrees: f64) -> f64 {
    if degrees < 2.0 {
        return 1.0;
    }
    (ln_gamma(degrees / 2.0) - ln_gamma((degrees - 1.0) / 2.0)).exp() / (degrees / 2.0).sqrt()
}
