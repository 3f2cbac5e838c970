//! Chooses the next token from logits: the most likely one, or one drawn by temperature and nucleus.

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits before drawing; 0 always takes the most likely token.
    pub temperature: f32,
    /// Draws only from the most likely tokens that together reach this probability (above 0, up to 1).
    pub top_p: f32,
    /// Seed of the draws; the same seed and logits give the same tokens.
    pub seed: u64,
}

impl Sampling {
    /// Always the most likely token; of equally likely ones the one with the lower number.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, seed: 0 };
}

impl Default for Sampling {
    fn default() -> Self {
        Self::GREEDY
    }
}

/// Probability of a chosen token and of its rivals, before temperature and nucleus.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// Natural logarithm of the chosen token's probability.
    pub chosen: f32,
    /// The most likely tokens with their log-probabilities, most likely first.
    pub top: Vec<(u32, f32)>,
}

/// Draws the tokens of one sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    generator: SplitMix64,
}

impl Sampler {
    /// A sampler at the start of its seed's draws.
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, generator: SplitMix64(sampling.seed) }
    }

    /// Chooses among `candidates`, pairs of token and logit in ascending order of tokens.
    ///
    /// `None` when not one logit is a number: the model is broken then, and any choice would hide it.
    pub fn choose(&mut self, candidates: &[(u32, f32)]) -> Option<u32> {
        let best = most_likely(candidates)?;
        if self.sampling.temperature <= 0.0 {
            return Some(best.0);
        }
        let mut weights = self.weights(candidates, best.1);
        weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let nucleus = nucleus(&weights, f64::from(self.sampling.top_p));
        Some(draw(nucleus, self.generator.next_unit()).unwrap_or(best.0))
    }

    fn weights(&self, candidates: &[(u32, f32)], largest: f32) -> Vec<(u32, f64)> {
        let temperature = f64::from(self.sampling.temperature);
        candidates
            .iter()
            .filter(|(_, logit)| logit.is_finite())
            .map(|&(token, logit)| (token, (f64::from(logit - largest) / temperature).exp()))
            .collect()
    }
}

/// Log-probabilities of `chosen` and of the `count` most likely candidates; sums in f64.
pub fn logprobs(candidates: &[(u32, f32)], chosen: u32, count: usize) -> TokenLogprobs {
    let mut finite: Vec<(u32, f32)> =
        candidates.iter().copied().filter(|(_, logit)| logit.is_finite()).collect();
    let largest = finite.iter().map(|(_, logit)| *logit).fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = finite.iter().map(|(_, logit)| f64::from(logit - largest).exp()).sum();
    let normaliser = f64::from(largest) + sum.ln();
    let logprob = |logit: f32| narrow(f64::from(logit) - normaliser);
    let chosen =
        finite.iter().find(|(token, _)| *token == chosen).map_or(f32::NEG_INFINITY, |c| logprob(c.1));
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count > 0 && count < finite.len() {
        finite.select_nth_unstable_by(count - 1, order);
    }
    finite.truncate(count);
    finite.sort_by(order);
    TokenLogprobs { chosen, top: finite.into_iter().map(|(token, logit)| (token, logprob(logit))).collect() }
}

fn most_likely(candidates: &[(u32, f32)]) -> Option<(u32, f32)> {
    let mut best: Option<(u32, f32)> = None;
    for &(token, logit) in candidates {
        if logit.is_finite() && best.is_none_or(|(_, largest)| logit > largest) {
            best = Some((token, logit));
        }
    }
    best
}

/// The shortest head of `weights` (descending) whose sum reaches `top_p` of the whole.
fn nucleus(weights: &[(u32, f64)], top_p: f64) -> &[(u32, f64)] {
    let limit = top_p * weights.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut sum = 0.0;
    for (index, (_, weight)) in weights.iter().enumerate() {
        sum += weight;
        if sum >= limit {
            return weights.get(..=index).unwrap_or(weights);
        }
    }
    weights
}

fn draw(weights: &[(u32, f64)], unit: f64) -> Option<u32> {
    let mut left = unit * weights.iter().map(|(_, weight)| weight).sum::<f64>();
    for &(token, weight) in weights {
        left -= weight;
        if left < 0.0 {
            return Some(token);
        }
    }
    weights.last().map(|(token, _)| *token)
}

#[expect(clippy::cast_possible_truncation, reason = "log-probabilities need no more than f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// A small generator with 64 bits of state; the same on every machine and in every version.
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in [0, 1), from the upper 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
    fn next_unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;
