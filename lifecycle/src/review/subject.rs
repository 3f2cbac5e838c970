//! What is reviewed, and how it becomes the documents that a reviewer works with.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AnswerView, Concern, CriterionFigures, QueuedReview, ReviewItem, ReviewLine, ReviewNotes, ReviewSheet,
    SampleNotes, Standing, sample_priority, version_priority,
};
use crate::{
    adapter::AdapterStatus,
    answers::Answers,
    digest::Digest,
    gate::{GatePolicy, GateReport},
    golden::GoldenDataset,
    label::{HumanLabel, LabelSource},
    score::{ChampionScore, CriteriaScores, Criterion, Evaluation, SampleScore, Unscored},
    statistics::Clustered,
};

/// What is reviewed: an evaluation, the answers it rests on, and how the gate saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The scores.
    pub evaluation: Evaluation,
    /// The answers, also those without a score.
    pub answers: Option<Answers>,
    /// What was asked.
    pub golden: Option<GoldenDataset>,
    /// The gate's policy.
    pub policy: GatePolicy,
    /// What the gate said.
    pub report: Option<GateReport>,
}

/// Whether the candidate's answer stands first when `reviewer` does not know whose is whose: a coin whose side is the
/// same whenever the same person looks at the same sample.
pub fn candidate_stands_first(adapter_id: &str, sample_id: &str, reviewer: &str) -> bool {
    let parts = [("adapter", adapter_id), ("sample", sample_id), ("reviewer", reviewer)];
    let coin = Digest::of_parts(parts.map(|(label, text)| (label, text.as_bytes())));
    coin.as_str().bytes().next_back().is_some_and(|last| last % 2 == 0)
}

impl Subject {
    /// Whether a sample was answered.
    pub fn has_sample(&self, sample_id: &str) -> bool {
        self.score(sample_id).is_some() || self.unscored(sample_id).is_some()
    }

    /// The judge's scores of a sample.
    pub fn scores(&self, sample_id: &str) -> Option<&CriteriaScores> {
        self.score(sample_id).map(|score| &score.criteria_scores)
    }

    /// The answers, what deserves a look first; equal ones in the order of the golden dataset.
    pub fn lines(&self, record: &ReviewNotes, reviewer: &str) -> Vec<ReviewLine> {
        let champion = self.champion_scores();
        let flipped = self.flipped();
        let none = SampleNotes::default();
        let line = |sample_id: &str, score: Option<&SampleScore>| {
            let notes = record.samples.get(sample_id).unwrap_or(&none);
            let overall = score.map(|score| score.overall_score);
            let corrected = notes
                .overridden
                .as_ref()
                .and_then(|_| notes.corrected(score.map(|score| &score.criteria_scores)))
                .map(|scores| self.evaluation.overall_of(&scores));
            let standing = Standing {
                overall,
                champion: champion.get(sample_id).map(|score| score.overall_score),
                pass_at: self.policy.pass_at,
                is_flipped: flipped.contains(&sample_id),
                details: score.map(|score| &score.details),
            };
            ReviewLine {
                sample_id: sample_id.to_owned(),
                overall,
                corrected,
                passed: corrected.or(overall).is_some_and(|score| score >= self.policy.pass_at),
                priority: sample_priority(&standing),
                seen: notes.seen_by.contains(reviewer),
                comments: notes.comments.len(),
            }
        };
        let scored = self.evaluation.results.iter().map(|score| line(&score.sample_id, Some(score)));
        let unscored = self.evaluation.unscored.iter().map(|unscored| line(&unscored.sample_id, None));
        let mut lines: Vec<_> = scored.chain(unscored).collect();
        lines.sort_by(|a, b| b.priority.points.total_cmp(&a.priority.points));
        lines
    }

    /// The version in the queue.
    pub fn queued(&self, version: (&str, AdapterStatus, &str), lines: &[ReviewLine]) -> QueuedReview {
        let (adapter_id, status, created_at) = version;
        let mean = self.evaluation.summary.average_score;
        let is_hard = |line: &&ReviewLine| {
            let concerns = &line.priority.concerns;
            concerns.contains(&Concern::HardCheck) || concerns.contains(&Concern::Unscored)
        };
        let thresholds = [self.policy.approve_at, self.policy.review_at];
        QueuedReview {
            adapter_id: adapter_id.to_owned(),
            status,
            created_at: created_at.to_owned(),
            decision: self.report.as_ref().map(|report| report.decision),
            mean,
            samples: lines.len(),
            seen: lines.iter().filter(|line| line.seen).count(),
            hard: lines.iter().filter(is_hard).count(),
            overridden: lines.iter().filter(|line| line.corrected.is_some()).count(),
            priority: version_priority(mean, thresholds, lines.iter().map(|line| &line.priority)),
        }
    }

