//! Calibration: how far a judge agrees with people, whether that is enough, and whether it still holds.

mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    label::HumanLabel,
    score::{Criterion, JudgeIdentity},
    statistics::{Estimate, Rating, Weighting, cohen_kappa, estimate, spearman},
};

pub use standing::{CalibrationState, JudgeStanding, KnownJudge, standing_of};

/// Seed of the intervals.
const SEED: u64 = 42;
/// Score (0–10) from which on an answer passes on a criterion, for the plain kappa.
const PASS: f64 = 7.0;

/// When a judge counts as calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationPolicy {
    /// Fewest answers with a label.
    pub min_answers: u32,
    /// Least quadratic kappa between judge and people on the overall score.
    pub min_quadratic_kappa: f64,
}

impl Default for CalibrationPolicy {
    fn default() -> Self {
        Self { min_answers: 30, min_quadratic_kappa: 0.6 }
    }
}

/// A judge compared with human labels. It holds for this model, prompt and rubric alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The judge, as in [`JudgeIdentity::judge_id`].
    pub judge_id: String,
    /// Model name at the endpoint.
    pub model: String,
    /// Digest of the texts that make the prompts.
    pub prompt_digest: Digest,
    /// Digest of criteria, weights and anchors.
    pub rubric_digest: Digest,
    /// What the endpoint says about its model, where it does.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Labelled answers that this judge scored.
    pub answers: u32,
    /// Labels: one answer may have those of several people.
    pub labels: u32,
    /// People who labelled.
    pub people: u32,
    /// Agreement on the overall score: the weighted mean of the labelled criteria.
    pub overall: Agreement,
    /// Agreement by criterion; criteria without a label are absent.
    pub criteria: BTreeMap<Criterion, Agreement>,
    /// What decided whether it is calibrated.
    pub policy: CalibrationPolicy,
    /// When, RFC 3339.
    pub at: String,
    /// Who.
    pub actor: String,
}

/// How far judge and people agree; scores are 0–10.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Pairs of scores.
    pub labels: u32,
    /// Cohen's kappa of whether the score reaches 7.
    pub kappa: Option<Estimate>,
    /// Quadratic weighted kappa of the scores as whole numbers.
    pub quadratic_kappa: Option<Estimate>,
    /// Spearman's rank correlation.
    pub spearman: Option<Estimate>,
    /// Mean of people − judge: what the judge's scores lack.
    pub offset: f64,
    /// Mean distance between people and judge.
    pub mean_distance: f64,
}

impl Calibration {
    /// Compares what `judge` said with what people said about the same answers; `None` when no label holds a score of
    /// this judge.
    pub fn of(judge: &JudgeIdentity, labels: &[HumanLabel], context: CalibrationContext<'_>) -> Option<Self> {
        let judged: Vec<_> =
            labels.iter().filter_map(|label| Some((label, label.judged.get(&judge.judge_id)?))).collect();
        let criteria: BTreeMap<_, _> = Criterion::ALL
            .into_iter()
            .filter_map(|criterion| {
                let pairs: Vec<_> = judged
                    .iter()
                    .filter_map(|(label, said)| {
                        Some(rating(label, *label.scores.get(&criterion)?, *said.get(&criterion)?))
                    })
                    .collect();
                Some((criterion, Agreement::of(&pairs)?))
            })
            .collect();
        let overall: Vec<_> = judged.iter().filter_map(|(label, said)| overall_rating(label, said)).collect();
        let distinct = |of: fn(&HumanLabel) -> (&str, &str)| {
            let set: BTreeSet<_> = judged.iter().map(|(label, _)| of(label)).collect();
            u32::try_from(set.len()).unwrap_or(u32::MAX)
        };
        Some(Self {
            judge_id: judge.judge_id.clone(),
            model: judge.model.clone(),
            prompt_digest: judge.prompt_digest.clone(),
            rubric_digest: judge.rubric_digest.clone(),
            fingerprint: judge.fingerprint.clone(),
            answers: distinct(|label| (label.adapter_id.as_str(), label.sample_id.as_str())),
            labels: u32::try_from(overall.len()).unwrap_or(u32::MAX),
            people: distinct(|label| (label.actor.as_str(), "")),
            overall: Agreement::of(&overall)?,
            criteria,
            policy: context.policy,
            at: context.at.to_owned(),
            actor: context.actor.to_owned(),
        })
    }

