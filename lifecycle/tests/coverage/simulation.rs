//! Scores to try statistics with: beta variables, each alone or in clusters whose members are alike; and how often
//! bounds and tests are right about them.

use std::fmt;

use clara_lifecycle::statistics::{Clustered, PairedTest, SplitMix64};

pub(crate) const SEED: u64 = 20_260_101;

/// How scores (0–100) are distributed: 100 times a beta variable with this mean and deviation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scores {
    /// True mean.
    pub(crate) mean: f64,
    /// True standard deviation.
    pub(crate) deviation: f64,
}

/// How samples lie in clusters.
#[derive(Debug, Clone)]
pub(crate) struct Design {
    sizes: Vec<usize>,
    /// Intraclass correlation.
    pub(crate) likeness: f64,
}

impl Design {
    /// So many samples that each stand alone.
    pub(crate) fn alone(samples: usize) -> Self {
        Self { sizes: vec![1; samples], likeness: 0.0 }
    }

    /// Clusters of the same size.
    pub(crate) fn even(clusters: usize, size: usize, likeness: f64) -> Self {
        Self { sizes: vec![size; clusters], likeness }
    }

    /// Clusters of one to five samples.
    pub(crate) fn uneven(clusters: usize, likeness: f64) -> Self {
        Self { sizes: (0..clusters).map(|cluster| 1 + cluster % 5).collect(), likeness }
    }

    /// The cluster of each sample.
    pub(crate) fn names(&self) -> Vec<String> {
        let clusters = self.sizes.iter().enumerate();
        clusters.flat_map(|(cluster, size)| vec![format!("cluster {cluster}"); *size]).collect()
    }

    /// Draws a score for each sample. Within a cluster a sample takes the cluster's own draw with probability √ICC,
    /// else a draw of its own: every score has exactly the distribution asked for, and any two of a cluster the
    /// correlation ICC.
    pub(crate) fn draw(&self, scores: Scores, random: &mut SplitMix64) -> Clustered {
        let names = self.names();
        let mut drawn = Vec::new();
        for size in &self.sizes {
            let shared = scores.draw(random);
            for _ in 0..*size {
                let takes_shared = random.unit() < self.likeness.sqrt();
                drawn.push(if takes_shared { shared } else { scores.draw(random) });
            }
        }
        Clustered::new(drawn.into_iter().zip(names.iter().map(|name| Some(name.as_str())))).unwrap()
    }
}

impl fmt::Display for Design {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (samples, clusters) = (self.sizes.iter().sum::<usize>(), self.sizes.len());
        let (least, most) = (self.sizes.iter().min().unwrap(), self.sizes.iter().max().unwrap());
        match (least, most) {
            (1, 1) => write!(formatter, "{samples}"),
            (least, most) if least == most => {
                write!(formatter, "{samples} in {clusters} clusters of {least}")
            }
            (least, most) => write!(formatter, "{samples} in {clusters} clusters of {least} to {most}"),
        }
    }
}

impl Scores {
    fn draw(self, random: &mut SplitMix64) -> f64 {
        let share = self.mean / 100.0;
        let total = share * (1.0 - share) / (self.deviation / 100.0).powi(2) - 1.0;
        let (hit, miss) = (gamma(share * total, random), gamma((1.0 - share) * total, random));
        100.0 * hit / (hit + miss)
    }
}

/// How often both one-sided bounds and those of Student's t hold.
pub(crate) struct Coverage {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) lower_by_t: f64,
}

pub(crate) fn coverage(scores: Scores, design: &Design, rounds: u32, resamples: usize) -> Coverage {
    let mut random = SplitMix64::new(SEED);
    let (mut lower, mut upper, mut lower_by_t) = (0, 0, 0);
    for round in 0..rounds {
        let drawn = design.draw(scores, &mut random);
        let bounds = drawn.bounds(resamples, u64::from(round)).unwrap();
        lower += u32::from(bounds.lower <= scores.mean);
        upper += u32::from(bounds.upper >= scores.mean);
        lower_by_t += u32::from(drawn.t_bounds().unwrap().lower <= scores.mean);
    }
    let share = |count: u32| f64::from(count) / f64::from(rounds);
    Coverage { lower: share(lower), upper: share(upper), lower_by_t: share(lower_by_t) }
}

/// How often a difference is called shown though there is none; `naive` passes over the clusters.
pub(crate) fn false_alarms(design: &Design, deviations: (f64, f64), rounds: u32, naive: bool) -> f64 {
    let mut random = SplitMix64::new(SEED);
    let [ours, theirs] = [deviations.0, deviations.1].map(|deviation| Scores { mean: 85.0, deviation });
    let mut alarms = 0;
    for round in 0..rounds {
        let (candidate, baseline) = (design.draw(ours, &mut random), design.draw(theirs, &mut random));
        let differences =
            candidate.values().iter().zip(baseline.values()).map(|(ours, theirs)| ours - theirs);
        let names = design.names();
        let clustered = Clustered::new(
            differences.zip(&names).map(|(value, name)| (value, (!naive).then_some(name.as_str()))),
        );
        let test = PairedTest::of(&clustered.unwrap(), u64::from(round)).unwrap();
        alarms += u32::from(test.p_value < 0.05);
    }
    f64::from(alarms) / f64::from(rounds)
}

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
