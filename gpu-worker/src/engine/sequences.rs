//! The open sequences of a decoder, and what every decoder checks before it changes anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{EngineError, SequenceId};
use crate::model::ModelConfig;

/// Tokens seen so far.
#[derive(Debug)]
pub(super) struct Sequence<Cache> {
    /// Under which adapter.
    pub(super) adapter: Option<String>,
    /// How many tokens.
    pub(super) length: usize,
    /// Their keys and values.
    pub(super) cache: Cache,
}

/// All open sequences.
#[derive(Debug)]
pub(super) struct Sequences<Cache> {
    open: BTreeMap<u64, Sequence<Cache>>,
    next_id: u64,
}

impl<Cache> Sequences<Cache> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { open: BTreeMap::new(), next_id: 0 }
    }

    /// Opens a sequence.
    pub(super) fn open(&mut self, adapter: Option<&str>, cache: Cache) -> SequenceId {
        let id = self.next_id;
        self.next_id += 1;
        self.open.insert(id, Sequence { adapter: adapter.map(str::to_owned), length: 0, cache });
        SequenceId(id)
    }

    /// Closes a sequence.
    pub(super) fn close(&mut self, id: SequenceId) -> Result<(), EngineError> {
        self.take(id).map(drop)
    }

    /// Takes a sequence out, until it is put back.
    pub(super) fn take(&mut self, id: SequenceId) -> Result<Sequence<Cache>, EngineError> {
        self.open.remove(&id.0).ok_or_else(|| unknown(id))
    }

    /// Puts a sequence back.
    pub(super) fn put(&mut self, id: SequenceId, sequence: Sequence<Cache>) {
        self.open.insert(id.0, sequence);
    }

    /// An open sequence.
    pub(super) fn get(&self, id: SequenceId) -> Result<&Sequence<Cache>, EngineError> {
        self.open.get(&id.0).ok_or_else(|| unknown(id))
    }

    /// An open sequence, to change it.
    pub(super) fn get_mut(&mut self, id: SequenceId) -> Result<&mut Sequence<Cache>, EngineError> {
        self.open.get_mut(&id.0).ok_or_else(|| unknown(id))
    }

    /// That no sequence uses an adapter.
    pub(super) fn check_unused(&self, adapter: &str) -> Result<(), EngineError> {
        match self.open.values().filter(|sequence| sequence.adapter.as_deref() == Some(adapter)).count() {
            0 => Ok(()),
            sequences => Err(EngineError::AdapterInUse { name: adapter.to_owned(), sequences }),
        }
    }

    /// That every sequence can be extended by its tokens.
    pub(super) fn check_inputs(
        &self,
        inputs: &[(SequenceId, &[u32])],
        config: &ModelConfig,
    ) -> Result<(), EngineError> {
        let mut seen = BTreeSet::new();
        for (id, tokens) in inputs {
            let sequence = self.get(*id)?;
            if !seen.insert(*id) {
                return Err(EngineError::RepeatedSequence { id: id.0 });
            }
            if tokens.is_empty() {
                return Err(EngineError::NothingToExtend { id: id.0 });
            }
            check_tokens(tokens, sequence.length, config)?;
        }
        Ok(())
    }
}

fn unknown(id: SequenceId) -> EngineError {
    EngineError::UnknownSequence { id: id.0 }
}

/// That a model takes tokens after `earlier` others.
fn check_tokens(tokens: &[u32], earlier: usize, config: &ModelConfig) -> Result<(), EngineError> {
    let length = earlier + tokens.len();
    if length > config.max_positions {
        return Err(EngineError::SequenceTooLong { length, max_positions: config.max_positions });
    }
    match tokens.iter().enumerate().find(|(_, token)| **token as usize >= config.vocab_size) {
        Some((index, token)) => Err(EngineError::TokenRange {
            token: i64::from(*token),
            position: earlier + index,
            vocab_size: config.vocab_size,
        }),
        None => Ok(()),
    }
}

/// That tokens can be scored from index `from` on.
pub(super) fn check_score(tokens: &[u32], from: usize, config: &ModelConfig) -> Result<(), EngineError> {
    if from == 0 || from > tokens.len() {
        return Err(EngineError::ScoreStart { from, length: tokens.len() });
    }
    check_tokens(tokens, 0, config)
}

/// That an adapter is loaded, where one is asked for.
pub(super) fn check_adapter<T>(
    adapters: &BTreeMap<String, T>,
    adapter: Option<&str>,
) -> Result<(), EngineError> {
    match adapter.filter(|name| !adapters.contains_key(*name)) {
        Some(name) => Err(EngineError::UnknownAdapter { name: name.to_owned() }),
        None => Ok(()),
    }
}

/// Spreads inputs of the given lengths over passes of at most `rows` rows: for each pass, which input and which tokens. An
/// input is cut where it would be cut alone, since its rounding depends on it.
pub(super) fn passes(lengths: impl Iterator<Item = usize>, rows: usize) -> Vec<Vec<(usize, Range<usize>)>> {
    let (mut passes, mut current, mut room) = (Vec::new(), Vec::new(), rows);
    for (index, length) in lengths.enumerate() {
        for start in (0..length).step_by(rows) {
            let part = start..length.min(start + rows);
            if part.len() > room {
                passes.push(std::mem::take(&mut current));
                room = rows;
            }
            room -= part.len();
            current.push((index, part));
        }
    }
    if !current.is_empty() {
        passes.push(current);
    }
    passes
}
