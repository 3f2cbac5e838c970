//! One question to a judge: the call, the reading of its reply, and one request to repair it.

use clara_lifecycle::score::{Judgement, UnscoredReason};
use clara_runtime::stop::StopSignal;
use serde::Serialize;

use super::{Judge, Subject};
use crate::{
    client::{Ask, CallError, Finish, Reply},
    parse::ReplyFault,
    prompt::{Reasons, Request},
};

/// Longest reply in tokens when only scores are asked for.
const SCORES_TOKENS: u32 = 256;
/// Longest reply in tokens with reasons; models that think before they write count that too.
const REASONS_TOKENS: u32 = 2_048;

/// One reply as it is kept in `replies.jsonl`.
#[derive(Debug, Serialize)]
pub(crate) struct KeptReply {
    /// The golden sample.
    pub(crate) sample_id: String,
    /// The version that answered it; in comparisons the one that was shown first.
    pub(crate) adapter_id: String,
    /// The judge.
    pub(crate) judge_id: String,
    /// What was asked for: `scores`, the name of a single criterion, or `preference`.
    pub(crate) about: String,
    /// Number of the repeat, from 0.
    pub(crate) repeat: u32,
    /// 1, or 2 for the reply to the request to repair the first.
    pub(crate) number: u8,
    /// Why it holds nothing usable, if so.
    pub(crate) fault: Option<String>,
    /// What came; of the probabilities only those of tokens with digits.
    #[serde(flatten)]
    pub(crate) reply: Reply,
}

/// What is asked, and how.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) about: String,
    pub(super) repeat: u32,
    pub(super) temperature: f32,
    pub(super) logprobs: bool,
}

/// A reply that says nothing usable.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unread {
    /// Why, as a code.
    pub(crate) reason: UnscoredReason,
    /// Why, with what was found.
    pub(crate) detail: String,
    is_repairable: bool,
}

impl Judge {
    /// Puts a question and reads the reply; when it cannot be read, asks once more. The inner error is a failure for
    /// this question alone.
    pub(super) async fn put<T: Send>(
        &self,
        question: &Question<'_>,
        request: Request,
        read: &(dyn Fn(&Reply) -> Result<T, Unread> + Send + Sync),
        stop: &StopSignal,
        kept: &mut Vec<KeptReply>,
    ) -> Result<Result<(T, Reply), Unread>, CallError> {
        let first = match self.call(question, &request, read, stop).await? {
            Ok(reply) => reply,
            Err(unread) => return Ok(Err(unread)),
        };
        let read_first = read(&first);
        self.keep(question, 1, &first, read_first.as_ref().err(), kept);
        let unread = match read_first {
            Ok(value) => return Ok(Ok((value, first))),
            Err(unread) if unread.is_repairable => unread,
            Err(unread) => return Ok(Err(unread)),
        };
        let again = self.prompter.ask_again(request, &first.text, &unread.detail);
        let Ok(second) = self.call(question, &again, read, stop).await? else { return Ok(Err(unread)) };
        let read_second = read(&second);
        self.keep(question, 2, &second, read_second.as_ref().err(), kept);
        Ok(read_second.map(|value| (value, second)))
    }

    /// One call; the inner error is a failure for this question alone.
    async fn call<T: Send>(
        &self,
        question: &Question<'_>,
        request: &Request,
        read: &(dyn Fn(&Reply) -> Result<T, Unread> + Send + Sync),
        stop: &StopSignal,
    ) -> Result<Result<Reply, Unread>, CallError> {
        let ask = Ask {
            model: &self.model,
            messages: &request.messages,
            schema: &request.schema,
            max_tokens: match self.prompter.reasons() {
                Reasons::None => SCORES_TOKENS,
                Reasons::Before | Reasons::After => REASONS_TOKENS,
            },
            temperature: question.temperature,
            logprobs: question.logprobs,
            repeat: question.repeat,
            is_readable: &|reply| read(reply).is_ok(),
            seed: seed(question),
        };
        let for_this_answer =
            |reason, error: &CallError| Unread { reason, detail: error.to_string(), is_repairable: false };
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

    fn keep(
        &self,
        question: &Question<'_>,
        number: u8,
        reply: &Reply,
        unread: Option<&Unread>,
        kept: &mut Vec<KeptReply>,
    ) {
        let mut reply = reply.clone();
        if let Some(tokens) = &mut reply.tokens_logprobs {
            tokens.retain(|token| token.token.contains(|character: char| character.is_ascii_digit()));
        }
        kept.push(KeptReply {
            sample_id: question.subject.sample.sample_id.clone(),
            adapter_id: question.subject.adapter_id.to_owned(),
            judge_id: self.identity.judge_id.clone(),
            about: question.about.clone(),
            repeat: question.repeat,
            number,
            fault: unread.map(|unread| unread.detail.clone()),
            reply,
        });
    }
}

impl From<Unread> for Judgement {
    fn from(unread: Unread) -> Self {
        Self::Unscored { reason: unread.reason, detail: unread.detail }
    }
}

/// Reads a reply by `parse`, unless it was refused, is empty, or was cut off.
pub(super) fn read_text<T>(
    reply: &Reply,
    parse: impl FnOnce(&str) -> Result<T, ReplyFault>,
) -> Result<T, Unread> {
    let unread = |reason, detail: String, is_repairable| Err(Unread { reason, detail, is_repairable });
    if let Finish::Refused(words) = &reply.finish {
        return unread(UnscoredReason::Refused, words.clone(), false);
    }
    if reply.text.trim().is_empty() {
        return unread(UnscoredReason::EmptyReply, "the reply holds no text".to_owned(), false);
    }
    match parse(&reply.text) {
        Ok(value) => Ok(value),
        Err(fault) if reply.finish == Finish::Length => {
            unread(UnscoredReason::Truncated, format!("the reply was cut off, {fault}"), false)
        }
        Err(fault) => unread(fault.reason(), fault.to_string(), true),
    }
}

/// A seed for the pauses of this call: other for each answer, the same whenever it is asked.
fn seed(question: &Question<'_>) -> u64 {
    // FNV-1a; spreads the pauses, nothing else rests on it.
    let subject = question.subject;
    let bytes =
        subject.sample.sample_id.bytes().chain(subject.adapter_id.bytes()).chain(question.about.bytes());
    bytes
        .chain(question.repeat.to_le_bytes())
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}
