//! `evaluation.json`: every score of one evaluation, what could not be scored, and who judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AnswerDetails, CriteriaScores, Criterion, JudgeHealth, KnowledgeGap, PairwiseReport, Unscored,
    UnscoredReason,
};
use crate::{
    answers::{Answers, SampleAnswers},
    attempt::JudgeOffsets,
    digest::Digest,
    gate::reaches,
    golden::{Difficulty, GoldenDataset, GoldenSample},
    rubric::Rubric,
};

/// The evaluation of one adapter version with one golden dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Layout of this file; now 1.
    pub format: u32,
    /// The figures at a glance.
    pub summary: Summary,
    /// The scored samples, in the order of the golden dataset.
    pub results: Vec<SampleScore>,
    /// One gap per sample that does not pass: what the next training data should cover.
    pub knowledge_gaps: Vec<KnowledgeGap>,
    /// Who judged, and by what.
    pub judge: JudgeIdentity,
    /// The samples that the judge could not score; they count neither as passed nor as failed.
    pub unscored: Vec<Unscored>,
    /// Scores of the version in production for the same samples, when one answered.
    pub champion: Option<ChampionEvaluation>,
    /// All judges of the panel; `judge` is the first. Empty in evaluations of older versions.
    #[serde(default)]
    pub panel: Vec<JudgeIdentity>,
    /// Candidate beside champion, in both orders.
    #[serde(default)]
    pub pairwise: Option<PairwiseReport>,
    /// How well the judging went.
    #[serde(default)]
    pub health: JudgeHealth,
    /// Digest of the golden dataset; absent in evaluations of older versions.
    #[serde(default)]
    pub golden_digest: Option<Digest>,
    /// What was scored, and how much it counts; absent in evaluations of older versions, whose weights are the usual.
    #[serde(default)]
    pub rubric: Option<Rubric>,
    /// What was added to the scores of each judge before their mean was taken.
    #[serde(default)]
    pub offsets: JudgeOffsets,
}

/// The figures of an evaluation at a glance; scores are 0–100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Samples of the golden dataset: scored and unscored.
    pub total_samples: u64,
    /// Samples with a score.
    pub scored: u64,
    /// Samples without one.
    pub unscored: u64,
    /// Scored samples that pass.
    pub passed: u64,
    /// Scored samples that do not.
    pub failed: u64,
    /// Share of the scored samples that pass, in per cent; absent when none was scored.
    pub pass_rate: Option<f64>,
    /// Mean overall score; absent when none was scored.
    pub average_score: Option<f64>,
    /// Least overall score.
    pub min_score: Option<f64>,
    /// Greatest overall score.
    pub max_score: Option<f64>,
    /// Mean score (0–10) by criterion; empty when no sample was scored.
    pub criteria_averages: BTreeMap<Criterion, f64>,
    /// The version under test.
    pub adapter_id: String,
    /// The golden dataset as `id@version`.
    pub golden_dataset_id: String,
    /// When, RFC 3339.
    pub evaluated_at: String,
    /// How many samples do not pass.
    pub knowledge_gaps_detected: u64,
}

/// The scores of one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleScore {
    /// The golden sample.
    pub sample_id: String,
    /// The version that answered.
    pub adapter_id: String,
    /// What was asked.
    pub prompt: String,
    /// What it answered.
    pub adapter_output: String,
    /// What was expected.
    pub expected_output: String,
    /// Weighted mean of the criteria, 0–100.
    pub overall_score: f64,
    /// The scores by criterion, 0–10.
    pub criteria_scores: CriteriaScores,
    /// The judge's reply, as it came.
    pub judge_reasoning: String,
    /// Whether the overall score reaches the limit for passing and no hard check failed.
    pub passed: bool,
    /// When, RFC 3339.
    pub evaluated_at: String,
    /// The model that judged.
    pub judge_model: String,
    /// How hard the sample is.
    #[serde(default)]
    pub difficulty: Difficulty,
    /// What the sample belongs to; alone when absent.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Checks, text metrics, votes and flags.
    #[serde(flatten)]
    pub details: AnswerDetails,
}

