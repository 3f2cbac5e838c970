//! The reference engine: a Llama-family decoder in f32 on the CPU, with a backward pass for LoRA written by hand.

mod adapter;

mod block;
mod buffers;
mod decoder;
mod head;
mod memory;
mod weights;

use std::{collections::BTreeMap, sync::Arc};

pub use decoder::ReferenceDecoder;
pub use memory::TrainingMemory;
pub use weights::features;
pub(in crate::engine) use weights::{Frozen, GROUPS, Weights, heads};

use self::{
    adapter::{AdapterLayout, Scaling},
    block::{AdaptedRows, Adapter, AttentionOperands, BackwardPass, Pass, document_spans},
    buffers::{Buffers, Keep, Kept, Scratch},
    head::Targets,
    weights::BlockWeights,
};
use super::{
    AdapterWeights, Batch, BatchLoss, Engine, EngineError, LoraConfig, StepOptions, StepReport,
    TrainingState, batch::CheckedBatch,
};
use crate::{
    model::{BaseModel, HostTensor, ModelConfig},
    ops::{attention::attention, lora_linear::Dropout, rope::Ropes},
    optim::{Parameters, adamw, adamw_plus, clip_factor, global_norm},
};

/// Trains a LoRA adapter on the CPU.
///
/// Activation memory grows to the largest batch and is then reused. Work runs on rayon's global thread pool.
#[derive(Debug)]
pub struct ReferenceEngine {
    base: Arc<BaseModel>,
    adapter: Option<Training>,
    buffers: Buffers,
    keep: Keep,
    dropout_seed: u64,
}

/// An adapter in training; all slices in the order of the layout.
#[derive(Debug)]
struct Training {
    layout: AdapterLayout,
    values: Vec<f32>,
    gradients: Vec<f32>,
    first_moments: Vec<f32>,
    second_moments: Vec<f32>,
    steps: u64,
    /// Backward passes since the last step.
    passes: u64,
    /// Where the method has magnitudes; what they scale follows from the values and is kept beside them.
    scaling: Option<Scaling>,
}

impl Training {
    fn new(layout: AdapterLayout, values: Vec<f32>, weights: &Weights<'_>) -> Result<Self, EngineError> {
        let zeros = vec![0.0; layout.length()];
        let (gradients, first_moments) = (zeros.clone(), zeros.clone());
        let scaling = layout.scaling(weights, &values)?;
        Ok(Self {
            layout,
            values,
            gradients,
            first_moments,
            second_moments: zeros,
            steps: 0,
            passes: 0,
            scaling,
        })
    }

    /// Moves what is learned by AdamW.
    fn update(&mut self, clip: f32, options: &StepOptions) {
        // Without a gradient only the decay would move a value.
        let frozen: Vec<_> = self.layout.frozen().filter(|range| !range.is_empty()).collect();
        let before = if frozen.is_empty() { Vec::new() } else { self.values.clone() };
        let parameters = Parameters {
            values: &mut self.values,
            gradients: &self.gradients,
            first_moments: &mut self.first_moments,
            second_moments: &mut self.second_moments,
        };
        if (options.b_rate_ratio - 1.0).abs() < f64::EPSILON {
            adamw(parameters, clip, self.steps, options);
        } else {
            adamw_plus(parameters, self.layout.fast(), clip, self.steps, options);
        }
        for range in frozen {
            if let (Some(values), Some(before)) = (self.values.get_mut(range.clone()), before.get(range)) {
                values.copy_from_slice(before);
            }
        }
    }

    fn adapter(&self) -> Adapter<'_> {
        let magnitudes = self.scaling.as_ref().map(|scaling| &scaling.magnitudes);
        Adapter { layout: &self.layout, values: &self.values, magnitudes }
    }
}

impl ReferenceEngine {
    /// An engine without adapter.
    ///
    /// # Errors
    /// [`EngineError::Config`], [`EngineError::MissingTensor`] or [`EngineError::TensorShape`] when the model is not a complete Llama.
    pub fn new(base: Arc<BaseModel>) -> Result<Self, EngineError> {
        Weights::resolve(&base)?;
        let buffers = Buffers::new(Ropes::new(&base.config));
        Ok(Self { base, adapter: None, buffers, keep: Keep::Activations, dropout_seed: 0 })
    }

    /// Keeps no more than the input of each block and computes the blocks again in the backward pass: about a third slower,
    /// with the same bytes, in a fraction of the memory.
    #[must_use]
    pub fn recomputing(self) -> Self {
        Self { keep: Keep::Inputs, ..self }
    }

    fn training(&self) -> Result<&Training, EngineError> {
        self.adapter.as_ref().ok_or(EngineError::NoAdapter)
    }
}

/// A new adapter as [`Engine::init_adapter`] begins it, but for magnitudes, which are zero.
pub(in crate::engine) fn begun_adapter(
    config: &LoraConfig,
    base: &BaseModel,
    seed: u64,
) -> Result<AdapterWeights, EngineError> {
    let layout = AdapterLayout::new(config, &base.config)?;
    let values = layout.begun(&Weights::resolve(base)?, seed)?;
    Ok(layout.adapter(&values))
}

