//! Several judges as one: the mean of their scores, each corrected by its offset, and what a reviewer should know.

use std::collections::BTreeMap;

use clara_lifecycle::{
    attempt::JudgeOffsets,
    rubric::{POINTS_PER_ANCHOR, Rubric, RubricCriterion},
    score::{
        AnswerDetails, CheckCode, CheckFinding, CriteriaScores, Criterion, CriterionVote, Flag, JudgeVote,
        Judgement, Scored, UnscoredReason,
    },
    statistics,
};
use clara_runtime::stop::StopSignal;
use futures::future::try_join_all;

use crate::{
    client::CallError,
    injection,
    prompt::needs_neutralising,
    score::{Judge, KeptReply, Subject, Unread},
};

/// Judges further apart than this on a criterion (0–10) disagree: two anchors of five.
const DISAGREEMENT: f64 = 4.0;
/// A judge with more entropy than this on a criterion is unsure: more than three scores as likely as each other come near.
const UNSURE_BITS: f64 = 1.5;
/// An answer that is so many times as long as the expected output is long …
const LONG_RATIO: f64 = 2.5;
/// … when it has so many characters more.
const LONG_CHARS: f64 = 300.0;

/// All judges of a job.
#[derive(Debug)]
pub(crate) struct Panel {
    /// What they score.
    pub(crate) rubric: Rubric,
    /// The judges; never none.
    pub(crate) judges: Vec<Judge>,
    /// What is added to the scores of each.
    pub(crate) offsets: JudgeOffsets,
}

impl Panel {
    /// Judges one answer and gives every reply along.
    ///
    /// # Errors
    /// [`CallError`] when an endpoint as a whole fails. What fails for this one answer is a [`Judgement::Unscored`].
    pub(crate) async fn judge(
        &self,
        subject: Subject<'_>,
        stop: &StopSignal,
    ) -> Result<(Judgement, Vec<KeptReply>), CallError> {
        let votes = self.judges.iter().map(|judge| async move {
            let mut kept = Vec::new();
            let vote = judge.vote(subject, stop, &mut kept).await?;
            Ok::<_, CallError>((vote, kept))
        });
        let (votes, kept): (Vec<_>, Vec<_>) = try_join_all(votes).await?.into_iter().unzip();
        let judgement = combined(&self.rubric, &self.offsets, subject, votes);
        Ok((judgement, kept.into_iter().flatten().collect()))
    }
}

/// The judgement of all votes: scored when more than half of the judges gave scores.
fn combined(
    rubric: &Rubric,
    offsets: &JudgeOffsets,
    subject: Subject<'_>,
    votes: Vec<Result<JudgeVote, Unread>>,
) -> Judgement {
    let judges = votes.len();
    let mut unread = None;
    let mut given = Vec::new();
    for vote in votes {
        match vote {
            Ok(vote) => given.push(vote),
            Err(fault) => unread = unread.or(Some(fault)),
        }
    }
    if let Some(unread) = unread
        && given.len() * 2 <= judges
    {
        return unread.into();
    }
    let corrected: Vec<_> = given.iter().map(|vote| corrected(vote, offsets.get(&vote.judge_id))).collect();
    match CriteriaScores::of(means(&corrected)) {
        Ok(scores) => {
            let reply = given.first().map(|vote| vote.replies.join("\n")).unwrap_or_default();
            let checks = hard_failures(rubric, subject, &scores);
            let flags = flags(subject, &given, &corrected);
            let details = AnswerDetails { checks, votes: given, flags, ..AnswerDetails::default() };
            Judgement::Scored(Scored { scores, reply, details })
        }
        // A sample that no criterion applies to cannot come: a sound rubric has one that always applies.
        Err(fault) => {
            Judgement::Unscored { reason: UnscoredReason::MissingCriterion, detail: fault.to_string() }
        }
    }
}

/// A vote's scores with the judge's offsets, still 0–10.
fn corrected(vote: &JudgeVote, offsets: Option<&BTreeMap<Criterion, f64>>) -> BTreeMap<Criterion, f64> {
    let offset = |criterion| offsets.and_then(|offsets| offsets.get(&criterion)).copied().unwrap_or(0.0);
    let score = |(&criterion, vote): (&Criterion, &CriterionVote)| {
        (criterion, (vote.mean + offset(criterion)).clamp(0.0, 10.0))
    };
    vote.criteria.iter().map(score).collect()
}

fn means(votes: &[BTreeMap<Criterion, f64>]) -> BTreeMap<Criterion, f64> {
    let mean = |criterion: Criterion| {
        let scores: Vec<f64> = votes.iter().filter_map(|vote| vote.get(&criterion).copied()).collect();
        Some((criterion, statistics::mean(&scores)?))
    };
    Criterion::ALL.into_iter().filter_map(mean).collect()
}

/// Criteria that alone fail the answer, by the rubric.
fn hard_failures(rubric: &Rubric, subject: Subject<'_>, scores: &CriteriaScores) -> Vec<CheckFinding> {
    let finding = |entry: &RubricCriterion| {
        let score = scores.get(entry.criterion).filter(|score| entry.fails_hard(*score))?;
        Some(CheckCode::RubricHardFail.hard(format!(
            "{} is {score:.1} of 10; the rubric {} fails an answer at {:.1} or below",
            entry.criterion,
            rubric.version,
            entry.hard_fail.unwrap_or_default() * POINTS_PER_ANCHOR
        )))
    };
    rubric.applying(subject.sample).filter_map(finding).collect()
}

fn flags(subject: Subject<'_>, votes: &[JudgeVote], corrected: &[BTreeMap<Criterion, f64>]) -> Vec<Flag> {
    let spread = |criterion: Criterion| {
        let scores = || corrected.iter().filter_map(|vote| vote.get(&criterion).copied());
        scores().fold(f64::MIN, f64::max) - scores().fold(f64::MAX, f64::min)
    };
    let unsure = |vote: &JudgeVote| vote.criteria.values().any(|vote| vote.entropy > UNSURE_BITS);
    #[expect(clippy::cast_precision_loss, reason = "answers are far shorter")]
    let length = |text: &str| text.chars().count() as f64;
    let (answer, expected) = (length(subject.answer), length(&subject.sample.expected_output));
    let found = [
        (Flag::Injection, injection::speaks_to_judge(subject.answer)),
        (Flag::Neutralised, needs_neutralising(subject.answer)),
        (Flag::Disagreement, Criterion::ALL.into_iter().any(|criterion| spread(criterion) >= DISAGREEMENT)),
        (Flag::Unsure, votes.iter().any(unsure)),
        (Flag::Long, answer > LONG_RATIO * expected && answer > expected + LONG_CHARS),
    ];
    found.into_iter().filter(|(_, holds)| *holds).map(|(flag, _)| flag).collect()
}
