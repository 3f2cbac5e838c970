//! A linear layer with its adapter, over the plain one.

use std::sync::Arc;

use clap::Args;
use clara_gpu_worker::{
    cuda::{Device, Element, Gemm, Operand, Rows},
    ops::lora_linear::cuda::{
        LowRankABackward, LowRankBackward, LowRankGradients, LowRankLayer, low_rank_forward,
    },
};
use serde_json::json;

use crate::{
    room::{Room, aligned, by_turns},
    say,
};

#[derive(Args)]
pub(crate) struct LinearArgs {
    #[arg(long, default_value_t = 8192)]
    tokens: usize,
    #[arg(long, default_value_t = 16)]
    rank: usize,
    #[arg(long, default_value_t = 30)]
    repeats: usize,
}

/// Operands that take turns, so that none stays in the cache.
const TURNS: usize = 4;

/// Of an adapted layer, with room for the low-rank parts, and of a plain one.
#[derive(Clone, Copy)]
struct Operands {
    weight: Rows,
    x: Rows,
    y: Rows,
    plain_weight: Rows,
    plain_x: Rows,
    plain_y: Rows,
}

pub(crate) fn linear(device: &Arc<dyn Device>, args: &LinearArgs) -> anyhow::Result<()> {
    // Inputs, and the outputs of the layers that share them.
    let shapes: [(usize, &[usize]); 8] = [
        (4096, &[4096, 1024, 1024]),
        (4096, &[4096]),
        (4096, &[14336, 14336]),
        (14336, &[4096]),
        (576, &[576, 192, 192]),
        (576, &[576]),
        (576, &[1536, 1536]),
        (1536, &[576]),
    ];
    for (inputs, widths) in shapes {
        let outputs: usize = widths.iter().sum();
        let layers = widths.len();
        let (rows, rank) = (args.tokens, args.rank);
        let low_rank = rank * layers;
        let mut room = Room { device, buffers: Vec::new() };
        let mut sets = Vec::new();
        for _ in 0..TURNS {
            sets.push(Operands {
                weight: room.matrix(outputs + low_rank, aligned(inputs + low_rank))?,
                x: room.matrix(rows, aligned(inputs + low_rank))?,
                y: room.matrix(rows, aligned(outputs + low_rank))?,
                plain_weight: room.matrix(outputs, inputs)?,
                plain_x: room.matrix(rows, inputs)?,
                plain_y: room.matrix(rows, outputs)?,
            });
        }
        let gradient_a =
            Operand { address: room.floats(low_rank * inputs)?, stride: inputs, transposed: false };
        let product = |[m, n, k]: [usize; 3], [left, right]: [Operand; 2], to: Operand, sum: bool| {
            let result = if sum { Element::F32 } else { Element::Bf16 };
            let c = sum.then_some(to);
            device.multiply(&Gemm { m, n, k, alpha: 1.0, a: left, b: right, c, d: to, result, bias: None })
        };
        let set = |round: usize| sets[round % TURNS];
        let plain_forward = |round| {
            let Operands { plain_weight, plain_x, plain_y, .. } = set(round);
            let factors = [plain_x.operand(), plain_weight.transposed()];
            product([rows, outputs, inputs], factors, plain_y.operand(), false)
        };
        let narrow = inputs <= 2048;
        let forward = |round| {
            let Operands { weight, x, y, .. } = set(round);
            let (a, tail) = (weight.rows_from(outputs), x.columns_from(inputs));
            if narrow {
                low_rank_forward(device.as_ref(), tail, [x, a], [rows, inputs, low_rank])?;
            } else {
                product([rows, low_rank, inputs], [x.operand(), a.transposed()], tail.operand(), false)?;
            }
            let factors = [x.operand(), weight.transposed()];
            product([rows, outputs, inputs + low_rank], factors, y.operand(), false)
        };
        let plain_backward = |round| {
            let Operands { plain_weight, plain_x, plain_y, .. } = set(round);
            let factors = [plain_y.operand(), plain_weight.operand()];
            product([rows, inputs, outputs], factors, plain_x.operand(), false)
        };
        let d_b = room.floats(outputs * rank)?;
        let mut output = 0;
        let mut updates = Vec::new();
        for (layer, width) in widths.iter().enumerate() {
            let d_b = d_b.at(output * rank * Element::F32.bytes());
            updates.push(LowRankLayer { output, width: *width, column: layer * rank, d_b });
            output += width;
        }
        let of_b = LowRankBackward { rows, rank, scale: 2.0, layers: &updates };
        let of_a = LowRankABackward { rows, inputs, low_rank };
        let scratch = room.floats(of_b.most_scratch_bytes()?.max(of_a.most_scratch_bytes()?) / 4 + 1)?;
        let backward = |round| {
            let Operands { weight, x, y, .. } = set(round);
            let (b, tail) = (weight.columns_from(inputs), y.columns_from(outputs));
            let operands = LowRankGradients { dy: y, ds: tail, s: x.columns_from(inputs), b, scratch };
            of_b.launch(device.as_ref(), operands)?;
            let factors = [y.operand(), weight.operand()];
            let dx = set(round + 1).plain_x;
            product([rows, inputs, outputs + low_rank], factors, dx.operand(), false)?;
            if narrow {
                return of_a.launch(device.as_ref(), gradient_a.address, [x, tail], scratch);
            }
            product([low_rank, inputs, rows], [tail.transposed(), x.operand()], gradient_a, true)
        };
        let [plain_forward, forward, plain_backward, backward] = by_turns(
            device.as_ref(),
            args.repeats,
            [Box::new(plain_forward), Box::new(forward), Box::new(plain_backward), Box::new(backward)],
        )?;
        for (direction, with, plain) in
            [("forward", forward, plain_forward), ("backward", backward, plain_backward)]
        {
            say(&json!({
                "what": "linear", "engine": "clara", "shape": format!("{inputs}x{outputs}"), "tokens": rows,
                "rank": rank, "direction": direction, "milliseconds": with, "plain_milliseconds": plain,
                "ratio": with / plain,
                "plain_tflops": 2.0 * (rows * inputs * outputs) as f64 / plain / 1e9,
            }))?;
        }
    }
    Ok(())
}
