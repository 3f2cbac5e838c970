//! How far two raters agree: Cohen's kappa, plain and quadratic, and Spearman's rank correlation, with intervals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{SplitMix64, count, quantile};

/// Resamples for the interval of an agreement.
const RESAMPLES: usize = 2_000;
/// The interval leaves out so much on each side.
const TAIL: f64 = 0.025;
/// Without a value in more than this share of the resamples there is no interval.
const MOST_UNDEFINED: f64 = 0.05;

/// What two raters say about one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Rating<'a> {
    /// The one rater.
    pub first: f64,
    /// The other.
    pub second: f64,
    /// What the thing belongs to; ratings of one cluster are resampled together.
    pub cluster: &'a str,
}

/// A figure with its two-sided 95 % interval, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower end; absent where too many resamples have no such figure.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
}

/// How much a disagreement counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighting {
    /// Every disagreement alike.
    Equal,
    /// By the square of the distance.
    Quadratic,
}

/// Cohen's kappa of categories that are whole numbers; `None` when nothing is rated, or when chance alone explains all,
/// as when both raters always say the same.
pub fn cohen_kappa(ratings: &[(i32, i32)], weighting: Weighting) -> Option<f64> {
    let weight = |first: i32, second: i32| match weighting {
        Weighting::Equal => f64::from(u8::from(first != second)),
        Weighting::Quadratic => f64::from(first - second).powi(2),
    };
    let n = count(ratings.len());
    let mut of_first = BTreeMap::<i32, f64>::new();
    let mut of_second = BTreeMap::<i32, f64>::new();
    let mut observed = 0.0;
    for &(first, second) in ratings {
        *of_first.entry(first).or_default() += 1.0;
        *of_second.entry(second).or_default() += 1.0;
        observed += weight(first, second);
    }
    let by_chance: f64 = of_first
        .iter()
        .flat_map(|(first, times)| of_second.iter().map(move |(second, too)| (first, second, times * too)))
        .map(|(first, second, times)| weight(*first, *second) * times / n)
        .sum();
    (by_chance > 0.0).then(|| 1.0 - observed / by_chance)
}

/// Spearman's rank correlation, equal values with their mean rank; `None` when a side has no spread.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let first = ranks(pairs.iter().map(|pair| pair.0).collect());
    let second = ranks(pairs.iter().map(|pair| pair.1).collect());
    let middle = f64::midpoint(count(pairs.len()), 1.0);
    let (mut product, mut squares_first, mut squares_second) = (0.0, 0.0, 0.0);
    for (first, second) in first.iter().zip(&second) {
        product += (first - middle) * (second - middle);
        squares_first += (first - middle).powi(2);
        squares_second += (second - middle).powi(2);
    }
    let scale = (squares_first * squares_second).sqrt();
    (scale > 0.0).then(|| product / scale)
}

/// `figure` of all ratings with its percentile interval over resampled clusters; `None` where it has no value.
pub fn estimate(
    ratings: &[Rating<'_>],
    seed: u64,
    figure: impl Fn(&[&Rating<'_>]) -> Option<f64>,
) -> Option<Estimate> {
    let value = figure(&ratings.iter().collect::<Vec<_>>())?;
    let mut by_cluster = BTreeMap::<&str, Vec<&Rating<'_>>>::new();
    for rating in ratings {
        by_cluster.entry(rating.cluster).or_default().push(rating);
    }
    let clusters: Vec<_> = by_cluster.into_values().collect();
    let mut random = SplitMix64::new(seed);
    let mut values = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let mut resample = Vec::with_capacity(ratings.len());
        for _ in 0..clusters.len() {
            resample.extend(clusters.get(random.below(clusters.len())).into_iter().flatten().copied());
        }
        values.extend(figure(&resample));
    }
    let undefined = 1.0 - count(values.len()) / count(RESAMPLES);
    values.sort_unstable_by(f64::total_cmp);
    let end = |share| quantile(&values, share).filter(|_| undefined <= MOST_UNDEFINED && clusters.len() > 1);
    Some(Estimate { value, lower: end(TAIL), upper: end(1.0 - TAIL) })
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: Vec<f64>) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = values.into_iter().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranked = Vec::with_capacity(order.len());
    for equal in order.chunk_by(|a, b| a.1.total_cmp(&b.1).is_eq()) {
        let before = count(ranked.len());
        let rank = before + f64::midpoint(count(equal.len()), 1.0);
        ranked.extend(equal.iter().map(|(index, _)| (*index, rank)));
    }
    ranked.sort_by_key(|(index, _)| *index);
    ranked.into_iter().map(|(_, rank)| rank).collect()
}
