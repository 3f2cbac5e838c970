//! What the engine can train, and the memory that it takes for it.

use super::{
    ROW_UNIT,
    activations::{Activations, Room},
    bytes::WORD,
    layout::{Group, Layout},
    training::Training,
};
use crate::{
    cuda::Address,
    engine::{EngineError, LoraConfig, reference::TrainingMemory},
    model::{BaseModel, ModelConfig, Quantised, is_linear, tensor_shapes},
    ops::attention::cuda::has_kernels,
};

/// Memory that is left free for the driver and its libraries.
const RESERVE: u64 = 512 << 20;

/// Of free memory what an engine may take.
pub fn usable_bytes(free: u64) -> u64 {
    free.saturating_sub(RESERVE)
}

/// Memory that a base model takes without adapter, in bytes.
pub fn base_bytes(base: &BaseModel) -> usize {
    let quantised: usize = base.quantised.iter().filter(|(name, _)| is_linear(name)).map(held_bytes).sum();
    let full: usize = tensor_shapes(&base.config)
        .iter()
        .filter(|(name, _)| !(is_linear(name) && base.quantised.contains_key(name)))
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    2 * full + quantised
}

/// Bytes of a weight in few bits, as it is held: codes of four bits with scales in f32, everything else in bf16.
fn held_bytes((_, weight): (&String, &Quantised)) -> usize {
    let [rows, columns] = weight.shape();
    match weight {
        Quantised::Nf4(tensor) => rows * columns / 2 + rows * columns / tensor.block() * WORD,
        Quantised::Blocks(_) => 2 * rows * columns,
    }
}

/// Memory of a training with passes of `rows` rows.
///
/// # Errors
/// [`EngineError::Device`] when the kernels for low-rank updates take no such shape.
pub fn training_memory(
    base: &BaseModel,
    lora: &LoraConfig,
    rows: usize,
    recompute: bool,
) -> Result<TrainingMemory, EngineError> {
    let model = &base.config;
    let (plain, layout) = (Layout::new(None, model), Layout::new(Some(lora), model));
    let rows = rows.next_multiple_of(ROW_UNIT);
    let bytes = |keeping| Activations::lay_out(Address::NULL, model, &layout, Room::to_train(rows, keeping));
    let (one, all) = (bytes(1)?.1, bytes(model.layers)?.1);
    // Two layers keep as much again as one more does.
    let per_layer = bytes(model.layers.min(2))?.1 - one;
    let activation_bytes = if recompute { 2 * per_layer } else { model.layers * per_layer };
    let scratch_bytes = if recompute { one } else { all }.saturating_sub(activation_bytes);
    let values = |layout: &Layout| layout.groups.iter().flatten().map(Group::values).sum::<usize>();
    let margins = 2 * (values(&layout) - values(&plain));
    Ok(TrainingMemory {
        base_bytes: base_bytes(base),
        adapter_bytes: Training::bytes(&layout) + margins,
        activation_bytes,
        scratch_bytes,
    })
}

/// Whether there are kernels for a model, in engine and decoder, by whatever method.
///
/// # Errors
/// [`EngineError::Unsupported`] says why not.
pub fn check(config: &ModelConfig) -> Result<(), EngineError> {
    if !has_kernels(config.head_dim) {
        let reason =
            format!("its heads are {} wide; there are kernels for 16, 32, 64, 128 and 256", config.head_dim);
        return Err(EngineError::Unsupported { reason });
    }
    for (name, width) in
        [("hidden_size", config.hidden_size), ("intermediate_size", config.intermediate_size)]
    {
        if !width.is_multiple_of(8) {
            let reason = format!("{name} is {width}, which is no multiple of 8");
            return Err(EngineError::Unsupported { reason });
        }
    }
    if let Some(cap) = config.variant.logit_cap {
        let reason = format!("its logits are capped at {cap}, for which there is no kernel");
        return Err(EngineError::Unsupported { reason });
    }
    Ok(())
}
