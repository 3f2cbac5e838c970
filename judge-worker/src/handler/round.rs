//! One pass over all samples: both answers judged, and compared where that is asked for.

use clara_lifecycle::{
    answers::SampleAnswers,
    golden::GoldenSample,
    score::{Flag, Judgement, PairwiseResult, Scoring, UnscoredReason},
};
use clara_runtime::{
    metrics,
    stop::StopSignal,
    worker::{ProgressSender, StageFailure},
};
use futures::{StreamExt, stream};

use super::{failure, input::Input};
use crate::{
    checks::{Examination, Examined},
    client::CallError,
    panel::Panel,
    score::{Judge, KeptReply, Subject},
};

/// The judgements of one sample.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) sample_id: String,
    pub(super) candidate: Judgement,
    pub(super) champion: Option<Judgement>,
    /// The comparison, with the difference of lengths in characters.
    pub(super) compared: Option<(PairwiseResult, f64)>,
    pub(super) replies: Vec<KeptReply>,
}

/// One pass over all samples.
pub(super) struct Round<'a> {
    pub(super) panel: &'a Panel,
    pub(super) input: &'a Input,
    pub(super) examination: &'a Examination,
    pub(super) is_pairwise: bool,
    pub(super) stop: &'a StopSignal,
    pub(super) progress: &'a ProgressSender,
}

impl Round<'_> {
    /// Judges all samples, several at once. A sample that waits long for its judge holds nobody up, and after an
    /// error calls on their way still end: they are paid for.
    pub(super) async fn judge_all(&self, concurrency: u32) -> Result<Vec<Judged>, StageFailure> {
        let pairs = self.input.pairs()?;
        self.progress.update(|progress| {
            "samples".clone_into(&mut progress.unit);
            progress.total = Some(pairs.len() as u64);
        });
        let calls: Vec<_> = pairs
            .into_iter()
            .enumerate()
            .map(
                |(place, (sample, answers))| async move { (place, self.judge_sample(sample, answers).await) },
            )
            .collect();
        let mut judged: Vec<_> =
            stream::iter(calls).buffer_unordered(concurrency.max(1) as usize).collect().await;
        judged.sort_by_key(|(place, _)| *place);
        let judged = judged.into_iter().map(|(_, judged)| judged);
        let judged: Vec<Judged> = judged.collect::<Result<_, _>>().map_err(failure)?;
        broken_endpoint(&judged).map_or(Ok(judged), Err)
    }

    async fn judge_sample(
        &self,
        sample: &GoldenSample,
        answers: &SampleAnswers,
    ) -> Result<Judged, CallError> {
        let of = |adapter_id, answer| Subject { sample, adapter_id, answer };
        let candidate = of(self.input.answers.adapter_id.as_str(), answers.candidate.text.as_str());
        let examined = self.examination.candidate(&sample.sample_id);
        let (judgement, mut replies) = self.judge_answer(candidate, examined).await?;
        self.progress.update(|_| {});
        let mut judged = Judged {
            sample_id: sample.sample_id.clone(),
            candidate: judgement,
            champion: None,
            compared: None,
            replies: Vec::new(),
        };
        if let (Some(id), Some(answer)) = (&self.input.answers.champion_id, &answers.champion) {
            let champion = of(id.as_str(), answer.text.as_str());
            let examined = self.examination.champion(&sample.sample_id);
            let (judgement, kept) = self.judge_answer(champion, examined).await?;
            self.progress.update(|_| {});
            judged.champion = Some(judgement);
            replies.extend(kept);
            if self.is_pairwise {
                replies.extend(self.compare(candidate, champion, &mut judged).await?);
            }
        }
        judged.replies = replies;
        metrics::sample_judged(matches!(judged.candidate, Judgement::Scored(_)));
        if let Judgement::Unscored { reason, .. } = &judged.candidate {
            tracing::warn!(sample.id = %sample.sample_id, %reason, "the judge gave no score for {}", sample.sample_id);
        }
        self.progress.update(|progress| progress.done += 1);
        Ok(judged)
    }

    /// Judges one answer, unless it holds nothing to judge; what is known without a judge goes along.
    async fn judge_answer(
        &self,
        subject: Subject<'_>,
        examined: Option<&Examined>,
    ) -> Result<(Judgement, Vec<KeptReply>), CallError> {
        if let Some(verdict) = examined.and_then(Examined::verdict) {
            return Ok((verdict, Vec::new()));
        }
        let (judgement, replies) = self.panel.judge(subject, self.stop).await?;
        let judgement = match examined {
            Some(examined) => examined.complete(judgement),
            None => judgement,
        };
        Ok((judgement, replies))
    }

    async fn compare(
        &self,
        candidate: Subject<'_>,
        champion: Subject<'_>,
        judged: &mut Judged,
    ) -> Result<Vec<KeptReply>, CallError> {
        let (result, kept) = self.panel.compare(candidate, champion, self.stop).await?;
        if let Some(result) = result {
            if result.is_flipped()
                && let Judgement::Scored(scored) = &mut judged.candidate
            {
                scored.details.flags.push(Flag::Flipped);
            }
            #[expect(clippy::cast_precision_loss, reason = "answers are far shorter")]
            let length = |text: &str| text.chars().count() as f64;
            judged.compared = Some((result, length(candidate.answer) - length(champion.answer)));
        }
        Ok(kept)
    }
}

/// What a judge did not do as it was asked, a sentence each.
pub(super) fn gaps_of(judge: &Judge, judged: &[Judged]) -> Vec<String> {
    let name = &judge.identity.judge_id;
    let scored: Vec<_> = judged
        .iter()
        .flat_map(|judged| std::iter::once(&judged.candidate).chain(&judged.champion))
        .filter_map(|judgement| match judgement {
            // What holds nothing was not judged, and has no votes.
            Judgement::Scored(scored) => (!scored.details.votes.is_empty()).then_some(scored),
            Judgement::Unscored { .. } => None,
        })
        .collect();
    let votes =
        || scored.iter().filter_map(|scored| scored.details.votes.iter().find(|vote| vote.judge_id == *name));
    let missing = scored.len() - votes().count();
    let without = votes().filter(|vote| vote.scoring != Scoring::Probabilities).count();
    let mut gaps = Vec::new();
    if missing > 0 {
        gaps.push(format!("judge {name} gave no scores for {missing} of {} answers", scored.len()));
    }
    if judge.asking.logprobs && without > 0 {
        gaps.push(format!(
            "judge {name} told no probabilities for {without} of {} answers; their scores are its plain numbers",
            scored.len()
        ));
    }
    gaps
}

/// An endpoint that failed for every single answer is broken; that is no evaluation.
fn broken_endpoint(judged: &[Judged]) -> Option<StageFailure> {
    let mut details = Vec::new();
    for judged in judged {
        match &judged.candidate {
            Judgement::Unscored { reason: UnscoredReason::ServerError, detail } => details.push(detail),
            Judgement::Unscored { .. } | Judgement::Scored(_) => return None,
        }
    }
    details.first().map(StageFailure::retryable)
}
