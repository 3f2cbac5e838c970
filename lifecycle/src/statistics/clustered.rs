//! Means of values that belong together in clusters, with bounds that take a cluster as one observation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ALPHA, SplitMix64, count, quantile, student::normal_probability_below, student_t_quantile};

/// With fewer clusters the bounds are no narrower than those of Student's t, and their tail is that of so many.
pub const FEWEST_CLUSTERS: usize = 10;

/// A mean with one-sided 95 % bounds: each holds by itself in 95 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// The mean.
    pub mean: f64,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

/// Values in clusters: answers about one statute go wrong together, so that twenty of them say less than twenty about
/// twenty statutes.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustered {
    values: Vec<f64>,
    mean: f64,
    clusters: Vec<Cluster>,
}

/// What a resample needs of one cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cluster {
    /// Sum of (value − mean): small numbers, so that differences of their squares stay exact.
    residual: f64,
    size: f64,
}

impl Clustered {
    /// Values with the name of their cluster; one without a name stands alone. `None` for no values.
    pub fn new<'a>(values: impl IntoIterator<Item = (f64, Option<&'a str>)>) -> Option<Self> {
        let mut index_of = BTreeMap::new();
        let mut members: Vec<Vec<f64>> = Vec::new();
        let mut all = Vec::new();
        for (value, name) in values {
            all.push(value);
            let new = members.len();
            let index = name.map_or(new, |name| *index_of.entry(name).or_insert(new));
            match members.get_mut(index) {
                Some(cluster) => cluster.push(value),
                None => members.push(vec![value]),
            }
        }
        let mean = super::mean(&all)?;
        let cluster = |values: &Vec<f64>| Cluster {
            residual: values.iter().map(|value| value - mean).sum(),
            size: count(values.len()),
        };
        Some(Self { clusters: members.iter().map(cluster).collect(), values: all, mean })
    }

    /// Values that each stand alone; `None` for no values.
    pub fn alone(values: &[f64]) -> Option<Self> {
        Self::new(values.iter().map(|value| (*value, None)))
    }

    /// All values, in the order given.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The mean of all values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// How many clusters there are.
    pub fn clusters(&self) -> usize {
        self.clusters.len()
    }

    /// The sum of each cluster's values, in the order in which they first appear.
    pub(super) fn sums(&self) -> impl Iterator<Item = f64> + '_ {
        self.clusters.iter().map(|cluster| cluster.residual + cluster.size * self.mean)
    }

    /// The standard error of the mean over clusters (Miller, arXiv 2411.00640, with the factor G / (G − 1) for few
    /// clusters); `None` below two clusters.
    pub fn standard_error(&self) -> Option<f64> {
        let groups = count(self.clusters.len());
        let squares: f64 = self.clusters.iter().map(|cluster| cluster.residual.powi(2)).sum();
        (self.clusters.len() > 1)
            .then(|| (groups / (groups - 1.0) * squares).sqrt() / count(self.values.len()))
    }

    /// So many values that stand alone would say as much: n / (1 + (m − 1)·ICC), where m is the mean size of the cluster
    /// that a value is in and ICC how alike the values of a cluster are (by analysis of variance, at least 0).
    pub fn effective_size(&self) -> f64 {
        let n = count(self.values.len());
        let weighted_size = self.clusters.iter().map(|cluster| cluster.size.powi(2)).sum::<f64>() / n;
        n / (1.0 + (weighted_size - 1.0) * self.intraclass_correlation())
    }

    /// So many clusters of one size would tell the mean as well: (Σ size)² / Σ size² (Kish), where clusters are alike.
    fn effective_clusters(&self) -> f64 {
        count(self.values.len()).powi(2)
            / self.clusters.iter().map(|cluster| cluster.size.powi(2)).sum::<f64>()
    }

    /// How alike the values of one cluster are, 0–1, by one-way analysis of variance; 0 where clusters are single values.
    pub fn intraclass_correlation(&self) -> f64 {
        let (n, groups) = (count(self.values.len()), count(self.clusters.len()));
        if groups >= n {
            return 0.0;
        }
        let all: f64 = self.values.iter().map(|value| (value - self.mean).powi(2)).sum();
        if groups < 2.0 || all == 0.0 {
            return if all == 0.0 { 0.0 } else { 1.0 };
        }
        let between: f64 = self.clusters.iter().map(|cluster| cluster.residual.powi(2) / cluster.size).sum();
        let squares: f64 = self.clusters.iter().map(|cluster| cluster.size.powi(2)).sum();
        let typical_size = (n - squares / n) / (groups - 1.0);
        let between_mean = between / (groups - 1.0);
        let within_mean = (all - between).max(0.0) / (n - groups);
        let correlation = (between_mean - within_mean) / (between_mean + (typical_size - 1.0) * within_mean);
        correlation.clamp(0.0, 1.0)
    }

    /// One-sided 95 % bounds of the mean by the studentised bootstrap (bootstrap-t) over whole clusters.
    ///
    /// The bounds of Student's t hold less often than they say for few, skewed scores; these hold (Efron and
    /// Tibshirani, An Introduction to the Bootstrap, section 12.5), with the tail expanded for few clusters
    /// (Hesterberg, arXiv 1411.5279). The result is a function of the values, their clusters and `seed` alone. Where so
    /// many resamples have no spread that a quantile does not exist, the bounds of [`Self::t_bounds`] are given instead;
    /// with fewer than [`FEWEST_CLUSTERS`] clusters the wider of both. `None` below two clusters.
    pub fn bounds(&self, resamples: usize, seed: u64) -> Option<Bounds> {
        let (lower, upper) = self.interval(ALPHA, resamples, seed)?;
        Some(Bounds { mean: self.mean, lower, upper })
    }

    /// The interval of [`Self::bounds`] that leaves out the share `tail` on each side.
    pub(super) fn interval(&self, tail: f64, resamples: usize, seed: u64) -> Option<(f64, f64)> {
        let error = self.standard_error()?;
        if error == 0.0 {
            return Some((self.mean, self.mean));
        }
        let by_t = self.t_interval(tail)?;
        let mut random = SplitMix64::new(seed);
        let mut statistics: Vec<f64> =
            (0..resamples.max(1)).map(|_| self.studentised_resample(&mut random)).collect();
        statistics.sort_unstable_by(f64::total_cmp);
        let expanded = expanded_tail(self.effective_clusters(), tail);
        let low = quantile(&statistics, expanded)?;
        let high = quantile(&statistics, 1.0 - expanded)?;
        if !(low.is_finite() && high.is_finite()) {
            return Some(by_t);
        }
        let (lower, upper) = (self.mean - high * error, self.mean - low * error);
        if self.clusters.len() < FEWEST_CLUSTERS {
            return Some((lower.min(by_t.0), upper.max(by_t.1)));
        }
        Some((lower, upper))
    }

    /// One-sided 95 % bounds of the mean by Student's t over clusters; `None` below two clusters.
    pub fn t_bounds(&self) -> Option<Bounds> {
        let (lower, upper) = self.t_interval(ALPHA)?;
        Some(Bounds { mean: self.mean, lower, upper })
    }

    fn t_interval(&self, tail: f64) -> Option<(f64, f64)> {
        let degrees = count(self.clusters.len()) - 1.0;
        let half = student_t_quantile(1.0 - tail, degrees) * self.standard_error()?;
        Some((self.mean - half, self.mean + half))
    }

    /// `(mean* − mean) / error*` of one resample of clusters; infinite when it has no spread but another mean.
    fn studentised_resample(&self, random: &mut SplitMix64) -> f64 {
        let (mut residuals, mut size) = (0.0, 0.0);
        let (mut squares, mut products, mut size_squares) = (0.0, 0.0, 0.0);
        for _ in 0..self.clusters.len() {
            let Some(cluster) = self.clusters.get(random.below(self.clusters.len())) else { continue };
            residuals += cluster.residual;
            size += cluster.size;
            squares += cluster.residual * cluster.residual;
            products += cluster.residual * cluster.size;
            size_squares += cluster.size * cluster.size;
        }
        let shift = residuals / size;
        let spread = squares - 2.0 * shift * products + shift * shift * size_squares;
        if shift == 0.0 {
            return 0.0;
        }
        // Below this the spread is rounding noise of equal values.
        if spread <= 4.0 * f64::EPSILON * squares {
            return shift * f64::INFINITY;
        }
        let groups = count(self.clusters.len());
        shift * size / (groups / (groups - 1.0) * spread).sqrt()
    }
}

/// The tail of resamples that stands for `tail` of what the values were drawn from: 1 − Φ(√(k / (k − 1))·t) with the quantile
/// t of Student's t for k − 1 degrees of freedom; k is the number of clusters, at least [`FEWEST_CLUSTERS`].
///
/// Few clusters are less skewed than their source, the more so where some outweigh the others, so that their own
/// quantiles lie too close to the middle (Hesterberg, arXiv 1411.5279).
pub fn expanded_tail(clusters: f64, tail: f64) -> f64 {
    let clusters = clusters.max(count(FEWEST_CLUSTERS));
    let t = student_t_quantile(1.0 - tail, clusters - 1.0);
    let expanded = 1.0 - normal_probability_below((clusters / (clusters - 1.0)).sqrt() * t);
    // Logarithms differ in their last bit from machine to machine, and bounds must not.
    (expanded * 1e6).round() / 1e6
}