/// The same without frozen directions, which follow from the weights.
pub(in crate::engine) fn drawn_adapter(
    config: &LoraConfig,
    model: &ModelConfig,
    seed: u64,
) -> Result<AdapterWeights, EngineError> {
    let layout = AdapterLayout::new(config, model)?;
    Ok(layout.adapter(&layout.initial(seed)))
}

/// Whether the tensors are those of the configuration and fit the model; `source` names them in errors.
pub(in crate::engine) fn check_tensors(
    config: &LoraConfig,
    tensors: &BTreeMap<String, HostTensor>,
    model: &ModelConfig,
    source: &str,
) -> Result<(), EngineError> {
    AdapterLayout::new(config, model)?.import(tensors, source).map(drop)
}

/// Multiplies by a factor, where there is one.
fn scale(values: &mut [f32], factor: Option<f32>) {
    if let Some(factor) = factor {
        for value in values {
            *value *= factor;
        }
    }
}

/// Who adapts a pass, and which inputs of theirs are zeroed.
#[derive(Clone, Copy)]
struct Adaptation<'a> {
    adapter: Option<Adapter<'a>>,
    dropout: Option<Dropout>,
}

/// Embeds the tokens and moves them through all blocks.
fn forward(
    base: &BaseModel,
    weights: &Weights<'_>,
    Adaptation { adapter, dropout }: Adaptation<'_>,
    (batch, checked): (&Batch, &CheckedBatch),
    buffers: &mut Buffers,
    keep: Keep,
) -> Result<(), EngineError> {
    let (config, rows) = (&base.config, batch.tokens.len());
    buffers.rope.reserve(checked.documents.iter().copied().max().unwrap_or_default());
    buffers.reserve_blocks(config.layers, keep);
    let Buffers { rope, hidden, kept, inputs, scratch, .. } = buffers;
    let hidden = hidden.write(rows * config.hidden_size);
    weights.embedding.embed(config.hidden_size, &batch.tokens, hidden)?;
    scale(hidden, config.variant.embedding_scale);
    let everyone = [AdaptedRows { rows, adapter }];
    let pass =
        Pass { config, rope, positions: &checked.positions, adapted: &everyone, dropout, rounded: false };
    for (layer, block) in weights.blocks.iter().enumerate() {
        if let Some(input) = inputs.get_mut(layer).filter(|_| keep == Keep::Inputs) {
            input.write(hidden.len()).copy_from_slice(hidden);
        }
        let Some(kept) = kept.get_mut(if keep == Keep::Activations { layer } else { 0 }) else { continue };
        forward_block((layer, block), &pass, &checked.documents, hidden, kept, scratch)?;
    }
    Ok(())
}

