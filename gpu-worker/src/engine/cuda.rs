//! The engine for GPUs: the same training as the reference engine's, in bf16 with sums and adapters in f32, forward and backward
//! written by hand over our own kernels and cuBLASLt's products.

mod activations;
mod block;
mod decoder;
mod frozen;
mod head;
mod layout;
mod limits;
mod magnitudes;
mod training;
mod weights;

use std::{collections::BTreeMap, sync::Arc};

pub use decoder::CudaDecoder;

use self::{
    activations::{Activations, DropoutRoom, Room},
    block::Pass,
    frozen::Frozen,
    layout::Layout,
    limits::check_shape,
    magnitudes::Magnitudes,
    training::{Training, floats},
    weights::{DeviceWeights, Source, float_bytes},
};
use super::{
    AdapterWeights, Batch, BatchLoss, Engine, EngineError, LoraConfig, StepOptions, StepReport,
    TrainingState,
    batch::CheckedBatch,
    reference::{Weights, check_tensors},
};
use crate::{
    cuda::{Address, Buffer, Device, DeviceError, GraphId},
    model::{BaseModel, HostTensor, ModelConfig},
    ops::{
        embedding::cuda::embed,
        lora_linear::{Dropout, cuda::DeviceDropout},
        rope::Ropes,
    },
    optim::{
        clip_factor,
        cuda::{DeviceParameters, adamw, sum_of_squares},
    },
};

pub use limits::{base_bytes, check, training_memory, usable_bytes};

/// What the number of rows of a pass is rounded up to, by a document of its own without labels; so that few shapes occur.
const ROW_UNIT: usize = 64;
/// Tokens of a pass that keep a large GPU busy.
const TOKENS_PER_PASS: usize = 8192;
/// Bytes of an f32.
const F32: usize = size_of::<f32>();
/// Memory that is left free for the driver and its libraries.
const RESERVE: u64 = 512 << 20;

/// Trains a LoRA adapter on a GPU.
#[derive(Debug)]
pub struct CudaEngine {
    device: Arc<dyn Device>,
    source: Source,
    ropes: Ropes,
    layout: Layout,
    weights: DeviceWeights,
    training: Option<Training>,
    memory: Option<Memory>,
    tokens_per_pass: usize,
    /// At most so many layers keep their activations; for tests and comparisons.
    keep_at_most: usize,
    dropout_seed: u64,
}

/// Memory of the passes.
#[derive(Debug)]
struct Memory {
    activations: Activations,
    /// Recorded passes by their number of rows.
    graphs: BTreeMap<usize, Recorded>,
    _buffer: Buffer,
}

/// A pass of some number of rows.
#[derive(Debug, Clone, Copy)]
enum Recorded {
    /// Was run once, so that every product has found its algorithm.
    Seen,
    /// The blocks forward, and backward.
    Graphs(GraphId, GraphId),
    /// The device does not record.
    Never,
}

/// A part of a pass that can be recorded: the loss between the two depends on how many labels there are.
#[derive(Debug, Clone, Copy)]
enum Part {
    Forward,
    Backward,
}

impl CudaEngine {
    /// An engine without adapter.
    ///
    /// # Errors
    /// As [`super::reference::ReferenceEngine::new`]; [`EngineError::Unsupported`] for shapes that there are no kernels for,
    /// [`EngineError::Device`].
    pub fn new(device: Arc<dyn Device>, base: Arc<BaseModel>) -> Result<Self, EngineError> {
        Weights::resolve(&base)?;
        Self::build(device, Source::Base(base))
    }

