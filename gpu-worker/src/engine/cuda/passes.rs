//! Passes of a training: their memory, their inputs, and their parts as they are run and recorded.

use super::{
    CudaEngine, ROW_UNIT,
    activations::{Activations, DropoutRoom, Room},
    block::Pass,
    bytes::{WORD, floats, number, number_bytes},
    graphs::Graphs,
    limits::usable_bytes,
    training::Training,
};
use crate::{
    cuda::{Address, Buffer},
    engine::{Batch, BatchLoss, EngineError, batch::CheckedBatch},
    ops::lora_linear::{Dropout, cuda::DeviceDropout},
};

/// Recordings that are kept, at most: two for each number of rows that a pass may have.
const MOST_GRAPHS: usize = 512;
/// Every pass reserves its memory first.
const NO_MEMORY: EngineError = EngineError::Defect { missing: "the memory of a pass" };

/// Parts of passes by their number of rows.
pub(super) type PartGraphs = Graphs<(Part, usize)>;

/// Memory of the passes.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) activations: Activations,
    pub(super) graphs: PartGraphs,
    _buffer: Buffer,
}

/// A part of a pass that can be recorded: the loss between the two depends on how many labels there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Forward,
    Backward,
}

impl CudaEngine {
    /// Makes room for passes of `rows` rows.
    pub(super) fn reserve(&mut self, rows: usize) -> Result<(), EngineError> {
        if self.memory.as_ref().is_some_and(|memory| memory.activations.rows >= rows) {
            return Ok(());
        }
        self.memory = None;
        let config = self.source.config();
        let lay_out =
            |base, keeping| Activations::lay_out(base, config, &self.layout, Room::to_train(rows, keeping));
        let free = usable_bytes(self.device.memory()?.free);
        let fits = |keeping| lay_out(Address::NULL, keeping).map(|(_, bytes)| bytes as u64 <= free);
        // The most layers that fit, by halving: memory grows with each.
        let (mut keeping, mut too_many) = (1, config.layers.min(self.keep_at_most.max(1)) + 1);
        while too_many - keeping > 1 {
            let middle = usize::midpoint(keeping, too_many);
            if fits(middle)? {
                keeping = middle;
            } else {
                too_many = middle;
            }
        }
        let (_, bytes) = lay_out(Address::NULL, keeping)?;
        let buffer = Buffer::new(&self.device, bytes)?;
        let (activations, _) = lay_out(buffer.address(), keeping)?;
        if keeping < config.layers {
            tracing::info!(
                "{keeping} of {} blocks keep their activations, the others are computed again in the backward pass",
                config.layers
            );
        }
        // Rows that only fill up must hold numbers, or products with zero would not be zero.
        self.device.zero(buffer.address(), bytes)?;
        activations.write_ropes(self.device.as_ref(), &mut self.ropes, rows)?;
        self.memory =
            Some(Memory { activations, graphs: Graphs::new(&self.device, MOST_GRAPHS), _buffer: buffer });
        Ok(())
    }

    /// Copies a batch to the device; returns the rows of the pass.
    pub(super) fn put(&mut self, batch: &Batch, checked: &CheckedBatch) -> Result<usize, EngineError> {
        let rows = batch.tokens.len().next_multiple_of(ROW_UNIT);
        self.reserve(rows)?;
        let memory = self.memory.as_ref().ok_or(NO_MEMORY)?;
        let inputs = memory.activations.inputs;
        let filled = rows - batch.tokens.len();
        let (mut starts, mut ends) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let lengths = checked.documents.iter().copied().chain((filled > 0).then_some(filled));
        for length in lengths {
            let start = starts.len();
            starts.extend(std::iter::repeat_n(number(start), length));
            ends.extend(std::iter::repeat_n(number(start + length), length));
        }
        let numbers = |values: &[usize]| values.iter().map(|value| number(*value)).collect::<Vec<_>>();
        let mut positions = numbers(&checked.positions);
        positions.extend((0..filled).map(number));
        let mut tokens = batch.tokens.clone();
        tokens.resize(rows, 0);
        let labelled = numbers(&checked.labelled);
        for (address, values) in [
            (inputs.tokens, &tokens),
            (inputs.positions, &positions),
            (inputs.starts, &starts),
            (inputs.ends, &ends),
            (inputs.labelled, &labelled),
            (inputs.labels, &checked.labels),
        ] {
            self.device.write(address, &number_bytes(values))?;
        }
        Ok(rows)
    }

    /// A pass without dropout, and the recordings of its parts.
    pub(super) fn pass(&mut self, rows: usize) -> Result<(Pass<'_>, &mut PartGraphs), EngineError> {
        let Self { device, source, layout, weights, training, memory, .. } = self;
        let Memory { activations, graphs, .. } = memory.as_mut().ok_or(NO_MEMORY)?;
        let training = training.as_ref();
        let pass = Pass {
            device: &**device,
            config: source.config(),
            weights,
            layout,
            activations,
            rows,
            values: training.map(|training| training.parameters.values),
            magnitudes: training.and_then(|training| training.magnitudes.as_ref()),
            dropout: None,
            cached: None,
        };
        Ok((pass, graphs))
    }

    /// The dropout of the next pass in training.
    fn dropout(&self) -> Result<Option<Dropout>, EngineError> {
        let Training { steps, passes, .. } = self.training()?;
        let share = self.layout.config.as_ref().map_or(0.0, |config| config.dropout);
        let dropout = Dropout::new(share, self.dropout_seed);
        Ok(dropout.map(|dropout| dropout.stream(*steps).stream(*passes)))
    }

    /// Puts the dropout's key where the kernels read it, recorded or not.
    pub(super) fn put_dropout(&self) -> Result<(), EngineError> {
        let room = self.memory.as_ref().and_then(|memory| memory.activations.dropout);
        if let (Some(dropout), Some(DropoutRoom { key, .. })) = (self.dropout()?, room) {
            DeviceDropout::write_key(self.device.as_ref(), key, dropout)?;
        }
        Ok(())
    }

    /// The losses of the last pass.
    pub(super) fn losses(&self, checked: &CheckedBatch) -> Result<BatchLoss, EngineError> {
        let memory = self.memory.as_ref().ok_or(NO_MEMORY)?;
        let mut bytes = vec![0; checked.labels.len() * WORD];
        self.device.read(memory.activations.losses, &mut bytes)?;
        let losses = floats(&bytes);
        Ok(BatchLoss { loss_sum: losses.map(f64::from).sum(), target_tokens: checked.labels.len() })
    }

    /// Runs a part of a pass, or repeats its recording.
    pub(super) fn run(&mut self, part: Part, rows: usize) -> Result<(), EngineError> {
        let (dropout, gradients) = (self.dropout()?, self.training()?.parameters.gradients);
        let (pass, graphs) = self.pass(rows)?;
        let pass = Pass { dropout, ..pass };
        graphs.run((part, rows), &mut || match part {
            Part::Forward => pass.blocks_forward(),
            Part::Backward => pass.blocks_backward(gradients),
        })
    }
}
