//! Inference on a GPU: many sequences, each with its own adapter and key-value cache.
//!
//! The frozen weights have margins for the widest adapter. The values of one adapter at a time stand there, and the sequences of a
//! call run adapter by adapter. What a `DoRA` adapter multiplies outputs by is computed for its first sequence.

mod cache;
mod memory;
mod model;
mod pass;

use std::{collections::BTreeMap, sync::Arc};

use self::{cache::Cache, model::Model, pass::Part};
use super::{limits::check, weights::Source};
use crate::{
    cuda::Device,
    engine::{
        AdapterWeights, Decoder, EngineError, SequenceId,
        reference::{Weights, check_tensors},
        sequences::{Sequences, check_adapter, check_score, passes},
    },
    model::{BaseModel, ModelConfig},
};

/// Rows of one pass at most, where nobody says otherwise.
const PASS_ROWS: usize = 4096;

/// Generates and scores on a GPU.
#[derive(Debug)]
pub struct CudaDecoder {
    model: Model,
    sequences: Sequences<Cache>,
    pass_rows: usize,
}

/// New tokens of a sequence.
struct Input<'a> {
    /// Where the answer goes.
    place: usize,
    id: SequenceId,
    tokens: &'a [u32],
}

/// Inputs under one adapter.
struct Group<'a> {
    adapter: Option<String>,
    inputs: Vec<Input<'a>>,
}

impl CudaDecoder {
    /// A decoder without adapters or sequences. The weights are put on the device when they are first needed, with room for the
    /// adapters that are there by then; a wider one that comes later has them put there again.
    ///
    /// # Errors
    /// As [`super::CudaEngine::new`], but for the memory of the weights.
    pub fn new(device: Arc<dyn Device>, base: Arc<BaseModel>) -> Result<Self, EngineError> {
        Weights::resolve(&base)?;
        Self::build(device, Source::Base(base))
    }

    /// A decoder over weights drawn on the device, to measure a model's shape without having it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_random_weights(device: Arc<dyn Device>, config: ModelConfig) -> Result<Self, EngineError> {
        Self::build(device, Source::Random(Box::new(config)))
    }

    fn build(device: Arc<dyn Device>, source: Source) -> Result<Self, EngineError> {
        check(source.config())?;
        let model = Model::new(device, source);
        Ok(Self { model, sequences: Sequences::new(), pass_rows: PASS_ROWS })
    }

    /// Runs no more than `rows` rows at once, which bounds activation memory; longer inputs take several passes. 4,096 by default.
    #[must_use]
    pub fn with_passes_of(self, rows: usize) -> Self {
        Self { pass_rows: rows.max(1), ..self }
    }

    /// Puts the weights on the device now, if they are not there yet with room for every adapter.
    ///
    /// # Errors
    /// [`EngineError::Device`].
    pub fn prepare(&mut self) -> Result<(), EngineError> {
        self.model.prepare()
    }

    /// Puts inputs together that are under one adapter. The adapter that is in the margins comes first.
    fn by_adapter<'a>(&self, inputs: &[(SequenceId, &'a [u32])]) -> Result<Vec<Group<'a>>, EngineError> {
        let mut groups = BTreeMap::new();
        for (place, (id, tokens)) in inputs.iter().enumerate() {
            let adapter = self.sequences.get(*id)?.adapter.as_deref();
            let input = Input { place, id: *id, tokens };
            groups.entry(adapter).or_insert_with(Vec::new).push(input);
        }
        let group =
            |(adapter, inputs): (Option<&str>, _)| Group { adapter: adapter.map(str::to_owned), inputs };
        let mut groups: Vec<_> = groups.into_iter().map(group).collect();
        let active = self.model.active();
        groups.sort_by_key(|group| group.adapter.is_some() && group.adapter.as_deref() != active);
        Ok(groups)
    }

    /// Runs the inputs of one adapter, pass by pass; writes the logits after each one's last token to `answers`. The sequences keep
    /// their lengths.
    fn extend_group(
        &mut self,
        Group { adapter, inputs }: &Group<'_>,
        answers: &mut [Vec<f32>],
    ) -> Result<(), EngineError> {
        let Self { model, sequences, pass_rows } = self;
        let mut running = model.under(adapter.as_deref())?;
        for pass in passes(inputs.iter().map(|input| input.tokens.len()), *pass_rows) {
            let mut parts = Vec::with_capacity(pass.len());
            for (index, range) in pass {
                let Some(Input { place, id, tokens }) = inputs.get(index) else { continue };
                let sequence = sequences.get(*id)?;
                let part = Part {
                    tokens: tokens.get(range.clone()).unwrap_or_default(),
                    position: sequence.length + range.start,
                    cache: Some(&sequence.cache),
                    wanted: usize::from(range.end == tokens.len()),
                };
                parts.push((*place, part));
            }
            parts.sort_by_key(|(_, part)| part.position > 0);
            let finished: Vec<usize> =
                parts.iter().filter(|(_, part)| part.wanted > 0).map(|(place, _)| *place).collect();
            let parts: Vec<Part<'_>> = parts.into_iter().map(|(_, part)| part).collect();
            for (place, logits) in finished.into_iter().zip(running.logits(&parts)?) {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = logits;
                }
            }
        }
        Ok(())
    }
}

