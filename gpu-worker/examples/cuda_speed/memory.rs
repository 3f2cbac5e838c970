//! Kernels that are bound by the memory.

use std::sync::Arc;

use clara_gpu_worker::{
    cuda::{Device, DeviceError},
    engine::StepOptions,
    ops::{
        gated::{
            Activation,
            cuda::{gated, gated_backward},
        },
        head_loss::cuda::cross_entropy,
        rms_norm::cuda::{Norm, NormBackward},
        rope::cuda::HeadRotation,
        rows::copy,
    },
    optim::cuda::{DeviceParameters, adamw, sum_of_squares},
};
use serde_json::json;

use crate::{
    attention::AttentionArgs,
    room::{Room, aligned, milliseconds},
    say,
    shape::{Shape, shape},
};

/// Kernels that read and write more than they compute, with the bytes per second that they reach.
pub(crate) fn memory(device: &Arc<dyn Device>, args: &AttentionArgs) -> anyhow::Result<()> {
    let (rows, config) = (8192, shape(Shape::Llama));
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let device_ref = device.as_ref();
    let mut room = Room { device, buffers: Vec::new() };
    let wide = aligned(hidden + 48);
    let (a, b, c) = (room.matrix(rows, wide)?, room.matrix(rows, hidden)?, room.matrix(rows, hidden)?);
    let gate_up = room.matrix(rows, aligned(2 * inner + 32))?;
    let activated = room.matrix(rows, aligned(inner + 16))?;
    let projected = room.matrix(rows, 6144)?;
    let logits = room.matrix(1024, config.vocab_size)?;
    let (weight, words) = (room.floats(hidden)?, room.floats(rows * 64)?);
    let norm = Norm { weight, width: hidden, eps: 1e-5 };
    let rotation = HeadRotation {
        cosines: words,
        sines: words,
        positions: room.floats(rows)?,
        norms: None,
        query_heads: 32,
        key_heads: 8,
        dim: 128,
        eps: 1e-5,
    };
    let count = 42 << 20;
    let parameters = DeviceParameters {
        values: room.floats(count)?,
        gradients: room.floats(count)?,
        first_moments: room.floats(count)?,
        second_moments: room.floats(count)?,
        classes: room.floats(count / 256)?,
        count,
    };
    let (losses, labels) = (room.floats(rows)?, room.floats(rows)?);
    let partial_sums = room.floats(4096)?;
    let time = |name: &str, bytes: usize, work: &dyn Fn() -> Result<(), DeviceError>| {
        let took = milliseconds(device_ref, args.repeats, |_| Ok(work()?))?;
        say(&json!({
            "what": "memory", "engine": "clara", "kernel": name, "milliseconds": took,
            "gigabytes_per_second": bytes as f64 / took / 1e6,
        }))
    };
    let row = 2 * rows;
    time("copy_rows", row * 2 * hidden, &|| copy(device_ref, b, a, [rows, hidden]))?;
    time("rms_norm", row * 2 * hidden, &|| norm.forward(device_ref, a, b, None, rows))?;
    time("rms_norm_backward", row * 4 * hidden, &|| {
        let operands = NormBackward { dx: a, x: b, dy: c, index: None, accumulate: true };
        norm.backward(device_ref, operands, rows)
    })?;
    time("head_norm_rope", row * 2 * 5120, &|| rotation.forward(device_ref, projected, projected, rows))?;
    time("gated", row * 3 * inner, &|| {
        gated(device_ref, Activation::Silu, activated, gate_up, [rows, inner])
    })?;
    time("gated_backward", row * 6 * inner, &|| {
        gated_backward(device_ref, Activation::Silu, gate_up, activated, [rows, inner])
    })?;
    time("cross_entropy", 2 * 1024 * 2 * config.vocab_size, &|| {
        cross_entropy(device_ref, logits, labels, losses, [1024, config.vocab_size], Some(1.0))
    })?;
    time("adamw", 4 * 8 * count, &|| adamw(device_ref, parameters, 1.0, 1, &StepOptions::default()))?;
    time("square_sums", 4 * count, &|| {
        sum_of_squares(device_ref, parameters.gradients, count, partial_sums, losses)
    })
}
