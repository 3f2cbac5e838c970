//! Where everything between input and loss lies in a device's memory: laid out once for a number of rows, never allocated within a pass.

use super::{
    bytes::{WORD, float_bytes},
    layout::{Group, Layout, Member, aligned},
};
use crate::{
    cuda::{Address, Device, DeviceError, Rows},
    engine::{EngineError, reference::heads},
    model::ModelConfig,
    ops::{
        lora_linear::cuda::{DeviceDropout, LowRankABackward, LowRankBackward, LowRankLayer, partial_sums},
        rope::Ropes,
    },
};

/// Alignment of everything, in bytes.
const ALIGNMENT: usize = 256;
/// Bytes of logits that are held at once, at most.
const LOGIT_BYTES: usize = 1 << 30;
/// What the rows of a chunk of logits are rounded to.
pub(super) const HEAD_UNIT: usize = 128;

/// Hands out memory from an address on.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) next: Address,
}

impl Arena {
    pub(super) fn bytes(&mut self, bytes: usize) -> Address {
        let address = self.next;
        self.next = address.at(bytes.next_multiple_of(ALIGNMENT));
        address
    }

    /// Room for 32-bit values.
    pub(super) fn words(&mut self, count: usize) -> Address {
        self.bytes(WORD * count)
    }

    pub(super) fn rows(&mut self, rows: usize, width: usize) -> Rows {
        Rows::new(self.bytes(2 * rows * width), width)
    }
}

/// What there has to be room for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Rows of a pass.
    pub(super) rows: usize,
    /// Positions of rows in their documents.
    pub(super) positions: usize,
    /// How many layers, the last ones, keep what their backward pass needs; `None` where there is no backward pass.
    pub(super) keeping: Option<usize>,
}

impl Room {
    /// For passes of training, where the last `keeping` layers keep what their backward pass needs.
    pub(super) fn to_train(rows: usize, keeping: usize) -> Self {
        Self { rows, positions: rows, keeping: Some(keeping) }
    }
}

/// What a block keeps for its backward pass.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// Residual stream between attention and the gated layers.
    pub(super) middle: Rows,
    /// Normalised input of attention, then `x·Aᵀ`.
    pub(super) attention_input: Rows,
    /// Queries, keys and values as projected, where heads are normalised.
    pub(super) raw: Option<Rows>,
    /// Queries, keys and values as attention reads them.
    pub(super) projected: Rows,
    /// What attention gave, then `x·Aᵀ`.
    pub(super) attention: Rows,
    /// `[heads, rows]` in f32.
    pub(super) log_sums: Address,
    /// Normalised input of the gated layers, then `x·Aᵀ`.
    pub(super) gated_input: Rows,
    /// Gate and up, with room for the low-rank part of their gradient.
    pub(super) gate_up: Rows,
    /// `x·Aᵀ` of the down projection.
    pub(super) down_low_rank: Rows,
    /// What attention's projection and the gated layers gave, where that is normalised.
    pub(super) outputs: Option<[Rows; 2]>,
    /// Outputs of each group before their magnitudes, where it has any.
    pub(super) plain: [Option<Rows>; 4],
}

impl Slot {
    fn lay_out(
        arena: &mut Arena,
        model: &ModelConfig,
        [input, output, gated, down]: [&Group; 4],
        rows: usize,
    ) -> Self {
        let (variant, hidden) = (&model.variant, model.hidden_size);
        Self {
            middle: arena.rows(rows, hidden),
            attention_input: arena.rows(rows, input.stride()),
            raw: variant.query_key_norm.then(|| arena.rows(rows, input.outputs)),
            projected: arena.rows(rows, input.outputs),
            attention: arena.rows(rows, output.stride()),
            log_sums: arena.words(rows * model.attention_heads),
            gated_input: arena.rows(rows, gated.stride()),
            gate_up: arena.rows(rows, aligned(gated.outputs + gated.low_rank)),
            down_low_rank: arena.rows(rows, down.low_rank),
            outputs: variant.output_norms.then(|| [arena.rows(rows, hidden), arena.rows(rows, hidden)]),
            plain: [input, output, gated, down]
                .map(|group| group.magnitudes.map(|_| arena.rows(rows, group.outputs))),
        }
    }
}

/// Tables of cosines and sines, `[positions, dim / 2]` in f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct RopeTables {
    pub(super) cosines: Address,
    pub(super) sines: Address,
}

/// Numbers that describe a batch, each `[rows]` of 32 bits; they lie one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs {
    pub(super) tokens: Address,
    pub(super) positions: Address,
    pub(super) starts: Address,
    pub(super) ends: Address,
    pub(super) labelled: Address,
    pub(super) labels: Address,
}