    /// An engine over weights drawn on the device, to measure a model's shape without having it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_random_weights(device: Arc<dyn Device>, config: ModelConfig) -> Result<Self, EngineError> {
        Self::build(device, Source::Random(Box::new(config)))
    }

    fn build(device: Arc<dyn Device>, source: Source) -> Result<Self, EngineError> {
        let config = source.config();
        check_shape(config)?;
        let layout = Layout::new(None, config);
        let ropes = Ropes::new(config);
        let weights = DeviceWeights::load(&device, &source, &layout)?;
        Ok(Self {
            device,
            source,
            ropes,
            layout,
            weights,
            training: None,
            memory: None,
            tokens_per_pass: 0,
            keep_at_most: usize::MAX,
            dropout_seed: 0,
        })
    }

    /// Lets no more than `layers` blocks keep their activations; the others are computed again in the backward pass. The engine
    /// does so by itself where the memory asks for it.
    #[must_use]
    pub fn keeping_at_most(self, layers: usize) -> Self {
        Self { keep_at_most: layers, memory: None, ..self }
    }

    /// Starts from values in the order of the layout.
    fn begin(
        &mut self,
        config: &LoraConfig,
        tensors: &BTreeMap<String, HostTensor>,
    ) -> Result<(), EngineError> {
        self.training = None;
        let layout = Layout::new(Some(config), self.source.config());
        let margins = |layout: &Layout| {
            layout.groups.first().map(|groups| groups.each_ref().map(|group| group.low_rank))
        };
        if margins(&layout) != margins(&self.layout) || self.layout.config.as_ref() != Some(config) {
            self.memory = None;
            self.weights.clear();
            self.weights = DeviceWeights::load(&self.device, &self.source, &layout)?;
        }
        self.layout = layout;
        let mut training = Training::new(&self.device, &self.layout)?;
        let values = training.parameters.values;
        let imported = self.layout.import(tensors);
        self.device.write(values, &float_bytes(&imported))?;
        training.frozen = Frozen::new(&self.device, &self.layout, &imported)?;
        self.weights.adapt(self.device.as_ref(), values)?;
        training.magnitudes =
            Magnitudes::new(&self.device, &self.weights, &self.layout, (values, &config.targets))?;
        if let Some(memory) = &mut self.memory {
            memory.graphs.clear();
        }
        self.training = Some(training);
        self.tokens_per_pass = self.fitting_tokens()?;
        Ok(())
    }

    /// Tokens of a pass that keeps all activations: as many as fill the GPU, or fewer where its memory asks for it. Follows from
    /// its whole memory, not from what is free: sums must not depend on who else computes.
    fn fitting_tokens(&self) -> Result<usize, EngineError> {
        let config = self.source.config();
        let weights: usize = self.layout.groups.iter().flatten().map(layout::Group::values).sum();
        let tables = 2 * config.vocab_size * config.hidden_size;
        let adapter = Training::bytes(&self.layout);
        let taken = 2 * (weights + tables) + adapter;
        let room = usable_bytes(self.device.memory()?.total).saturating_sub(taken as u64);
        let mut tokens = TOKENS_PER_PASS;
        while tokens > ROW_UNIT {
            let (_, bytes) = Activations::lay_out(
                Address::NULL,
                config,
                &self.layout,
                Room::to_train(tokens, config.layers),
            )?;
            if bytes as u64 <= room {
                break;
            }
            tokens /= 2;
        }
        Ok(tokens)
    }

    fn training(&self) -> Result<&Training, EngineError> {
        self.training.as_ref().ok_or(EngineError::NoAdapter)
    }

    /// Makes room for passes of `rows` rows.
    fn reserve(&mut self, rows: usize) -> Result<(), EngineError> {
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
        self.memory = Some(Memory { activations, graphs: BTreeMap::new(), _buffer: buffer });
        Ok(())
    }

    /// Copies a batch to the device; returns the rows of the pass.
    fn put(&mut self, batch: &Batch, checked: &CheckedBatch) -> Result<usize, EngineError> {
        let rows = batch.tokens.len().next_multiple_of(ROW_UNIT);
        self.reserve(rows)?;
        let memory = self.memory.as_ref().ok_or(EngineError::NoAdapter)?;
        let inputs = memory.activations.inputs;
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
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
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.device.write(address, &bytes)?;
        }
        Ok(rows)
    }

    fn pass(&self, rows: usize) -> Result<Pass<'_>, EngineError> {
        let memory = self.memory.as_ref().ok_or(EngineError::NoAdapter)?;
        Ok(Pass {
            device: self.device.as_ref(),
            config: self.source.config(),
            weights: &self.weights,
            layout: &self.layout,
            activations: &memory.activations,
            rows,
            values: self.training.as_ref().map(|training| training.parameters.values),
            magnitudes: self.training.as_ref().and_then(|training| training.magnitudes.as_ref()),
            dropout: None,
            cached: None,
        })
    }

    /// The dropout of the next pass in training.
    fn dropout(&self) -> Result<Option<Dropout>, EngineError> {
        let Training { steps, passes, .. } = self.training()?;
        let share = self.layout.config.as_ref().map_or(0.0, |config| config.dropout);
        let dropout = Dropout::new(share, self.dropout_seed);
        Ok(dropout.map(|dropout| dropout.stream(*steps).stream(*passes)))
    }

    /// Puts the dropout's key where the kernels read it, recorded or not.
    fn put_dropout(&self) -> Result<(), EngineError> {
        let room = self.memory.as_ref().and_then(|memory| memory.activations.dropout);
        if let (Some(dropout), Some(DropoutRoom { key, .. })) = (self.dropout()?, room) {
            DeviceDropout::write_key(self.device.as_ref(), key, dropout)?;
        }
        Ok(())
    }

    /// The losses of the last pass.
    fn losses(&self, checked: &CheckedBatch) -> Result<BatchLoss, EngineError> {
        let memory = self.memory.as_ref().ok_or(EngineError::NoAdapter)?;
        let mut bytes = vec![0; checked.labels.len() * F32];
        self.device.read(memory.activations.losses, &mut bytes)?;
        let losses = floats(&bytes);
        Ok(BatchLoss { loss_sum: losses.map(f64::from).sum(), target_tokens: checked.labels.len() })
    }

    /// Runs a part of a pass, or repeats its recording.
    fn run(&self, part: Part, rows: usize) -> Result<(), EngineError> {
        match (self.recorded(rows), part) {
            (Some(Recorded::Graphs(graph, _)), Part::Forward)
            | (Some(Recorded::Graphs(_, graph)), Part::Backward) => Ok(self.device.replay(graph)?),
            _ => self.start(part, rows),
        }
    }

    fn start(&self, part: Part, rows: usize) -> Result<(), EngineError> {
        let pass = Pass { dropout: self.dropout()?, ..self.pass(rows)? };
        match part {
            Part::Forward => pass.blocks_forward(),
            Part::Backward => pass.blocks_backward(self.training()?.parameters.gradients),
        }
    }

    fn recorded(&self, rows: usize) -> Option<Recorded> {
        self.memory.as_ref().and_then(|memory| memory.graphs.get(&rows).copied())
    }

    /// Records the passes of `rows` rows at their second run.
    fn record(&mut self, rows: usize) -> Result<(), EngineError> {
        let next = match self.recorded(rows) {
            Some(Recorded::Graphs(..) | Recorded::Never) => return Ok(()),
            None => Recorded::Seen,
            Some(Recorded::Seen) => {
                let forward = self.recording(Part::Forward, rows)?;
                let backward = self.recording(Part::Backward, rows)?;
                match (forward, backward) {
                    (Some(forward), Some(backward)) => Recorded::Graphs(forward, backward),
                    _ => Recorded::Never,
                }
            }
        };
        if let Some(memory) = &mut self.memory {
            memory.graphs.insert(rows, next);
        }
        Ok(())
    }

    fn recording(&self, part: Part, rows: usize) -> Result<Option<GraphId>, EngineError> {
        recording(self.device.as_ref(), &mut || self.start(part, rows))
    }
}

