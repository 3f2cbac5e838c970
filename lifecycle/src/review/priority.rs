//! What a reviewer looks at first: one figure for an answer, one for a version, and why.
//!
//! | concern | points |
//! |---|---|
//! | a hard check failed | 4 |
//! | the judge gave no score | 4 |
//! | the answer speaks to the judge | 3 |
//! | near the limit for passing | 2, falling to 0 at 30 points of distance |
//! | the judges are apart | 2 at 40 points between their overall scores, less in proportion; at least 1 when flagged |
//! | a judge is unsure | 1 at the entropy of eleven equally likely scores, less in proportion; at least 0.5 when flagged |
//! | the preference beside the champion changes with the order | 1 |
//! | worse than the champion | 1 at 30 points, less in proportion |
//!
//! A version gets 2 points at a threshold of the gate, falling to 0 at 15 points of distance, 4 for the share of its answers
//! that failed a hard check or have no score, and 2 for the share on which judges disagree or are unsure.

use serde::{Deserialize, Serialize};

use crate::score::{AnswerDetails, CriteriaScores, Flag};

const PASS_REACH: f64 = 30.0;
const GATE_REACH: f64 = 15.0;
const FULL_SPREAD: f64 = 40.0;
/// Entropy in bits of eleven equally likely scores.
const FULL_ENTROPY: f64 = 3.459_431_618_637_297;
/// From how many points on a concern is named.
const WORTH_NAMING: f64 = 0.5;

/// Why an answer deserves a look; stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// A check that needs no judge stands against an approval.
    HardCheck,
    /// The judge gave no score.
    Unscored,
    /// The answer speaks to the judge.
    Injection,
    /// Its score is near the limit for passing.
    NearLimit,
    /// The judges are apart.
    Disagreement,
    /// A judge is unsure.
    Unsure,
    /// The preference beside the champion changes with the order.
    Flipped,
    /// The champion's answer scores higher.
    WorseThanChampion,
}

impl Concern {
    /// In a few words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::HardCheck => "hard check failed",
            Self::Unscored => "no score",
            Self::Injection => "speaks to the judge",
            Self::NearLimit => "near the limit",
            Self::Disagreement => "judges apart",
            Self::Unsure => "judge unsure",
            Self::Flipped => "changes with the order",
            Self::WorseThanChampion => "worse than champion",
        }
    }
}

/// How much an answer deserves a look, and why: the weightiest concern first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Priority {
    /// Points; see the table of [`crate::review`].
    pub points: f64,
    /// Concerns that are worth naming.
    pub concerns: Vec<Concern>,
}

/// What an answer's priority rests on.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Overall score (0–100); `None` when the judge gave none.
    pub overall: Option<f64>,
    /// The champion's for the same sample.
    pub champion: Option<f64>,
    /// Limit for passing.
    pub pass_at: f64,
    /// Whether the preference beside the champion changed with the order.
    pub is_flipped: bool,
    /// Checks, votes and flags.
    pub details: Option<&'a AnswerDetails>,
}

/// How much an answer deserves a look.
pub fn sample_priority(standing: &Standing<'_>) -> Priority {
    let none = AnswerDetails::default();
    let details = standing.details.unwrap_or(&none);
    let has = |flag| details.flags.contains(&flag);
    let yes = |holds: bool, points: f64| if holds { points } else { 0.0 };
    let lost = standing.overall.zip(standing.champion).map_or(0.0, |(overall, champion)| champion - overall);
    let mut found = vec![
        (yes(details.checks.iter().any(|check| check.is_hard), 4.0), Concern::HardCheck),
        (yes(standing.overall.is_none(), 4.0), Concern::Unscored),
        (yes(has(Flag::Injection), 3.0), Concern::Injection),
        (
            2.0 * standing.overall.map_or(0.0, |overall| nearness(overall, standing.pass_at, PASS_REACH)),
            Concern::NearLimit,
        ),
        (
            (2.0 * share(spread(details), FULL_SPREAD)).max(yes(has(Flag::Disagreement), 1.0)),
            Concern::Disagreement,
        ),
        (share(entropy(details), FULL_ENTROPY).max(yes(has(Flag::Unsure), 0.5)), Concern::Unsure),
        (yes(standing.is_flipped || has(Flag::Flipped), 1.0), Concern::Flipped),
        (share(lost, PASS_REACH), Concern::WorseThanChampion),
    ];
    let points = found.iter().map(|(points, _)| points).sum();
    found.retain(|(points, _)| *points >= WORTH_NAMING);
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    Priority { points, concerns: found.into_iter().map(|(_, concern)| concern).collect() }
}

/// How much a version deserves a look: its mean beside the gate's thresholds, and the priorities of its answers.
pub fn version_priority<'a>(
    mean: Option<f64>,
    thresholds: [f64; 2],
    samples: impl Iterator<Item = &'a Priority>,
) -> f64 {
    let (mut all, mut hard, mut unclear) = (0.0, 0.0, 0.0);
    for priority in samples {
        let has = |wanted: &[Concern]| wanted.iter().any(|concern| priority.concerns.contains(concern));
        all += 1.0;
        hard += f64::from(has(&[Concern::HardCheck, Concern::Unscored]));
        unclear += f64::from(has(&[Concern::Disagreement, Concern::Unsure, Concern::Flipped]));
    }
    let near = |mean| thresholds.into_iter().map(|at| nearness(mean, at, GATE_REACH)).fold(0.0, f64::max);
    let near = mean.map_or(0.0, near);
    if all == 0.0 { 2.0 * near } else { 2.0 * near + 4.0 * hard / all + 2.0 * unclear / all }
}

/// 1 at `limit`, falling to 0 at `reach`.
fn nearness(value: f64, limit: f64, reach: f64) -> f64 {
    (1.0 - (value - limit).abs() / reach).max(0.0)
}

/// `value` as a share of `full`, 0–1.
fn share(value: f64, full: f64) -> f64 {
    (value / full).clamp(0.0, 1.0)
}

/// Points (0–100) between the highest and the lowest judge.
fn spread(details: &AnswerDetails) -> f64 {
    let overall = details.votes.iter().filter_map(|vote| {
        let means = vote.criteria.iter().map(|(criterion, vote)| (*criterion, vote.mean)).collect();
        CriteriaScores::of(means).ok().map(|scores| scores.overall())
    });
    let (low, high) = overall
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), score| (low.min(score), high.max(score)));
    if high > low { high - low } else { 0.0 }
}

/// The greatest entropy of any judge's vote, in bits.
fn entropy(details: &AnswerDetails) -> f64 {
    let votes = details.votes.iter().flat_map(|vote| vote.criteria.values());
    votes.map(|vote| vote.entropy).fold(0.0, f64::max)
}