impl Inputs {
    fn lay_out(arena: &mut Arena, rows: usize) -> Self {
        let [tokens, positions, starts, ends, labelled, labels] = [(); 6].map(|()| arena.words(rows));
        Self { tokens, positions, starts, ends, labelled, labels }
    }
}

/// Where dropout works.
#[derive(Debug, Clone, Copy)]
pub(super) struct DropoutRoom {
    /// What its masks in this pass follow from.
    pub(super) key: Address,
    /// What a group's updates read, or the gradient for it.
    pub(super) rows: Rows,
}

/// Everything between input and loss.
#[derive(Debug, Clone)]
pub(super) struct Activations {
    /// Rows there is room for.
    pub(super) rows: usize,
    pub(super) inputs: Inputs,
    pub(super) rope: RopeTables,
    /// Where windowed layers rotate by angles of their own.
    pub(super) windowed_rope: Option<RopeTables>,
    /// Residual stream before each block, and after the last.
    residual: Vec<Rows>,
    slots: Vec<Slot>,
    /// Layers from here on keep their activations; those before share the first slot and are computed again.
    pub(super) first_kept: usize,
    /// Activation of the gated layers, then `x·Aᵀ`; in the backward pass first its gradient.
    pub(super) activated: Rows,
    /// Gradient of the residual stream, with room for the low-rank part.
    pub(super) d_residual: Rows,
    /// Gradient of an output before its normalisation or its magnitudes, with room for the low-rank part.
    pub(super) d_output: Option<Rows>,
    /// Sums of the gradients of magnitudes over some rows each, in f32.
    pub(super) column_sums: Address,
    /// Where the adapter is trained with dropout.
    pub(super) dropout: Option<DropoutRoom>,
    /// Room for the sums of the gradients of low-rank updates; none where those are computed by products.
    pub(super) low_rank_sums: Option<Address>,
    /// Gradient of a normalised input, or an output before its normalisation.
    pub(super) d_normed: Rows,
    pub(super) d_attention: Rows,
    /// With room for the low-rank part.
    pub(super) d_projected: Rows,
    /// `[heads, rows]` in f32.
    pub(super) delta: Address,
    /// Normalised rows that have labels, and their gradients.
    pub(super) head_input: Rows,
    pub(super) d_head_input: Rows,
    pub(super) logits: Rows,
    /// Rows of logits held at once.
    pub(super) head_rows: usize,
    /// `[rows]` in f32.
    pub(super) losses: Address,
}

impl Activations {
    /// Lays everything out from `base` on; returns it with the bytes it takes. Without a backward pass there is no room for its
    /// gradients nor for the loss, and all layers work in the same memory.
    pub(super) fn lay_out(
        base: Address,
        model: &ModelConfig,
        layout: &Layout,
        Room { rows, positions, keeping }: Room,
    ) -> Result<(Self, usize), EngineError> {
        let mut arena = Arena { next: base };
        let hidden = model.hidden_size;
        let heads = heads(model, 0);
        let group = |index| layout.group(0, index);
        let groups = [group(0)?, group(1)?, group(2)?, group(3)?];
        let [input, output, _, down] = groups;
        let first_kept = model.layers.saturating_sub(keeping.map_or(0, |layers| layers.max(1)));
        let slots = model.layers - first_kept + usize::from(first_kept > 0);
        let inputs = Inputs::lay_out(&mut arena, rows);
        let mut rope = || RopeTables {
            cosines: arena.words(positions * heads.dim / 2),
            sines: arena.words(positions * heads.dim / 2),
        };
        let (table, windowed) = (rope(), model.variant.windowed_rope_theta.map(|_| rope()));
        let residual = match keeping {
            Some(_) => (0..=model.layers).map(|_| arena.rows(rows, hidden)).collect(),
            None => vec![arena.rows(rows, hidden); model.layers + 1],
        };
        let slots = (0..slots).map(|_| Slot::lay_out(&mut arena, model, groups, rows)).collect();
        let d_width = aligned(hidden + output.low_rank.max(down.low_rank));
        let vocab = aligned(model.vocab_size);
        let trained = if keeping.is_some() { rows } else { 0 };
        let is_scaled = output.magnitudes.is_some() || down.magnitudes.is_some();
        let sums_of = |group: &&Group| group.magnitudes.map_or(0, |_| partial_sums([trained, group.outputs]));
        let column_sums = groups.iter().map(sums_of).max().unwrap_or_default();
        let drops = layout.config.as_ref().is_some_and(|config| config.dropout > 0.0);
        let adapted = groups.iter().filter(|group| group.low_rank > 0);
        let widest_input = adapted.map(|group| group.inputs).max().unwrap_or_default();
        let head_rows = chunk_rows(model, trained);
        let activations = Self {
            rows,
            inputs,
            rope: table,
            windowed_rope: windowed,
            residual,
            slots,
            first_kept,
            activated: arena.rows(rows, down.stride()),
            d_residual: arena.rows(trained, d_width),
            d_output: (model.variant.output_norms || is_scaled).then(|| arena.rows(trained, d_width)),
            column_sums: arena.words(column_sums),
            low_rank_sums: low_rank_bytes(groups, layout.rank, trained)?.map(|bytes| arena.bytes(bytes)),
            dropout: (drops && trained > 0).then(|| DropoutRoom {
                key: arena.bytes(DeviceDropout::KEY_BYTES),
                rows: arena.rows(trained, aligned(widest_input)),
            }),
            d_normed: arena.rows(trained, hidden),
            d_attention: arena.rows(trained, output.inputs),
            d_projected: arena.rows(trained, aligned(input.outputs + input.low_rank)),
            delta: arena.words(trained * heads.query),
            head_input: arena.rows(trained.next_multiple_of(HEAD_UNIT), hidden),
            d_head_input: arena.rows(trained.next_multiple_of(HEAD_UNIT), hidden),
            logits: arena.rows(head_rows, vocab),
            head_rows,
            losses: arena.words(trained),
        };
        let bytes = usize::try_from(arena.next.0 - base.0).unwrap_or(usize::MAX);
        Ok((activations, bytes))
    }

