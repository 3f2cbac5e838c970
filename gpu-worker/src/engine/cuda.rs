//! The engine for GPUs: the same training as the reference engine's, in bf16 with sums and adapters in f32, forward and backward
//! written by hand over our own kernels and cuBLASLt's products.

mod activations;
mod block;
mod bytes;
mod decoder;
mod frozen;
mod graphs;
mod head;
mod layout;
mod limits;
mod magnitudes;
mod passes;
mod training;
mod weights;

use std::{collections::BTreeMap, sync::Arc};

pub use decoder::CudaDecoder;

use self::{
    activations::{Activations, Room},
    bytes::float_bytes,
    frozen::Frozen,
    layout::Layout,
    magnitudes::Magnitudes,
    passes::{Memory, Part},
    training::Training,
    weights::{DeviceWeights, Source},
};
use super::{
    AdapterWeights, Batch, BatchLoss, Engine, EngineError, LoraConfig, StepOptions, StepReport,
    TrainingState,
    batch::CheckedBatch,
    reference::{Weights, check_tensors},
};
use crate::{
    cuda::{Address, Device},
    model::{BaseModel, HostTensor, ModelConfig},
    ops::rope::Ropes,
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
        check(config)?;
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
        self.run(Part::Forward, rows)?;
        let scale = (1.0 / target_tokens_in_step as f64) as f32;
        self.pass(rows)?.0.head(checked.labels.len(), Some(scale))?;
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
        let (pass, _) = self.pass(rows)?;
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