    /// The version for a reviewer.
    pub fn sheet(
        &self,
        adapter_id: &str,
        status: AdapterStatus,
        record: &ReviewNotes,
        reviewer: &str,
    ) -> ReviewSheet {
        let lines = self.lines(record, reviewer);
        let Evaluation { summary, champion, health, panel, judge, .. } = &self.evaluation;
        let report = self.report.as_ref();
        let first = lines.iter().find(|line| !line.seen).or_else(|| lines.first());
        let judges = if panel.is_empty() { std::slice::from_ref(judge) } else { panel.as_slice() };
        let corrected: Vec<_> = lines.iter().filter_map(|line| line.corrected.or(line.overall)).collect();
        ReviewSheet {
            adapter_id: adapter_id.to_owned(),
            status,
            golden_dataset: summary.golden_dataset_id.clone(),
            revision: record.revision,
            decision: report.map(|report| report.decision),
            reasons: report.map(|report| report.reasons.clone()).unwrap_or_default(),
            mean: summary.average_score,
            lower_bound: report.and_then(|report| report.lower_bound),
            upper_bound: report.and_then(|report| report.upper_bound),
            corrected_mean: crate::statistics::mean(&corrected),
            approve_at: self.policy.approve_at,
            review_at: self.policy.review_at,
            pass_at: self.policy.pass_at,
            champion_id: champion.as_ref().map(|champion| champion.adapter_id.clone()),
            champion_mean: champion.as_ref().and_then(|champion| champion.average_score),
            criteria: self.criteria(),
            judges: judges.iter().map(|judge| judge.judge_id.clone()).collect(),
            warnings: health.warnings.clone(),
            next: first.map(|line| line.sample_id.clone()),
            draft: record.drafts.get(reviewer).cloned(),
            lines,
        }
    }

    /// One answer whole; `None` when there is no such sample.
    pub fn item(&self, sample_id: &str, record: &ReviewNotes, reviewer: &str) -> Option<ReviewItem> {
        let lines = self.lines(record, reviewer);
        let index = lines.iter().position(|line| line.sample_id == sample_id)?;
        let line = lines.get(index)?;
        let id_at = |index: Option<usize>| Some(lines.get(index?)?.sample_id.clone());
        let score = self.score(sample_id);
        let golden = self.golden.as_ref().and_then(|golden| golden.sample(sample_id));
        let expected_output = score
            .map(|score| score.expected_output.clone())
            .or_else(|| golden.map(|sample| sample.expected_output.clone()))
            .unwrap_or_default();
        let prompt =
            score.map(|score| score.prompt.clone()).or_else(|| golden.map(|sample| sample.prompt.clone()));
        let pairwise = self.evaluation.pairwise.as_ref();
        Some(ReviewItem {
            adapter_id: self.evaluation.summary.adapter_id.clone(),
            sample_id: sample_id.to_owned(),
            place: index + 1,
            of: lines.len(),
            previous: id_at(index.checked_sub(1)),
            next: id_at(Some(index + 1)),
            prompt: prompt.unwrap_or_default(),
            context: golden.and_then(|sample| sample.context.clone()),
            difficulty: golden
                .map(|sample| sample.difficulty)
                .or(score.map(|score| score.difficulty))
                .unwrap_or_default(),
            notes_for_judge: golden.map(|sample| sample.criteria.clone()).unwrap_or_default(),
            candidate: self.candidate(sample_id, &expected_output),
            champion: self.champion(sample_id, &expected_output),
            unscored: self.unscored(sample_id).cloned(),
            pairwise: pairwise.and_then(|report| {
                report.results.iter().find(|result| result.sample_id == sample_id).cloned()
            }),
            pass_at: self.policy.pass_at,
            concerns: line.priority.concerns.clone(),
            notes: record.notes(sample_id),
            corrected: line.corrected,
            expected_output,
        })
    }

    /// The label that an override of a sample is for calibration; `None` where nothing is overridden.
    pub fn label(&self, sample_id: &str, notes: &SampleNotes) -> Option<HumanLabel> {
        let overridden = notes.overridden.as_ref()?;
        let item = self.item(sample_id, &ReviewNotes::default(), "")?;
        let mut judged: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for vote in &item.candidate.details.votes {
            let means = vote.criteria.iter().map(|(criterion, vote)| (*criterion, vote.mean));
            judged.insert(vote.judge_id.clone(), means.collect());
        }
        if judged.is_empty()
            && let Some(scores) = &item.candidate.scores
        {
            judged.insert(self.evaluation.judge.judge_id.clone(), scores.iter().collect());
        }
        let texts = [("prompt", item.prompt.as_bytes()), ("answer", item.candidate.text.as_bytes())];
        Some(HumanLabel {
            adapter_id: item.adapter_id,
            golden_dataset: self.evaluation.summary.golden_dataset_id.clone(),
            sample_id: item.sample_id,
            answer_digest: Digest::of_parts(texts),
            scores: overridden.scores.clone(),
            judged,
            actor: overridden.by.clone(),
            reason: overridden.reason.clone(),
            at: overridden.at.clone(),
            source: LabelSource::Override,
        })
    }