/// Who judged, and by what: two evaluations are comparable when all of this is equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgeIdentity {
    /// Name of the judge: the model and the first digits of prompt and rubric digest.
    pub judge_id: String,
    /// Model name at the endpoint.
    pub model: String,
    /// Base URL of the endpoint.
    pub url: String,
    /// Version of the rubric, e.g. `de-1`.
    pub rubric_version: String,
    /// Digest of criteria, weights and anchors.
    pub rubric_digest: Digest,
    /// Digest of the texts around them that make the prompts.
    pub prompt_digest: Digest,
    /// Whether the scores of this judge were compared with human labels.
    pub calibrated: bool,
    /// What the endpoint said of itself with its replies: model and mark of its configuration; several in order, with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// Scores of the version in production.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChampionEvaluation {
    /// The version in production.
    pub adapter_id: String,
    /// Mean overall score; absent when no sample was scored.
    pub average_score: Option<f64>,
    /// Its scored samples.
    pub results: Vec<ChampionScore>,
    /// The samples that the judge could not score.
    pub unscored: Vec<Unscored>,
}

/// The scores of one answer of the version in production.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChampionScore {
    /// The golden sample.
    pub sample_id: String,
    /// What it answered.
    pub adapter_output: String,
    /// Weighted mean of the criteria, 0–100.
    pub overall_score: f64,
    /// The scores by criterion, 0–10.
    pub criteria_scores: CriteriaScores,
    /// The judge's reply, as it came.
    pub judge_reasoning: String,
    /// Checks, text metrics, votes and flags.
    #[serde(flatten)]
    pub details: AnswerDetails,
}

/// What the judge said about one answer: scores, or the reason why there are none.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// Scores.
    Scored(Scored),
    /// None.
    Unscored {
        /// Why, as a code.
        reason: UnscoredReason,
        /// Why, with what was found.
        detail: String,
    },
}

/// The scores of one answer with the reply they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The scores as judged; what counts is [`Scored::criteria`].
    pub scores: CriteriaScores,
    /// The judge's reply, as it came.
    pub reply: String,
    /// Checks, text metrics, votes and flags.
    pub details: AnswerDetails,
}

/// What an evaluation is made of, besides the judgements.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationContext<'a> {
    /// The golden dataset.
    pub golden: &'a GoldenDataset,
    /// The answers that were judged.
    pub answers: &'a Answers,
    /// Who judged.
    pub judge: &'a JudgeIdentity,
    /// By what.
    pub rubric: &'a Rubric,
    /// Overall score (0–100) from which on a sample passes.
    pub pass_at: f64,
    /// When, RFC 3339.
    pub evaluated_at: &'a str,
}

impl Evaluation {
    /// Puts the judgements together; both maps go by sample id. A sample without a judgement is left out, so
    /// pass one for every answered sample. `champion` is given when a champion answered.
    pub fn new(
        context: EvaluationContext<'_>,
        candidate: &BTreeMap<String, Judgement>,
        champion: Option<&BTreeMap<String, Judgement>>,
    ) -> Self {
        let mut results = Vec::new();
        let mut unscored = Vec::new();
        for (sample, answers) in context.judged() {
            match candidate.get(&sample.sample_id) {
                Some(Judgement::Scored(scored)) => {
                    results.push(context.sample_score(sample, answers, scored));
                }
                Some(Judgement::Unscored { reason, detail }) => {
                    unscored.push(unscored_of(sample, &context.answers.adapter_id, *reason, detail));
                }
                None => {}
            }
        }
        let knowledge_gaps: Vec<_> = results
            .iter()
            .filter(|result| !result.passed)
            .filter_map(|result| {
                context
                    .golden
                    .sample(&result.sample_id)
                    .map(|sample| KnowledgeGap::of(result, sample, &context))
            })
            .collect();
        Self {
            format: 1,
            summary: context.summary(&results, unscored.len()),
            results,
            knowledge_gaps,
            judge: context.judge.clone(),
            unscored,
            champion: champion.map(|judgements| context.champion(judgements)),
            panel: vec![context.judge.clone()],
            pairwise: None,
            health: JudgeHealth::default(),
            golden_digest: Some(context.golden.digest()),
            rubric: Some(context.rubric.clone()),
            offsets: JudgeOffsets::new(),
        }
    }
}