    /// Fills the tables of cosines and sines.
    pub(super) fn write_ropes(
        &self,
        device: &dyn Device,
        ropes: &mut Ropes,
        positions: usize,
    ) -> Result<(), DeviceError> {
        let write = |table: RopeTables, (cosines, sines): (&[f32], &[f32])| {
            device.write(table.cosines, &float_bytes(cosines))?;
            device.write(table.sines, &float_bytes(sines))
        };
        let (all, windowed) = ropes.all();
        write(self.rope, all.tables(positions))?;
        if let (Some(table), Some(rope)) = (self.windowed_rope, windowed) {
            write(table, rope.tables(positions))?;
        }
        Ok(())
    }

    /// Where a layer keeps what its backward pass needs.
    pub(super) fn slot(&self, layer: usize) -> Result<&Slot, EngineError> {
        let shared = usize::from(self.first_kept > 0);
        let slot = layer.checked_sub(self.first_kept).map_or(0, |kept| kept + shared);
        self.slots.get(slot).ok_or(EngineError::Defect { missing: "the memory of a layer" })
    }

    /// The residual stream before a layer; after the last one for the number of layers.
    pub(super) fn residual_before(&self, layer: usize) -> Result<Rows, EngineError> {
        self.residual.get(layer).copied().ok_or(EngineError::Defect { missing: "the residual stream" })
    }
}

/// Rows of logits that are held at once, of `rows` in all.
fn chunk_rows(model: &ModelConfig, rows: usize) -> usize {
    let fitting = LOGIT_BYTES / (2 * model.vocab_size.max(1));
    let fitting = (fitting / HEAD_UNIT * HEAD_UNIT).max(HEAD_UNIT);
    fitting.min(rows.next_multiple_of(HEAD_UNIT))
}

/// Bytes that the gradients of any group's updates work in; `None` where there are no kernels for them, or nothing is updated.
fn low_rank_bytes(groups: [&Group; 4], rank: usize, rows: usize) -> Result<Option<usize>, DeviceError> {
    let mut most = None;
    for group in groups.into_iter().filter(|_| rows > 0) {
        let layers: Vec<_> =
            group.members.iter().filter(|member| member.b.is_some()).map(low_rank_layer).collect();
        if layers.is_empty() {
            continue;
        }
        if !LowRankBackward::has_kernels(rank, layers.len()) {
            return Ok(None);
        }
        let backward = LowRankBackward { rows, rank, scale: 1.0, layers: &layers };
        let of_a = LowRankABackward { rows, inputs: group.inputs, low_rank: group.low_rank };
        let of_a = if LowRankABackward::has_kernels(group.low_rank) { of_a.most_scratch_bytes()? } else { 0 };
        most = most.max(Some(backward.most_scratch_bytes()?.max(of_a)));
    }
    Ok(most)
}

/// The shape of a layer's update.
fn low_rank_layer(member: &Member) -> LowRankLayer {
    LowRankLayer { output: member.output, width: member.width, column: 0, d_b: Address::NULL }
}