/// One block over packed documents.
fn forward_block(
    (layer, block): (usize, &BlockWeights<'_>),
    pass: &Pass<'_>,
    documents: &[usize],
    hidden: &mut [f32],
    kept: &mut Kept,
    scratch: &mut Scratch,
) -> Result<(), EngineError> {
    block::forward((layer, block), pass, hidden, kept, scratch, |operands| {
        let AttentionOperands { query, key, value, out, log_sums } = operands;
        let heads = heads(pass.config, layer);
        let spans = document_spans(heads, documents, key, value)?;
        attention(heads, query, &spans, out, log_sums)
    })
}

impl Engine for ReferenceEngine {
    fn init_adapter(&mut self, config: &LoraConfig, seed: u64) -> Result<(), EngineError> {
        let layout = AdapterLayout::new(config, &self.base.config)?;
        let weights = Weights::resolve(&self.base)?;
        let values = layout.begun(&weights, seed)?;
        let mut training = Training::new(layout, values, &weights)?;
        if let Some(scaling) = &mut training.scaling {
            training.layout.begin_magnitudes(scaling, &mut training.values);
        }
        self.adapter = Some(training);
        Ok(())
    }

    fn seed_dropout(&mut self, seed: u64) {
        self.dropout_seed = seed;
    }

    fn load_adapter(&mut self, adapter: &AdapterWeights) -> Result<(), EngineError> {
        let layout = AdapterLayout::new(&adapter.config, &self.base.config)?;
        let weights = Weights::resolve(&self.base)?;
        let values = layout.import(&adapter.tensors, "the adapter")?;
        self.adapter = Some(Training::new(layout, values, &weights)?);
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "one over a count of tokens")]
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2⁵²")]
    fn forward_backward(
        &mut self,
        batch: &Batch,
        target_tokens_in_step: usize,
    ) -> Result<BatchLoss, EngineError> {
        let Self { base, adapter, buffers, keep, dropout_seed } = self;
        let training = adapter.as_mut().ok_or(EngineError::NoAdapter)?;
        let config = &base.config;
        let checked = CheckedBatch::new(batch, config)?;
        if target_tokens_in_step == 0 {
            return Err(EngineError::NoTargetTokens { positions: batch.tokens.len() });
        }
        let weights = Weights::resolve(base)?;
        let magnitudes = training.scaling.as_ref().map(|scaling| &scaling.magnitudes);
        let adapter = Adapter { layout: &training.layout, values: &training.values, magnitudes };
        let dropout = Dropout::new(training.layout.dropout(), *dropout_seed)
            .map(|dropout| dropout.stream(training.steps).stream(training.passes));
        let adaptation = Adaptation { adapter: Some(adapter), dropout };
        forward(base, &weights, adaptation, (batch, &checked), buffers, *keep)?;

        let Buffers { rope, hidden, d_hidden, kept, inputs, scratch, head } = buffers;
        let length = batch.tokens.len() * config.hidden_size;
        let d_hidden = d_hidden.write(length);
        let targets = Targets { rows: &checked.labelled, labels: &checked.labels };
        let scale = (1.0 / target_tokens_in_step as f64) as f32;
        let loss_sum =
            head::loss_and_gradient((config, &weights), hidden.read(length), targets, scale, d_hidden, head)?;
        let everyone = [AdaptedRows { rows: batch.tokens.len(), adapter: Some(adapter) }];
        let context = BackwardPass {
            pass: Pass {
                config,
                rope,
                positions: &checked.positions,
                adapted: &everyone,
                dropout,
                rounded: false,
            },
            adapter,
            documents: &checked.documents,
        };
        for (layer, block) in weights.blocks.iter().enumerate().rev() {
            let Some(kept) = kept.get_mut(if *keep == Keep::Activations { layer } else { 0 }) else {
                continue;
            };
            // What the last block has left is still there.
            if *keep == Keep::Inputs && layer + 1 < config.layers {
                let hidden = hidden.write(length);
                hidden.copy_from_slice(inputs.get(layer).map_or(&[], |input| input.read(length)));
                forward_block((layer, block), &context.pass, &checked.documents, hidden, kept, scratch)?;
            }
            block::backward((layer, block), &context, d_hidden, kept, scratch, &mut training.gradients)?;
        }
        for frozen in training.layout.frozen() {
            training.gradients.get_mut(frozen).unwrap_or_default().fill(0.0);
        }
        training.passes += 1;
        Ok(BatchLoss { loss_sum, target_tokens: checked.labels.len() })
    }

    fn step(&mut self, options: &StepOptions) -> Result<StepReport, EngineError> {
        let Self { base, adapter, .. } = self;
        let training = adapter.as_mut().ok_or(EngineError::NoAdapter)?;
        let grad_norm = global_norm(&training.gradients);
        if !grad_norm.is_finite() {
            return Err(EngineError::NotFinite { norm: grad_norm });
        }
        let clip = clip_factor(grad_norm, options.max_grad_norm);
        training.steps += 1;
        training.passes = 0;
        training.update(clip, options);
        training.gradients.fill(0.0);
        if let Some(scaling) = &mut training.scaling {
            scaling.refresh(&training.layout, &Weights::resolve(base)?, &training.values)?;
        }
        Ok(StepReport { grad_norm, clipped: clip < 1.0 })
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<BatchLoss, EngineError> {
        let Self { base, adapter, buffers, .. } = self;
        let checked = CheckedBatch::new(batch, &base.config)?;
        let weights = Weights::resolve(base)?;
        let adapter = adapter.as_ref().map(Training::adapter);
        let adaptation = Adaptation { adapter, dropout: None };
        forward(base, &weights, adaptation, (batch, &checked), buffers, Keep::Nothing)?;
        let hidden = buffers.hidden.read(batch.tokens.len() * base.config.hidden_size);
        let targets = Targets { rows: &checked.labelled, labels: &checked.labels };
        let losses = head::losses(&base.config, &weights, hidden, targets, &mut buffers.head)?;
        Ok(BatchLoss { loss_sum: losses.iter().sum(), target_tokens: losses.len() })
    }

    fn gradients(&self) -> Result<BTreeMap<String, HostTensor>, EngineError> {
        let training = self.training()?;
        Ok(training.layout.export(&training.gradients))
    }

    fn save(&self) -> Result<TrainingState, EngineError> {
        let training = self.training()?;
        Ok(TrainingState {
            adapter: training.layout.adapter(&training.values),
            first_moments: training.layout.export(&training.first_moments),
            second_moments: training.layout.export(&training.second_moments),
            steps: training.steps,
        })
    }

    fn restore(&mut self, state: &TrainingState) -> Result<(), EngineError> {
        let layout = AdapterLayout::new(&state.adapter.config, &self.base.config)?;
        let values = layout.import(&state.adapter.tensors, "the saved adapter")?;
        let first_moments = layout.import(&state.first_moments, "the saved first moments")?;
        let second_moments = layout.import(&state.second_moments, "the saved second moments")?;
        let weights = Weights::resolve(&self.base)?;
        let training = Training::new(layout, values, &weights)?;
        self.adapter = Some(Training { first_moments, second_moments, steps: state.steps, ..training });
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
