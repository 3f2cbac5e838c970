//! One judge and one answer: asks, reads, asks once more when the reply cannot be read, and never makes up a score.

mod call;

use std::collections::BTreeMap;

use clara_lifecycle::{
    golden::GoldenSample,
    rubric::RubricCriterion,
    score::{Criterion, CriterionVote, JudgeIdentity, JudgeVote, Scoring},
    spec::JudgeCalls,
};
use clara_runtime::stop::StopSignal;

use crate::{
    client::{CallError, Endpoint, Reply},
    expectation::{self, Distribution},
    parse::{self, Better, Scores},
    prompt::{Prompter, Reasons},
};

pub(crate) use call::{KeptReply, Unread};
use call::{Question, read_text};

/// Temperature of repeats: the replies are then drawn from what the judge thinks (G-Eval does the same).
const REPEAT_TEMPERATURE: f32 = 1.0;

/// One judge: an endpoint, a model there, and a way to ask.
#[derive(Debug)]
pub(crate) struct Judge {
    /// Where it answers.
    pub(crate) endpoint: Endpoint,
    /// Model name there.
    pub(crate) model: String,
    /// How its prompts are written.
    pub(crate) prompter: Prompter,
    /// How it is asked.
    pub(crate) asking: Asking,
    /// Who it is.
    pub(crate) identity: JudgeIdentity,
}

/// How a judge is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asking {
    /// One call for all criteria, or one for each.
    pub(crate) calls: JudgeCalls,
    /// Whether probabilities of tokens are asked for.
    pub(crate) logprobs: bool,
    /// Replies whose mean is the score.
    pub(crate) repeats: u32,
}

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// What was asked and expected.
    pub(crate) sample: &'a GoldenSample,
    /// The version that answered.
    pub(crate) adapter_id: &'a str,
    /// Its answer.
    pub(crate) answer: &'a str,
}

/// The readable replies to one question.
struct Readings {
    scores: Vec<(Scores, Reply)>,
}

impl Judge {
    /// Judges one answer and keeps every reply in `kept`. The inner error is a failure for this answer alone.
    ///
    /// # Errors
    /// [`CallError`] when the endpoint as a whole fails.
    pub(crate) async fn vote(
        &self,
        subject: Subject<'_>,
        stop: &StopSignal,
        kept: &mut Vec<KeptReply>,
    ) -> Result<Result<JudgeVote, Unread>, CallError> {
        let criteria: Vec<&RubricCriterion> = self.prompter.rubric().applying(subject.sample).collect();
        let size = match self.asking.calls {
            JudgeCalls::Together => criteria.len().max(1),
            JudgeCalls::Each => 1,
        };
        let mut vote = JudgeVote {
            judge_id: self.identity.judge_id.clone(),
            criteria: BTreeMap::new(),
            scoring: Scoring::Probabilities,
            replies: Vec::new(),
        };
        for asked in criteria.chunks(size) {
            let readings = match self.readings(subject, asked, stop, kept).await? {
                Ok(readings) => readings,
                Err(unread) => return Ok(Err(unread)),
            };
            let (scoring, votes) = self.weigh(asked, &readings);
            vote.scoring = vote.scoring.min(scoring);
            vote.criteria.extend(votes);
            vote.replies.extend(readings.scores.into_iter().map(|(_, reply)| reply.text));
        }
        Ok(Ok(vote))
    }

    /// Says which of two answers is better, shown in this order.
    ///
    /// # Errors
    /// [`CallError`] when the endpoint as a whole fails.
    pub(crate) async fn compare(
        &self,
        first: Subject<'_>,
        second: Subject<'_>,
        stop: &StopSignal,
        kept: &mut Vec<KeptReply>,
    ) -> Result<Result<Better, Unread>, CallError> {
        let question = Question {
            subject: first,
            about: "preference".to_owned(),
            repeat: 0,
            temperature: 0.0,
            logprobs: false,
        };
        let request = self.prompter.compare(first.sample, first.answer, second.answer);
        let read = |reply: &Reply| read_text(reply, parse::read_preference);
        Ok(self.put(&question, request, &read, stop, kept).await?.map(|(better, _)| better))
    }