impl<'a> EvaluationContext<'a> {
    fn judged(&self) -> impl Iterator<Item = (&'a GoldenSample, &'a SampleAnswers)> + use<'a> {
        let golden = self.golden;
        let samples = &self.answers.samples;
        samples
            .iter()
            .filter_map(move |answers| golden.sample(&answers.sample_id).map(|sample| (sample, answers)))
    }

    fn sample_score(&self, sample: &GoldenSample, answers: &SampleAnswers, scored: &Scored) -> SampleScore {
        let overall_score = scored.overall(|scores| self.rubric.overall(scores));
        SampleScore {
            sample_id: sample.sample_id.clone(),
            adapter_id: self.answers.adapter_id.clone(),
            prompt: sample.prompt.clone(),
            adapter_output: answers.candidate.text.clone(),
            expected_output: sample.expected_output.clone(),
            overall_score,
            criteria_scores: scored.criteria(),
            judge_reasoning: scored.reply.clone(),
            passed: reaches(overall_score, self.pass_at) && !scored.details.failed_hard(),
            evaluated_at: self.evaluated_at.to_owned(),
            judge_model: self.judge.model.clone(),
            difficulty: sample.difficulty,
            cluster: sample.cluster.clone(),
            details: scored.details.clone(),
        }
    }

    fn champion(&self, judgements: &BTreeMap<String, Judgement>) -> ChampionEvaluation {
        let adapter_id = self.answers.champion_id.clone().unwrap_or_default();
        let mut results = Vec::new();
        let mut unscored = Vec::new();
        for (sample, answers) in self.judged() {
            let Some(answer) = &answers.champion else { continue };
            match judgements.get(&sample.sample_id) {
                Some(Judgement::Scored(scored)) => results.push(ChampionScore {
                    sample_id: sample.sample_id.clone(),
                    adapter_output: answer.text.clone(),
                    overall_score: scored.overall(|scores| self.rubric.overall(scores)),
                    criteria_scores: scored.criteria(),
                    judge_reasoning: scored.reply.clone(),
                    details: scored.details.clone(),
                }),
                Some(Judgement::Unscored { reason, detail }) => {
                    unscored.push(unscored_of(sample, &adapter_id, *reason, detail));
                }
                None => {}
            }
        }
        let average_score = mean(results.iter().map(|score| score.overall_score));
        ChampionEvaluation { adapter_id, average_score, results, unscored }
    }

    fn summary(&self, results: &[SampleScore], unscored: usize) -> Summary {
        let passed = results.iter().filter(|result| result.passed).count();
        let overall = || results.iter().map(|result| result.overall_score);
        Summary {
            total_samples: (results.len() + unscored) as u64,
            scored: results.len() as u64,
            unscored: unscored as u64,
            passed: passed as u64,
            failed: (results.len() - passed) as u64,
            pass_rate: mean(results.iter().map(|result| if result.passed { 100.0 } else { 0.0 })),
            average_score: mean(overall()),
            min_score: overall().reduce(f64::min),
            max_score: overall().reduce(f64::max),
            criteria_averages: criteria_averages(results),
            adapter_id: self.answers.adapter_id.clone(),
            golden_dataset_id: self.golden.reference().to_string(),
            evaluated_at: self.evaluated_at.to_owned(),
            knowledge_gaps_detected: (results.len() - passed) as u64,
        }
    }
}

fn unscored_of(sample: &GoldenSample, adapter_id: &str, reason: UnscoredReason, detail: &str) -> Unscored {
    Unscored {
        sample_id: sample.sample_id.clone(),
        adapter_id: adapter_id.to_owned(),
        reason,
        detail: detail.to_owned(),
    }
}

fn criteria_averages(results: &[SampleScore]) -> BTreeMap<Criterion, f64> {
    Criterion::ALL
        .into_iter()
        .filter_map(|criterion| {
            let scores = results.iter().flat_map(|result| result.criteria_scores.iter());
            mean(scores.filter(|(of, _)| *of == criterion).map(|(_, score)| score))
                .map(|mean| (criterion, mean))
        })
        .collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    crate::statistics::mean(&values.collect::<Vec<_>>())
}
