//! Continues several texts together: those that wait join as others end.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{BatchLimits, TextError, TextEvent, TextModel, TextRequest, sequence::Sequence};
use crate::engine::{Decoder, SequenceId};

/// Names one text of a [`Batch`]; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Texts that are generated together. The same calls give the same texts.
pub struct Batch {
    decoder: Box<dyn Decoder>,
    model: Arc<TextModel>,
    limits: BatchLimits,
    running: BTreeMap<Ticket, Running>,
    waiting: VecDeque<(Ticket, TextRequest)>,
    next: u64,
}

struct Running {
    sequence: Sequence,
    /// Tokens of cache set aside for it.
    reserved: usize,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = (self.running.len(), self.waiting.len());
        formatter.debug_struct("Batch").field("running_and_waiting", &counts).finish_non_exhaustive()
    }
}

impl Batch {
    /// An empty batch over `decoder`.
    pub fn new(decoder: Box<dyn Decoder>, model: TextModel, limits: BatchLimits) -> Self {
        let model = Arc::new(model);
        Self { decoder, model, limits, running: BTreeMap::new(), waiting: VecDeque::new(), next: 0 }
    }

    /// The decoder, for its adapters and for scoring.
    pub fn decoder(&mut self) -> &mut dyn Decoder {
        self.decoder.as_mut()
    }

    /// Puts a request behind those that wait.
    pub fn submit(&mut self, request: TextRequest) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push_back((ticket, request));
        ticket
    }

    /// Drops a text; unknown and ended ones are left alone.
    ///
    /// # Errors
    /// [`TextError::Engine`] when the decoder does not know the sequence.
    pub fn cancel(&mut self, ticket: Ticket) -> Result<(), TextError> {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
        match self.running.remove(&ticket) {
            Some(running) => Ok(self.decoder.close(running.sequence.id)?),
            None => Ok(()),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Whether more requests wait than run at once.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= self.limits.sequences
    }

    /// Passes the next tokens of all running texts through the model at once and returns what happened to each.
    ///
    /// A text that cannot go on gets [`TextEvent::Failed`]; the others are not touched by it.
    pub fn step(&mut self) -> Vec<(Ticket, TextEvent)> {
        let mut events = Vec::new();
        self.admit(&mut events);
        if let Err(error) = self.extend(&mut events) {
            for ticket in self.running.keys() {
                events.push((*ticket, TextEvent::Failed(error.clone())));
            }
        }
        self.close_ended(&events);
        events
    }

    /// Opens waiting texts while there is room.
    fn admit(&mut self, events: &mut Vec<(Ticket, TextEvent)>) {
        while let Some((ticket, request)) = self.waiting.pop_front() {
            let needed = Sequence::full_length(&request);
            let reserved: usize = self.running.values().map(|running| running.reserved).sum();
            let has_room = self.running.len() < self.limits.sequences
                && reserved.saturating_add(needed) <= self.limits.cached_tokens;
            // One text alone always has room: its length was checked against the context.
            if !has_room && !self.running.is_empty() {
                self.waiting.push_front((ticket, request));
                return;
            }
            match self.open(request) {
                Ok(mut sequence) => {
                    events.extend(sequence.take_events().into_iter().map(|event| (ticket, event)));
                    self.running.insert(ticket, Running { sequence, reserved: needed });
                }
                Err(error) => events.push((ticket, TextEvent::Failed(error))),
            }
        }
    }

    fn open(&mut self, request: TextRequest) -> Result<Sequence, TextError> {
        self.model.check(&request)?;
        let id = self.decoder.open(request.adapter.as_deref())?;
        match Sequence::new(id, Arc::clone(&self.model), request) {
            Ok(sequence) => Ok(sequence),
            Err(error) => {
                self.decoder.close(id)?;
                Err(error)
            }
        }
    }

    fn extend(&mut self, events: &mut Vec<(Ticket, TextEvent)>) -> Result<(), TextError> {
        let limit = self.limits.prompt_tokens;
        let active = || self.running.values().filter(|running| !running.sequence.has_ended());
        let inputs: Vec<(SequenceId, &[u32])> =
            active().map(|running| (running.sequence.id, running.sequence.next_tokens(limit))).collect();
        if inputs.is_empty() {
            return Ok(());
        }
        let logits = self.decoder.extend(&inputs)?;
        let mut failed = Vec::new();
        let active = self.running.iter_mut().filter(|(_, running)| !running.sequence.has_ended());
        for ((ticket, running), logits) in active.zip(logits) {
            let outcome = running.sequence.fed(limit, &logits);
            events.extend(running.sequence.take_events().into_iter().map(|event| (*ticket, event)));
            if let Err(error) = outcome {
                failed.push((*ticket, TextEvent::Failed(error)));
            }
        }
        events.append(&mut failed);
        Ok(())
    }

    /// Closes what ended or failed in this step.
    fn close_ended(&mut self, events: &[(Ticket, TextEvent)]) {
        let is_last = |event: &TextEvent| matches!(event, TextEvent::Finished(_) | TextEvent::Failed(_));
        let ended: Vec<Ticket> =
            events.iter().filter(|(_, event)| is_last(event)).map(|(ticket, _)| *ticket).collect();
        for ticket in ended {
            if let Err(error) = self.cancel(ticket) {
                tracing::error!(%error, "cannot close a finished text");
            }
        }
    }
}