    /// Whether the endpoint tells the probabilities of a reply's tokens, found out by one short call.
    ///
    /// # Errors
    /// [`CallError`] when the endpoint as a whole fails.
    pub(crate) async fn tells_probabilities(&self, stop: &StopSignal) -> Result<bool, CallError> {
        let sample = GoldenSample::new("1 + 1 = ?".to_owned(), "2".to_owned());
        let subject = Subject { sample: &sample, adapter_id: "probe", answer: "2" };
        let prompter = Prompter::new(self.prompter.rubric().clone(), Reasons::None);
        let criteria: Vec<&RubricCriterion> = prompter.rubric().applying(&sample).take(1).collect();
        let wanted: Vec<Criterion> = criteria.iter().map(|entry| entry.criterion).collect();
        let question =
            Question { subject, about: "probe".to_owned(), repeat: 0, temperature: 0.0, logprobs: true };
        let request = prompter.ask(&sample, subject.answer, &criteria);
        let read = |reply: &Reply| read_text(reply, |text| parse::read_scores(text, &wanted));
        let reply = self.put(&question, request, &read, stop, &mut Vec::new()).await?;
        let told = reply.ok().and_then(|(scores, reply)| probable(&scores, &reply));
        Ok(told.is_some())
    }

    /// Asks for `criteria` as often as there are repeats. More than half of the replies must be readable.
    async fn readings(
        &self,
        subject: Subject<'_>,
        criteria: &[&RubricCriterion],
        stop: &StopSignal,
        kept: &mut Vec<KeptReply>,
    ) -> Result<Result<Readings, Unread>, CallError> {
        let wanted: Vec<Criterion> = criteria.iter().map(|entry| entry.criterion).collect();
        let about = match (self.asking.calls, wanted.first()) {
            (JudgeCalls::Each, Some(criterion)) => criterion.to_string(),
            (JudgeCalls::Each, None) | (JudgeCalls::Together, _) => "scores".to_owned(),
        };
        let repeats = self.asking.repeats.max(1);
        let (mut scores, mut unread) = (Vec::new(), None);
        for repeat in 0..repeats {
            let question = Question {
                subject,
                about: about.clone(),
                repeat,
                temperature: if repeats > 1 { REPEAT_TEMPERATURE } else { 0.0 },
                logprobs: self.asking.logprobs,
            };
            let request = self.prompter.ask(subject.sample, subject.answer, criteria);
            let read = |reply: &Reply| read_text(reply, |text| parse::read_scores(text, &wanted));
            match self.put(&question, request, &read, stop, kept).await? {
                Ok(reading) => scores.push(reading),
                Err(fault) => unread = unread.or(Some(fault)),
            }
        }
        Ok(match unread {
            Some(unread) if scores.len() * 2 <= repeats as usize => Err(unread),
            Some(_) | None => Ok(Readings { scores }),
        })
    }

    /// What the readable replies say about each criterion, and where that comes from.
    fn weigh(
        &self,
        criteria: &[&RubricCriterion],
        readings: &Readings,
    ) -> (Scoring, BTreeMap<Criterion, CriterionVote>) {
        let scores = &readings.scores;
        let reason = |criterion: Criterion| {
            scores.iter().find_map(|(scores, _)| scores.reasons.get(&criterion).cloned())
        };
        let votes = |of: &dyn Fn(Criterion) -> Option<Distribution>| -> BTreeMap<Criterion, CriterionVote> {
            let names = criteria.iter().map(|entry| entry.criterion);
            names.filter_map(|criterion| Some((criterion, of(criterion)?.vote(reason(criterion))?))).collect()
        };
        if let [(single, reply)] = scores.as_slice()
            && self.asking.repeats <= 1
            && let Some(mut found) = probable(single, reply)
        {
            let votes = criteria.iter().filter_map(|entry| {
                let distribution = found.remove(&entry.criterion)?;
                Some((entry.criterion, distribution.vote(reason(entry.criterion))?))
            });
            return (Scoring::Probabilities, votes.collect());
        }
        let marks = |criterion: Criterion| {
            let marks = scores.iter().filter_map(|(scores, _)| scores.marks.get(&criterion).copied());
            Some(Distribution::of_marks(marks))
        };
        let scoring = if scores.len() > 1 { Scoring::Repeats } else { Scoring::Reply };
        (scoring, votes(&marks))
    }
}

/// The distributions of all scores of a reply, where its tokens tell them.
fn probable(scores: &Scores, reply: &Reply) -> Option<BTreeMap<Criterion, Distribution>> {
    expectation::distributions(&reply.text, reply.tokens_logprobs.as_deref()?, &scores.marks)
}
