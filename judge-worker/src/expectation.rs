//! Scores as expectations: what a judge thinks of an answer is the whole distribution over its score tokens, not the
//! likeliest of them (G-Eval, arXiv 2303.16634).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_lifecycle::{
    rubric::{POINTS_PER_ANCHOR, TOP_ANCHOR},
    score::{Criterion, CriterionVote},
};

use crate::client::TokenLogprob;

/// Less probability on scores than this says that the place in the reply is not what we take it for.
const LEAST_MASS: f64 = 0.5;

/// Scores (0–5) with their weights; no order, the same score may stand there twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Distribution(Vec<(f64, f64)>);

impl Distribution {
    /// The distribution of single scores, as repeats give them.
    pub(crate) fn of_marks(marks: impl IntoIterator<Item = f64>) -> Self {
        Self(marks.into_iter().map(|mark| (mark, 1.0)).collect())
    }

    /// Mean, mode (the lower one of two) and entropy on the scale of ten. `None` when nothing has a weight.
    pub(crate) fn vote(&self, reason: Option<String>) -> Option<CriterionVote> {
        let total: f64 = self.0.iter().map(|(_, weight)| weight).sum();
        if total <= 0.0 {
            return None;
        }
        let mean = self.0.iter().map(|(mark, weight)| mark * weight).sum::<f64>() / total;
        let mut marks: Vec<(f64, f64)> = Vec::new();
        for (mark, weight) in &self.0 {
            match marks.iter_mut().find(|(known, _)| (known - mark).abs() < f64::EPSILON) {
                Some((_, sum)) => *sum += weight,
                None => marks.push((*mark, *weight)),
            }
        }
        marks.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.total_cmp(&b.0)));
        let mode = marks.first().map_or(mean, |(mark, _)| *mark);
        let bits = |share: f64| if share > 0.0 { -share * share.log2() } else { 0.0 };
        let entropy = marks.iter().map(|(_, weight)| bits(weight / total)).sum::<f64>().max(0.0);
        Some(CriterionVote {
            mean: mean * POINTS_PER_ANCHOR,
            mode: mode * POINTS_PER_ANCHOR,
            entropy,
            reason,
        })
    }
}

/// The distribution of every score in `marks` over the tokens that could have stood in its place; `None` when a single
/// one of them cannot be found, is no whole number, or carries too little probability.
///
/// Handled: blanks, quotes and colons in the score's token, several tokens for the same score (`4` and ` 4`), numbers of
/// several digits (they are no scores), and probability on anything else, which is left out.
pub(crate) fn distributions(
    text: &str,
    tokens: &[TokenLogprob],
    marks: &BTreeMap<Criterion, f64>,
) -> Option<BTreeMap<Criterion, Distribution>> {
    let joined: String = tokens.iter().map(|token| token.token.as_str()).collect();
    let start = joined.find(text)?;
    let of = |(criterion, mark): (&Criterion, &f64)| {
        let place = start + place_of(text, *criterion, *mark)?;
        Some((*criterion, at(tokens, place)?))
    };
    marks.iter().map(of).collect()
}

/// Where the score of `criterion` stands in a reply: after its name, behind the last `"scores"` if there is one.
fn place_of(text: &str, criterion: Criterion, mark: f64) -> Option<usize> {
    let from = text.rfind("\"scores\"").unwrap_or(0);
    let name = format!("\"{criterion}\"");
    let after_name = from + text.get(from..)?.find(&name)? + name.len();
    let rest = text.get(after_name..)?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    let value = value.strip_prefix('"').unwrap_or(value);
    let digit = whole_score(value)?;
    ((f64::from(digit) - mark).abs() < f64::EPSILON).then_some(text.len() - value.len())
}

/// The distribution over the tokens that could have stood where the score at byte `place` stands.
fn at(tokens: &[TokenLogprob], place: usize) -> Option<Distribution> {
    let mut end = 0;
    let token = tokens.iter().find(|token| {
        end += token.token.len();
        place < end
    })?;
    let before = token.token.get(..place - (end - token.token.len()))?;
    let is_told = token.top.iter().any(|(text, _)| *text == token.token);
    let chosen = (!is_told).then_some((token.token.as_str(), token.logprob));
    let candidates = token.top.iter().map(|(text, logprob)| (text.as_str(), *logprob)).chain(chosen);
    let weights: Vec<(f64, f64)> = candidates
        .filter_map(|(text, logprob)| {
            let blank = |character: char| character.is_whitespace() || matches!(character, '"' | ':');
            let text = text.strip_prefix(before).unwrap_or(text).trim_start_matches(blank);
            Some((f64::from(whole_score(text)?), logprob.exp()))
        })
        .collect();
    let mass: f64 = weights.iter().map(|(_, weight)| weight).sum();
    (mass >= LEAST_MASS).then_some(Distribution(weights))
}

/// The score that `text` begins with, when no further digit or decimal follows.
fn whole_score(text: &str) -> Option<u8> {
    let mut characters = text.chars();
    let digit = characters.next()?.to_digit(10).and_then(|digit| u8::try_from(digit).ok())?;
    let mut after = characters;
    let goes_on = match after.next() {
        Some('.' | ',') => after.next().is_some_and(|next| next.is_ascii_digit()),
        Some(next) => next.is_ascii_digit(),
        None => false,
    };
    (digit <= TOP_ANCHOR && !goes_on).then_some(digit)
}
