//! Looks at the answers before any judge does: what it finds caps the scores, and what holds nothing is not judged.

mod content;
mod duplicated;
mod repeated;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_lifecycle::{
    answers::{Answer, Answers, FinishReason},
    golden::{GoldenDataset, GoldenSample},
    language,
    score::{AnswerDetails, CheckCode, CheckFinding, CriteriaScores, Judgement, Scored, TextMetrics},
    text::visible,
};

use crate::text_metrics;

/// What is known about all answers without a judge, by sample id.
#[derive(Debug, Default)]
pub(crate) struct Examination {
    candidate: BTreeMap<String, Examined>,
    champion: BTreeMap<String, Examined>,
}

/// What is known about one answer without a judge.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Examined {
    checks: Vec<CheckFinding>,
    metrics: TextMetrics,
    /// There is nothing in it that a judge could judge.
    holds_nothing: bool,
}

/// Examines the answers of candidate and champion to the samples that were asked. The same input gives the same
/// findings.
pub(crate) fn examine(golden: &GoldenDataset, answers: &Answers) -> Examination {
    let answered: Vec<_> = answers
        .samples
        .iter()
        .filter_map(|answers| Some((golden.sample(&answers.sample_id)?, answers)))
        .collect();
    let candidate: Vec<_> = answered.iter().map(|(sample, answers)| (*sample, &answers.candidate)).collect();
    let champion: Vec<_> =
        answered.iter().filter_map(|(sample, answers)| Some((*sample, answers.champion.as_ref()?))).collect();
    Examination { candidate: examine_all(&candidate), champion: examine_all(&champion) }
}

impl Examination {
    /// What is known about the candidate's answer to a sample.
    pub(crate) fn candidate(&self, sample_id: &str) -> Option<&Examined> {
        self.candidate.get(sample_id)
    }

    /// What is known about the champion's answer to a sample.
    pub(crate) fn champion(&self, sample_id: &str) -> Option<&Examined> {
        self.champion.get(sample_id)
    }
}

impl Examined {
    /// The lowest scores for an answer that holds nothing; `None` when a judge must look at it.
    pub(crate) fn verdict(&self) -> Option<Judgement> {
        if !self.holds_nothing {
            return None;
        }
        let reasons: Vec<_> = self.checks.iter().map(|finding| finding.text.as_str()).collect();
        Some(Judgement::Scored(Scored {
            scores: CriteriaScores::same(0.0),
            reply: format!("not judged: {}", reasons.join("; ")),
            details: self.added_to(AnswerDetails::default()),
        }))
    }

    /// A judgement with these findings and figures among its details.
    pub(crate) fn complete(&self, judgement: Judgement) -> Judgement {
        match judgement {
            Judgement::Scored(scored) => {
                let details = self.added_to(scored.details);
                Judgement::Scored(Scored { details, ..scored })
            }
            unscored @ Judgement::Unscored { .. } => unscored,
        }
    }

    fn added_to(&self, details: AnswerDetails) -> AnswerDetails {
        let checks = self.checks.iter().cloned().chain(details.checks).collect();
        AnswerDetails { checks, metrics: Some(self.metrics), ..details }
    }
}

/// Examines the answers of one version.
fn examine_all(answers: &[(&GoldenSample, &Answer)]) -> BTreeMap<String, Examined> {
    let duplicates = duplicated::duplicates(answers);
    let examined = answers.iter().zip(duplicates).map(|((sample, answer), duplicate)| {
        let mut examined = examine_one(sample, answer);
        if !examined.holds_nothing {
            examined.checks.extend(duplicate);
        }
        (sample.sample_id.clone(), examined)
    });
    examined.collect()
}

fn examine_one(sample: &GoldenSample, answer: &Answer) -> Examined {
    let metrics = text_metrics::measure(&answer.text, &sample.expected_output);
    let seen = visible(&answer.text);
    if let Some(nothing) = content::nothing(sample, &answer.text) {
        return Examined { checks: vec![nothing], metrics, holds_nothing: true };
    }
    let mut checks = Vec::new();
    checks.extend(content::unrelated(sample, &seen));
    checks.extend(repeated::repeated(&seen));
    if answer.finish_reason == FinishReason::Length {
        let text =
            format!("cut off after {} tokens, the limit; raise generation.max_new_tokens", answer.tokens);
        checks.push(CheckCode::Truncated.soft(text));
    }
    if sample.checks.language.is_none() {
        checks.extend(unlike_expected(&seen, &sample.expected_output));
    }
    checks.extend(sample.checks.failed_by(&answer.text));
    Examined { checks, metrics, holds_nothing: false }
}

/// Another language than that of the expected output, where the sample asks for none: shown, but no cap.
fn unlike_expected(answer: &str, expected: &str) -> Option<CheckFinding> {
    let (found, wanted) = (language::detect(answer)?, language::detect(expected)?);
    let text = format!("the language is `{found}`, that of the expected output `{wanted}`");
    (found != wanted).then(|| CheckCode::OtherLanguage.soft(text))
}