impl Pass<'_> {
    /// Embeds the tokens and moves them through all blocks.
    fn blocks_forward(&self) -> Result<(), EngineError> {
        let Self { device, config, weights, activations, rows, .. } = *self;
        let stream = activations.residual.first().copied().ok_or(EngineError::NoAdapter)?;
        let scale = config.variant.embedding_scale.unwrap_or(1.0);
        let (table, tokens) = (weights.embedding.address, activations.inputs.tokens);
        embed(device, stream, table, tokens, [rows, config.hidden_size], scale)?;
        (0..config.layers).try_for_each(|layer| self.forward(layer))
    }

    /// Moves the gradient of the residual stream back through all blocks.
    fn blocks_backward(&self, gradients: Address) -> Result<(), EngineError> {
        for layer in (0..self.config.layers).rev() {
            if layer < self.activations.first_kept {
                self.forward_again(layer)?;
            }
            self.backward(layer, gradients)?;
        }
        Ok(())
    }
}

/// Records what `work` starts; `None` where the device cannot.
fn recording(
    device: &dyn Device,
    work: &mut dyn FnMut() -> Result<(), EngineError>,
) -> Result<Option<GraphId>, EngineError> {
    let mut refused = None;
    let graph = device.record(&mut || match work() {
        Ok(()) => Ok(()),
        Err(EngineError::Device(error)) => Err(error),
        Err(error) => {
            let call = error.to_string();
            refused = Some(error);
            Err(DeviceError::Failed { call, reason: "the pass was refused".to_owned() })
        }
    });
    refused.map_or_else(|| Ok(graph?), Err)
}

impl Engine for CudaEngine {
    fn tokens_per_pass(&self) -> usize {
        self.tokens_per_pass
    }

    fn init_adapter(&mut self, config: &LoraConfig, seed: u64) -> Result<(), EngineError> {
        let adapter = self.source.begun_adapter(config, seed)?;
        self.begin(config, &adapter.tensors)?;
        let Training { parameters, magnitudes, .. } = self.training()?;
        if let Some(magnitudes) = magnitudes {
            magnitudes.begin(self.device.as_ref(), &self.layout, parameters.values)?;
        }
        Ok(())
    }

    fn seed_dropout(&mut self, seed: u64) {
        self.dropout_seed = seed;
    }

