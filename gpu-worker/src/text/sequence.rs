//! One text being generated: what to feed next, what was said, when it ends.

use std::sync::Arc;

use clara_lifecycle::answers::FinishReason;

use super::{Finished, TextError, TextEvent, TextModel, TextRequest, TokenEvent, output::Output};
use crate::{
    engine::SequenceId,
    guided::{Guide, Position},
    sampling::{self, Sampler, TokenLogprobs},
};

/// Tokens kept free for the end of a guided answer: values may take more tokens than their shortest spelling.
const CLOSING_MARGIN: usize = 8;

/// One text being generated.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) id: SequenceId,
    model: Arc<TextModel>,
    request: TextRequest,
    prompt_tokens: u32,
    /// Tokens to feed, and how many of them were.
    pending: Vec<u32>,
    fed: usize,
    sampler: Sampler,
    output: Output,
    position: Option<Position>,
    completion_tokens: u32,
    events: Vec<TextEvent>,
    ended: bool,
}

impl Sequence {
    /// A sequence that has its prompt to feed, and the fixed beginning of a guided answer.
    ///
    /// # Errors
    /// [`TextError::GuideStuck`] when the vocabulary cannot spell that beginning.
    pub(super) fn new(
        id: SequenceId,
        model: Arc<TextModel>,
        mut request: TextRequest,
    ) -> Result<Self, TextError> {
        let pending = std::mem::take(&mut request.prompt);
        let mut sequence = Self {
            id,
            model,
            prompt_tokens: u32::try_from(pending.len()).unwrap_or(u32::MAX),
            pending,
            fed: 0,
            sampler: Sampler::new(request.sampling),
            output: Output::new(std::mem::take(&mut request.stop)),
            position: request.guide.as_ref().map(Guide::start),
            completion_tokens: 0,
            events: Vec::new(),
            ended: false,
            request,
        };
        sequence.force()?;
        Ok(sequence)
    }

    /// Tokens that the sequence can reach.
    pub(super) fn full_length(request: &TextRequest) -> usize {
        request.prompt.len().saturating_add(usize::try_from(request.max_tokens).unwrap_or(usize::MAX))
    }

    /// The next tokens to feed, at most `limit`.
    pub(super) fn next_tokens(&self, limit: usize) -> &[u32] {
        let end = self.pending.len().min(self.fed.saturating_add(limit.max(1)));
        self.pending.get(self.fed..end).unwrap_or_default()
    }

    /// Takes note that the next `limit` tokens were fed, which gave `logits`; chooses a token when none is left to feed.
    ///
    /// # Errors
    /// [`TextError::NotFinite`] or [`TextError::GuideStuck`] when no token can be chosen.
    pub(super) fn fed(&mut self, limit: usize, logits: &[f32]) -> Result<(), TextError> {
        self.fed += self.next_tokens(limit).len();
        if self.fed == self.pending.len() { self.choose(logits) } else { Ok(()) }
    }

    /// What happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<TextEvent> {
        std::mem::take(&mut self.events)
    }

    /// Whether the text has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    fn choose(&mut self, logits: &[f32]) -> Result<(), TextError> {
        if let Some(closed) = self.string_to_close() {
            self.position = Some(closed);
            self.pending.clear();
            self.fed = 0;
            return self.force();
        }
        let candidates = self.candidates(logits)?;
        let tokens = self.completion_tokens;
        let token = self.sampler.choose(&candidates).ok_or(TextError::NotFinite { tokens })?;
        if self.position.is_none() && self.model.end_tokens.contains(&token) {
            self.end(FinishReason::Stop);
            return Ok(());
        }
        let logprobs = self.request.logprobs.map(|count| sampling::logprobs(&candidates, token, count));
        self.pending.clear();
        self.fed = 0;
        if let Some((guide, position)) = self.request.guide.as_ref().zip(self.position) {
            self.position = guide.advance_all(position, self.model.vocabulary.bytes(token));
        }
        self.say(token, logprobs);
        self.force()
    }

    /// Ends the string at hand when the tokens left are needed for what must follow it, so that the answer still fits
    /// its schema. With too few tokens even for that, the answer is cut off as any other.
    fn string_to_close(&self) -> Option<Position> {
        let (guide, position) = self.request.guide.as_ref().zip(self.position)?;
        let left = usize::try_from(self.request.max_tokens.saturating_sub(self.completion_tokens)).ok()?;
        let rest = guide.rest_without_strings(position);
        // No token is shorter than a byte, so most of the time nothing needs to be spelled.
        if left > rest.len() + CLOSING_MARGIN {
            return None;
        }
        let needed = self.model.vocabulary.spell(&rest)?.len();
        if left > needed + CLOSING_MARGIN { None } else { guide.close_string(position) }
    }

    fn candidates(&self, logits: &[f32]) -> Result<Vec<(u32, f32)>, TextError> {
        let Some((guide, position)) = self.request.guide.as_ref().zip(self.position) else {
            return Ok((0_u32..).zip(logits.iter().copied()).collect());
        };
        let logit = |token: u32| usize::try_from(token).ok().and_then(|index| logits.get(index)).copied();
        let allowed = guide.allowed(position, &self.model.vocabulary).into_iter();
        let candidates: Vec<_> = allowed.filter_map(|token| Some((token, logit(token)?))).collect();
        if candidates.is_empty() {
            return Err(TextError::GuideStuck { tokens: self.completion_tokens });
        }
        Ok(candidates)
    }

    /// Says the fixed text at the guide's position, and ends the text when the schema is fulfilled.
    fn force(&mut self) -> Result<(), TextError> {
        let (Some(guide), Some(position)) = (self.request.guide.clone(), self.position) else {
            self.end_at_limit();
            return Ok(());
        };
        let stuck = TextError::GuideStuck { tokens: self.completion_tokens };
        let text = guide.forced(position);
        let tokens = self.model.vocabulary.spell(&text).ok_or_else(|| stuck.clone())?;
        for token in tokens {
            self.end_at_limit();
            // A forced token is the only one that fits, so its probability among those that fit is 1.
            let certain =
                |count| TokenLogprobs { chosen: 0.0, top: [(token, 0.0)].into_iter().take(count).collect() };
            self.say(token, self.request.logprobs.map(certain));
        }
        let position = guide.advance_all(position, &text).ok_or(stuck)?;
        self.position = Some(position);
        if guide.is_complete(position) {
            self.end(FinishReason::Stop);
        }
        self.end_at_limit();
        Ok(())
    }

    /// Says a token: its text goes out, and it is fed next. Nothing is said after the end.
    fn say(&mut self, token: u32, logprobs: Option<TokenLogprobs>) {
        if self.ended {
            return;
        }
        let released = self.output.push(self.model.vocabulary.bytes(token));
        self.completion_tokens += 1;
        self.pending.push(token);
        self.events.push(TextEvent::Token(TokenEvent { token, text: released.text, logprobs }));
        if released.stopped {
            self.end(FinishReason::Stop);
        }
    }

    fn end_at_limit(&mut self) {
        if self.completion_tokens >= self.request.max_tokens {
            self.end(FinishReason::Length);
        }
    }

    fn end(&mut self, reason: FinishReason) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.events.push(TextEvent::Finished(Finished {
            text: self.output.finish(),
            reason,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
        }));
    }
}
