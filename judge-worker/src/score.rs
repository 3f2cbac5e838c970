//! Judges one answer: asks, reads, asks once more when the reply cannot be read, and never makes up a score.

use clara_lifecycle::{
    golden::GoldenSample,
    score::{AnswerDetails, Judgement, Scored, UnscoredReason},
};
use clara_runtime::stop::StopSignal;
use serde::Serialize;

use crate::{
    client::{Ask, CallError, Endpoint, Finish, Reply},
    parse,
    prompt::{Message, Prompter},
};

/// Longest reply in tokens when only scores are asked for.
const SCORES_TOKENS: u32 = 256;
/// Longest reply in tokens with reasons; models that think before they write count that too.
const REASONS_TOKENS: u32 = 2_048;

/// One judge: an endpoint, a model there, and a way to ask.
#[derive(Debug)]
pub(crate) struct Judge {
    /// Where it answers.
    pub(crate) endpoint: Endpoint,
    /// Model name there.
    pub(crate) model: String,
    /// How it is asked.
    pub(crate) prompter: Prompter,
}

/// One reply as it is kept in `replies.jsonl`.
#[derive(Debug, Serialize)]
pub(crate) struct KeptReply {
    /// The golden sample.
    pub(crate) sample_id: String,
    /// The version that answered it.
    pub(crate) adapter_id: String,
    /// 1, or 2 for the reply to the request to repair the first.
    pub(crate) number: u8,
    /// Why it holds no scores, if so.
    pub(crate) fault: Option<String>,
    /// What came.
    #[serde(flatten)]
    pub(crate) reply: Reply,
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

/// A reply without scores.
struct Unread {
    reason: UnscoredReason,
    detail: String,
    repairable: bool,
}

impl Judge {
    /// Judges one answer and keeps every reply in `kept`.
    ///
    /// # Errors
    /// [`CallError`] when the endpoint as a whole fails. What fails for this one answer is a
    /// [`Judgement::Unscored`] instead.
    pub(crate) async fn judge(
        &self,
        subject: Subject<'_>,
        stop: &StopSignal,
        kept: &mut Vec<KeptReply>,
    ) -> Result<Judgement, CallError> {
        let messages = self.prompter.ask(subject.sample, subject.answer);
        let first = match self.ask(&messages, subject, stop).await? {
            Ok(reply) => reply,
            Err(unread) => return Ok(unread.into()),
        };
        let unread = match keep(subject, 1, first.clone(), kept) {
            Ok(scored) => return Ok(Judgement::Scored(scored)),
            Err(unread) if unread.repairable => unread,
            Err(unread) => return Ok(unread.into()),
        };
        let again = self.prompter.ask_again(messages, &first.text, &unread.detail);
        match self.ask(&again, subject, stop).await? {
            Ok(second) => Ok(keep(subject, 2, second, kept).map_or_else(Judgement::from, Judgement::Scored)),
            Err(_) => Ok(unread.into()),
        }
    }

    /// One call; the inner error is a failure for this answer alone.
    async fn ask(
        &self,
        messages: &[Message],
        subject: Subject<'_>,
        stop: &StopSignal,
    ) -> Result<Result<Reply, Unread>, CallError> {
        let ask = Ask {
            model: &self.model,
            messages,
            schema: &self.prompter.schema(),
            max_tokens: if self.prompter.reasoning() { REASONS_TOKENS } else { SCORES_TOKENS },
            temperature: 0.0,
            logprobs: false,
            repeat: 0,
            is_readable: &|reply| read(reply).is_ok(),
            seed: seed(subject),
        };
        let for_this_answer =
            |reason, error: &CallError| Unread { reason, detail: error.to_string(), repairable: false };
        match self.endpoint.chat(&ask, stop).await {
            Ok(reply) => Ok(Ok(reply)),
            Err(error @ CallError::Rejected { .. }) => {
                Ok(Err(for_this_answer(UnscoredReason::RequestRejected, &error)))
            }
            Err(error @ CallError::ServerError { .. }) => {
                Ok(Err(for_this_answer(UnscoredReason::ServerError, &error)))
            }
            Err(error) => Err(error),
        }
    }
}

impl From<Unread> for Judgement {
    fn from(unread: Unread) -> Self {
        Self::Unscored { reason: unread.reason, detail: unread.detail }
    }
}

/// Reads a reply and keeps it, with its fault if it has one.
fn keep(subject: Subject<'_>, number: u8, reply: Reply, kept: &mut Vec<KeptReply>) -> Result<Scored, Unread> {
    let read = read(&reply);
    kept.push(KeptReply {
        sample_id: subject.sample.sample_id.clone(),
        adapter_id: subject.adapter_id.to_owned(),
        number,
        fault: read.as_ref().err().map(|unread| unread.detail.clone()),
        reply,
    });
    read
}

fn read(reply: &Reply) -> Result<Scored, Unread> {
    let unread = |reason, detail: String, repairable| Err(Unread { reason, detail, repairable });
    if let Finish::Refused(words) = &reply.finish {
        return unread(UnscoredReason::Refused, words.clone(), false);
    }
    if reply.text.trim().is_empty() {
        return unread(UnscoredReason::EmptyReply, "the reply holds no text".to_owned(), false);
    }
    match parse::read_scores(&reply.text) {
        Ok(scores) => Ok(Scored { scores, reply: reply.text.clone(), details: AnswerDetails::default() }),
        Err(fault) if reply.finish == Finish::Length => {
            unread(UnscoredReason::Truncated, format!("the reply was cut off, {fault}"), false)
        }
        Err(fault) => unread(fault.reason(), fault.to_string(), true),
    }
}

/// A seed for the pauses of this call: other for each answer, the same whenever it is asked.
fn seed(subject: Subject<'_>) -> u64 {
    // FNV-1a; spreads the pauses, nothing else rests on it.
    let bytes = subject.sample.sample_id.bytes().chain(subject.adapter_id.bytes());
    bytes
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}