    fn load_adapter(&mut self, adapter: &AdapterWeights) -> Result<(), EngineError> {
        check_tensors(&adapter.config, &adapter.tensors, self.source.config(), "the adapter")?;
        self.begin(&adapter.config, &adapter.tensors)
    }

    #[expect(clippy::cast_possible_truncation, reason = "one over a count of tokens")]
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2⁵²")]
    fn forward_backward(
        &mut self,
        batch: &Batch,
        target_tokens_in_step: usize,
    ) -> Result<BatchLoss, EngineError> {
        self.training()?;
        let checked = CheckedBatch::new(batch, self.source.config())?;
        if target_tokens_in_step == 0 {
            return Err(EngineError::NoTargetTokens { positions: batch.tokens.len() });
        }
        let rows = self.put(batch, &checked)?;
        self.put_dropout()?;
        self.record(rows)?;
        self.run(Part::Forward, rows)?;
        let scale = (1.0 / target_tokens_in_step as f64) as f32;
        self.pass(rows)?.head(checked.labels.len(), Some(scale))?;
        self.run(Part::Backward, rows)?;
        let losses = self.losses(&checked)?;
        let training = self.training.as_mut().ok_or(EngineError::NoAdapter)?;
        if let Some(frozen) = &training.frozen {
            frozen.clear(self.device.as_ref(), training.parameters.gradients)?;
        }
        training.passes += 1;
        Ok(losses)
    }

    fn step(&mut self, options: &StepOptions) -> Result<StepReport, EngineError> {
        let Self { device, weights, layout, training, .. } = self;
        let training = training.as_mut().ok_or(EngineError::NoAdapter)?;
        let parameters = training.parameters;
        let (partial_sums, sum) = (training.partial_sums, training.sum);
        sum_of_squares(device.as_ref(), parameters.gradients, parameters.count, partial_sums, sum)?;
        let mut bytes = [0; size_of::<f64>()];
        device.read(sum, &mut bytes)?;
        let grad_norm = f64::from_le_bytes(bytes).sqrt();
        if !grad_norm.is_finite() {
            return Err(EngineError::NotFinite { norm: grad_norm });
        }
        let clip = clip_factor(grad_norm, options.max_grad_norm);
        training.steps += 1;
        training.passes = 0;
        adamw(device.as_ref(), parameters, clip, training.steps, options)?;
        if let Some(frozen) = &training.frozen {
            frozen.restore(device.as_ref(), parameters.values)?;
        }
        weights.adapt(device.as_ref(), parameters.values)?;
        if let Some(magnitudes) = &training.magnitudes {
            magnitudes.refresh(device.as_ref(), weights, layout, parameters.values)?;
        }
        Ok(StepReport { grad_norm, clipped: clip < 1.0 })
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<BatchLoss, EngineError> {
        let checked = CheckedBatch::new(batch, self.source.config())?;
        let rows = self.put(batch, &checked)?;
        let pass = self.pass(rows)?;
        pass.blocks_forward()?;
        pass.head(checked.labels.len(), None)?;
        self.losses(&checked)
    }

    fn gradients(&self) -> Result<BTreeMap<String, HostTensor>, EngineError> {
        let training = self.training()?;
        let values = training.read(self.device.as_ref(), training.parameters.gradients)?;
        Ok(self.layout.export(&values))
    }

    fn save(&self) -> Result<TrainingState, EngineError> {
        let training = self.training()?;
        let DeviceParameters { values, first_moments, second_moments, .. } = training.parameters;
        let read = |from| training.read(self.device.as_ref(), from);
        Ok(TrainingState {
            adapter: self.layout.adapter(&read(values)?)?,
            first_moments: self.layout.export(&read(first_moments)?),
            second_moments: self.layout.export(&read(second_moments)?),
            steps: training.steps,
        })
    }

    fn restore(&mut self, state: &TrainingState) -> Result<(), EngineError> {
        let (config, model) = (&state.adapter.config, self.source.config());
        check_tensors(config, &state.adapter.tensors, model, "the saved adapter")?;
        check_tensors(config, &state.first_moments, model, "the saved first moments")?;
        check_tensors(config, &state.second_moments, model, "the saved second moments")?;
        self.begin(config, &state.adapter.tensors)?;
        let Self { device, layout, training, .. } = self;
        let training = training.as_mut().ok_or(EngineError::NoAdapter)?;
        let DeviceParameters { first_moments, second_moments, .. } = training.parameters;
        device.write(first_moments, &float_bytes(&layout.import(&state.first_moments)))?;
        device.write(second_moments, &float_bytes(&layout.import(&state.second_moments)))?;
        training.steps = state.steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