impl Decoder for CudaDecoder {
    fn add_adapter(&mut self, name: &str, adapter: &AdapterWeights) -> Result<(), EngineError> {
        self.sequences.check_unused(name)?;
        check_tensors(&adapter.config, &adapter.tensors, self.model.config(), name)?;
        self.model.insert(name, adapter.clone());
        Ok(())
    }

    fn remove_adapter(&mut self, name: &str) -> Result<(), EngineError> {
        self.sequences.check_unused(name)?;
        self.model.remove(name)
    }

    fn open(&mut self, adapter: Option<&str>) -> Result<SequenceId, EngineError> {
        check_adapter(&self.model.adapters, adapter)?;
        adapter.map_or(Ok(()), |name| self.model.check_magnitudes(name))?;
        Ok(self.sequences.open(adapter, Cache::default()))
    }

    fn extend(&mut self, inputs: &[(SequenceId, &[u32])]) -> Result<Vec<Vec<f32>>, EngineError> {
        let Self { model, sequences, .. } = self;
        sequences.check_inputs(inputs, model.config())?;
        for (id, tokens) in inputs {
            let sequence = sequences.get_mut(*id)?;
            let (held, needed) = (sequence.length, sequence.length + tokens.len());
            sequence.cache.reserve(&model.device, model.config(), held, needed)?;
        }
        let mut answers = vec![Vec::new(); inputs.len()];
        for group in self.by_adapter(inputs)? {
            self.extend_group(&group, &mut answers)?;
        }
        for (id, tokens) in inputs {
            self.sequences.get_mut(*id)?.length += tokens.len();
        }
        Ok(answers)
    }

    fn score(&mut self, adapter: Option<&str>, tokens: &[u32], from: usize) -> Result<Vec<f32>, EngineError> {
        check_score(tokens, from, self.model.config())?;
        check_adapter(&self.model.adapters, adapter)?;
        if from == tokens.len() {
            return Ok(Vec::new());
        }
        let context = tokens.get(..tokens.len() - 1).unwrap_or_default();
        let mut cache = Cache::default();
        // A single pass leaves nothing for later ones.
        let is_cached = context.len() > self.pass_rows;
        if is_cached {
            cache.reserve(&self.model.device, self.model.config(), 0, context.len())?;
        }
        let mut scores = Vec::with_capacity(tokens.len() - from);
        let rows = self.pass_rows;
        let mut running = self.model.under(adapter)?;
        for (pass, part) in context.chunks(rows).enumerate() {
            let position = pass * rows;
            let end = position + part.len();
            let wanted = (end + 1).saturating_sub(from.max(position + 1));
            let labels = tokens.get(end + 1 - wanted..=end).unwrap_or_default();
            let cache = is_cached.then_some(&cache);
            scores.extend(running.scores(&[Part { tokens: part, position, cache, wanted }], labels)?);
        }
        Ok(scores)
    }

    fn length(&self, id: SequenceId) -> Result<usize, EngineError> {
        Ok(self.sequences.get(id)?.length)
    }

    fn close(&mut self, id: SequenceId) -> Result<(), EngineError> {
        self.sequences.close(id)
    }
}

#[cfg(test)]
mod tests;