    /// Whether the judge agrees with people well enough, and why.
    pub fn standing(&self) -> JudgeStanding {
        let CalibrationPolicy { min_answers, min_quadratic_kappa } = self.policy;
        let id = &self.judge_id;
        if self.answers < min_answers {
            return JudgeStanding::uncalibrated(format!(
                "{id} was compared with labels of {} answers, at least {min_answers} are needed; \
                 `clara eval label` adds some",
                self.answers
            ));
        }
        let kappa = self.overall.quadratic_kappa.map(|kappa| kappa.value);
        match kappa {
            Some(kappa) if kappa >= min_quadratic_kappa => JudgeStanding::calibrated(format!(
                "{id} agrees with labels of {} answers: quadratic kappa {kappa:.2}",
                self.answers
            )),
            kappa => JudgeStanding::uncalibrated(format!(
                "{id} and people agree with a quadratic kappa of {}, at least {min_quadratic_kappa:.2} is needed; take \
                 another judge or a clearer rubric",
                kappa.map_or_else(|| "nothing, for lack of spread".to_owned(), |kappa| format!("{kappa:.2}"))
            )),
        }
    }

    /// What is to be added to each criterion's score (0–10) of this judge to meet people on average; empty when too few
    /// answers are labelled.
    pub fn offsets(&self) -> BTreeMap<Criterion, f64> {
        let enough = |agreement: &&Agreement| agreement.labels >= self.policy.min_answers;
        let criteria = self.criteria.iter();
        criteria
            .filter(|(_, agreement)| enough(agreement))
            .map(|(criterion, agreement)| (*criterion, agreement.offset))
            .collect()
    }
}

/// What a calibration is made with, besides judge and labels.
#[derive(Debug, Clone, Copy)]
pub struct CalibrationContext<'a> {
    /// What decides.
    pub policy: CalibrationPolicy,
    /// When, RFC 3339.
    pub at: &'a str,
    /// Who.
    pub actor: &'a str,
}

impl Agreement {
    /// The agreement of people (first) and judge (second); `None` without a rating.
    pub fn of(ratings: &[Rating<'_>]) -> Option<Self> {
        let differences: Vec<f64> = ratings.iter().map(|rating| rating.first - rating.second).collect();
        let distances: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
        let reaches = |score: f64| i32::from(score >= PASS);
        Some(Self {
            labels: u32::try_from(ratings.len()).unwrap_or(u32::MAX),
            kappa: estimate(ratings, SEED, |ratings| kappa(ratings, reaches, Weighting::Equal)),
            quadratic_kappa: estimate(ratings, SEED, |ratings| kappa(ratings, whole, Weighting::Quadratic)),
            spearman: estimate(ratings, SEED, |ratings| {
                spearman(&ratings.iter().map(|rating| (rating.first, rating.second)).collect::<Vec<_>>())
            }),
            offset: crate::statistics::mean(&differences)?,
            mean_distance: crate::statistics::mean(&distances)?,
        })
    }
}

fn kappa(ratings: &[&Rating<'_>], category: impl Fn(f64) -> i32, weighting: Weighting) -> Option<f64> {
    let pairs: Vec<_> =
        ratings.iter().map(|rating| (category(rating.first), category(rating.second))).collect();
    cohen_kappa(&pairs, weighting)
}

#[expect(clippy::cast_possible_truncation, reason = "scores are 0 to 10")]
fn whole(score: f64) -> i32 {
    score.round() as i32
}

fn rating(label: &HumanLabel, person: f64, judge: f64) -> Rating<'_> {
    Rating { first: person, second: judge, cluster: &label.sample_id }
}

/// Both overall scores over the criteria that both scored.
fn overall_rating<'a>(label: &'a HumanLabel, said: &BTreeMap<Criterion, f64>) -> Option<Rating<'a>> {
    let (mut person, mut judge, mut weights) = (0.0, 0.0, 0.0);
    for (criterion, score) in &label.scores {
        let Some(by_judge) = said.get(criterion) else { continue };
        person += score * criterion.weight();
        judge += by_judge * criterion.weight();
        weights += criterion.weight();
    }
    (weights > 0.0).then(|| rating(label, person / weights, judge / weights))
}
