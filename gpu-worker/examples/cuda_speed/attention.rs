//! Attention, forward and backward.

use std::sync::Arc;

use clap::Args;
use clara_gpu_worker::{
    cuda::{Device, Rows},
    ops::attention::{
        Heads,
        cuda::{AttentionGradient, PackedAttention, Projected},
    },
};
use serde_json::json;

use crate::{
    room::{Room, milliseconds},
    say,
};

#[derive(Args)]
pub(crate) struct AttentionArgs {
    #[arg(long, default_value_t = 20)]
    pub(crate) repeats: usize,
}

pub(crate) fn attention(device: &Arc<dyn Device>, args: &AttentionArgs) -> anyhow::Result<()> {
    for (query, key_value, dim) in [(32, 8, 128), (9, 3, 64)] {
        for sequence in [2048, 4096] {
            let rows = 8192;
            let heads = Heads { query, key_value, dim, scale: None, window: None };
            let mut room = Room { device, buffers: Vec::new() };
            let width = heads.query_width() + 2 * heads.key_value_width();
            let split = |rows: Rows| {
                let key = rows.columns_from(heads.query_width());
                Projected { query: rows, key, value: key.columns_from(heads.key_value_width()) }
            };
            let (projected, d) = (split(room.matrix(rows, width)?), split(room.matrix(rows, width)?));
            let (out, d_out) =
                (room.matrix(rows, heads.query_width())?, room.matrix(rows, heads.query_width())?);
            let (log_sums, delta) = (room.floats(rows * query)?, room.floats(rows * query)?);
            let (starts, ends) = (room.floats(rows)?, room.floats(rows)?);
            let numbers = |offset: usize| {
                (0..rows).flat_map(move |row| {
                    u32::try_from(row / sequence * sequence + offset).unwrap_or_default().to_le_bytes()
                })
            };
            device.write(starts, &numbers(0).collect::<Vec<_>>())?;
            device.write(ends, &numbers(sequence).collect::<Vec<_>>())?;
            let packed = PackedAttention { heads, rows, starts, ends };
            let forward = milliseconds(device.as_ref(), args.repeats, |_| {
                Ok(packed.forward(device.as_ref(), out, log_sums, projected)?)
            })?;
            let backward = milliseconds(device.as_ref(), args.repeats, |_| {
                let gradient = AttentionGradient { out, d_out, log_sums, delta };
                Ok(packed.backward(device.as_ref(), d, projected, gradient)?)
            })?;
            // Half of all pairs; two products forward, five backward.
            let operations = 2.0 * (rows * sequence * query * dim) as f64;
            for (direction, time, times) in [("forward", forward, 1.0), ("backward", backward, 2.5)] {
                say(&json!({
                    "what": "attention", "engine": "clara", "direction": direction, "dim": dim,
                    "heads": format!("{query}/{key_value}"), "sequence": sequence, "tokens": rows,
                    "milliseconds": time, "tflops": times * operations / time / 1e9,
                }))?;
            }
        }
    }
    Ok(())
}