    fn candidate(&self, sample_id: &str, expected: &str) -> AnswerView {
        let adapter_id = self.evaluation.summary.adapter_id.clone();
        let score = self.score(sample_id);
        let answered = self.answers.iter().flat_map(|answers| &answers.samples);
        let answered = answered.into_iter().find(|answer| answer.sample_id == sample_id);
        let text = score
            .map(|score| score.adapter_output.clone())
            .or_else(|| answered.map(|answer| answer.candidate.text.clone()))
            .unwrap_or_default();
        AnswerView {
            adapter_id,
            length_ratio: length_ratio(&text, expected),
            text,
            overall: score.map(|score| score.overall_score),
            scores: score.map(|score| score.criteria_scores.clone()),
            judge_reasoning: score.map(|score| score.judge_reasoning.clone()).unwrap_or_default(),
            details: score.map(|score| score.details.clone()).unwrap_or_default(),
        }
    }

    fn champion(&self, sample_id: &str, expected: &str) -> Option<AnswerView> {
        let score = self.champion_scores().remove(sample_id);
        let answered = self.answers.iter().flat_map(|answers| &answers.samples);
        let answered = answered.into_iter().find(|answer| answer.sample_id == sample_id);
        let of_answers = || answered.and_then(|answers| Some(answers.champion.as_ref()?.text.clone()));
        let text = score.map(|score| score.adapter_output.clone()).or_else(of_answers)?;
        let adapter_id = self.evaluation.champion.as_ref().map(|champion| champion.adapter_id.clone());
        let of_answers = || self.answers.as_ref().and_then(|answers| answers.champion_id.clone());
        Some(AnswerView {
            adapter_id: adapter_id.or_else(of_answers).unwrap_or_default(),
            length_ratio: length_ratio(&text, expected),
            text,
            overall: score.map(|score| score.overall_score),
            scores: score.map(|score| score.criteria_scores.clone()),
            judge_reasoning: score.map(|score| score.judge_reasoning.clone()).unwrap_or_default(),
            details: score.map(|score| score.details.clone()).unwrap_or_default(),
        })
    }

    fn criteria(&self) -> Vec<CriterionFigures> {
        let of = |scores: &CriteriaScores, wanted| {
            scores.iter().find(|(criterion, _)| *criterion == wanted).map(|(_, score)| score)
        };
        let figures = |criterion: Criterion| {
            let scores: Vec<_> = self
                .evaluation
                .results
                .iter()
                .filter_map(|score| of(&score.criteria_scores, criterion))
                .collect();
            let mean = crate::statistics::mean(&scores)?;
            let bounds = Clustered::alone(&scores).and_then(|scores| scores.t_bounds());
            let champion: Vec<_> = self
                .champion_scores()
                .values()
                .filter_map(|score| of(&score.criteria_scores, criterion))
                .collect();
            Some(CriterionFigures {
                criterion,
                weight: criterion.weight(),
                mean,
                lower: bounds.map_or(mean, |bounds| bounds.lower.max(0.0)),
                upper: bounds.map_or(mean, |bounds| bounds.upper.min(10.0)),
                champion: crate::statistics::mean(&champion),
            })
        };
        Criterion::ALL.into_iter().filter_map(figures).collect()
    }

    fn champion_scores(&self) -> BTreeMap<&str, &ChampionScore> {
        let results = self.evaluation.champion.iter().flat_map(|champion| &champion.results);
        results.map(|score| (score.sample_id.as_str(), score)).collect()
    }

    fn flipped(&self) -> BTreeSet<&str> {
        let results = self.evaluation.pairwise.iter().flat_map(|report| &report.results);
        results.filter(|result| result.is_flipped()).map(|result| result.sample_id.as_str()).collect()
    }

    fn score(&self, sample_id: &str) -> Option<&SampleScore> {
        self.evaluation.results.iter().find(|score| score.sample_id == sample_id)
    }

    fn unscored(&self, sample_id: &str) -> Option<&Unscored> {
        self.evaluation.unscored.iter().find(|unscored| unscored.sample_id == sample_id)
    }
}

/// Characters of the answer for each of the expected output.
fn length_ratio(text: &str, expected: &str) -> Option<f64> {
    let (length, expected) = (text.chars().count(), expected.chars().count());
    #[expect(clippy::cast_precision_loss, reason = "texts are far shorter than 2^52 characters")]
    let ratio = length as f64 / expected as f64;
    (expected > 0).then_some(ratio)
}
