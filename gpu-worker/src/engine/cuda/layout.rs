//! Where an adapter's factors lie in flat memory, in f32, and where they go in the margins of the frozen weights.
//!
//! For each group of layers that read the same input first all `A` `[rank, in]`, stacked, then each `B` `[out, rank]`, then under
//! `DoRA` a magnitude for every output. Ranks are rounded up to a multiple of 8; what is added is zero, gets no gradient and stays
//! zero, and so do magnitudes of layers that are not updated.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    engine::{
        AdapterWeights, EngineError, LoraConfig, TargetModule,
        reference::{GROUPS, features},
    },
    model::{HostTensor, ModelConfig},
    optim::cuda::{CLASS, HeldPart},
};

/// What ranks are rounded up to, so that every row begins at a multiple of 16 bytes.
const RANK_UNIT: usize = 8;

/// One tensor of one module.
#[derive(Debug, Clone)]
struct Factor {
    name: String,
    /// Where it begins.
    from: usize,
    rows: usize,
    columns: usize,
    /// Values from one row to the next.
    stride: usize,
    /// As PEFT has it.
    shape: Vec<usize>,
}

impl Factor {
    fn matrix(name: String, from: usize, [rows, columns]: [usize; 2], stride: usize) -> Self {
        Self { name, from, rows, columns, stride, shape: vec![rows, columns] }
    }

    fn vector(name: String, from: usize, length: usize) -> Self {
        Self { name, from, rows: 1, columns: length, stride: length, shape: vec![length] }
    }
}

/// A layer in its group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Which one it is.
    pub(super) module: TargetModule,
    /// First of its outputs among those of the group.
    pub(super) output: usize,
    /// How many outputs.
    pub(super) width: usize,
    /// Where its `B` begins, and its place among the updated layers of the group; `None` where it is not updated.
    pub(super) b: Option<(usize, usize)>,
}

/// Layers that read the same input.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Width of the input.
    pub(super) inputs: usize,
    /// Width of all outputs together.
    pub(super) outputs: usize,
    /// Rows of the stacked `A`; 0 where no layer is updated.
    pub(super) low_rank: usize,
    /// Where the stacked `A` begins.
    pub(super) a: usize,
    /// Where the outputs have magnitudes.
    pub(super) magnitudes: Option<GroupMagnitudes>,
    /// The layers.
    pub(super) members: Vec<Member>,
}

/// The magnitudes of a group's outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupMagnitudes {
    /// Where they begin.
    pub(super) from: usize,
    /// Where they begin among the outputs of all groups with magnitudes.
    pub(super) first_output: usize,
}

/// Values of a row that begins at a multiple of 128 bytes, as products read them fastest.
pub(super) fn aligned(width: usize) -> usize {
    width.next_multiple_of(64)
}

impl Group {
    /// Width of an input together with its `x·Aᵀ`.
    pub(super) fn widened_inputs(&self) -> usize {
        self.inputs + self.low_rank
    }

    /// Values from one row of the frozen weights, or of inputs, to the next.
    pub(super) fn stride(&self) -> usize {
        aligned(self.widened_inputs())
    }

    /// Values of the frozen weights with their margins.
    pub(super) fn values(&self) -> usize {
        (self.outputs + self.low_rank) * self.stride()
    }
}

/// The layout of an adapter for a model; without configuration that of the bare model.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// What the adapter is.
    pub(super) config: Option<LoraConfig>,
    /// Rank with what is added.
    pub(super) rank: usize,
    /// The groups of each layer.
    pub(super) groups: Vec<[Group; 4]>,
    factors: Vec<Factor>,
    /// Ranges of the `B`.
    b: Vec<Range<usize>>,
    /// Ranges of the magnitudes.
    magnitudes: Vec<Range<usize>>,
    /// What stays as it began.
    pub(super) frozen: Vec<HeldPart>,
    /// Values of all tensors.
    pub(super) length: usize,
    /// Outputs of all groups with magnitudes.
    pub(super) scaled_outputs: usize,
}

impl Layout {
    /// Lays out an adapter whose configuration was checked.
    pub(super) fn new(config: Option<&LoraConfig>, model: &ModelConfig) -> Self {
        let rank = config.map_or(0, |config| config.rank.next_multiple_of(RANK_UNIT));
        let mut layout = Self {
            config: config.cloned(),
            rank,
            groups: Vec::with_capacity(model.layers),
            factors: Vec::new(),
            b: Vec::new(),
            magnitudes: Vec::new(),
            frozen: Vec::new(),
            length: 0,
            scaled_outputs: 0,
        };
        for layer in 0..model.layers {
            let groups = GROUPS.map(|modules| layout.append(layer, modules, model));
            layout.groups.push(groups);
        }
        layout
    }

    /// Takes `values` more values, from a multiple of what shares a class on.
    fn take(&mut self, values: usize) -> usize {
        let from = self.length;
        self.length = (from + values).next_multiple_of(CLASS);
        from
    }

    fn append(&mut self, layer: usize, modules: &[TargetModule], model: &ModelConfig) -> Group {
        let real_rank = self.config.as_ref().map_or(0, |config| config.rank);
        let frozen = self.config.as_ref().map_or(0, |config| config.frozen_rank);
        let learned = real_rank - frozen.min(real_rank);
        let targets = self.config.as_ref().map_or_else(Vec::new, |config| config.targets.clone());
        let inputs = modules.first().map_or(0, |module| features(model, *module).0);
        let rank = self.rank;
        let updated: Vec<_> = modules.iter().filter(|module| targets.contains(module)).collect();
        let low_rank = updated.len() * rank;
        let a = self.take(low_rank * inputs);
        for (place, module) in updated.iter().enumerate() {
            let from = a + place * rank * inputs;
            let shape = [real_rank, inputs];
            if frozen > 0 {
                let from = from + learned * inputs;
                self.frozen.push(HeldPart { from, rows: frozen, columns: inputs, stride: inputs });
            }
            self.factors.push(Factor::matrix(module.lora_a_name(layer), from, shape, inputs));
        }
        let (mut members, mut output, mut place) = (Vec::new(), 0, 0);
        for module in modules {
            let (_, width) = features(model, *module);
            let b = targets.contains(module).then(|| {
                let from = self.take(width * rank);
                let shape = [width, real_rank];
                if frozen > 0 {
                    let from = from + learned;
                    self.frozen.push(HeldPart { from, rows: width, columns: frozen, stride: rank });
                }
                self.factors.push(Factor::matrix(module.lora_b_name(layer), from, shape, rank));
                self.b.push(from..self.length);
                place += 1;
                (from, place - 1)
            });
            members.push(Member { module: *module, output, width, b });
            output += width;
        }
        let magnitudes = self.append_magnitudes(layer, modules, &members);
        Group { inputs, outputs: output, low_rank, a, magnitudes, members }
    }

    /// Lays out the magnitudes of a group, where the method has them and a layer is updated.
    fn append_magnitudes(
        &mut self,
        layer: usize,
        modules: &[TargetModule],
        members: &[Member],
    ) -> Option<GroupMagnitudes> {
        let has_magnitudes = self.config.as_ref().is_some_and(|config| config.dora);
        if !has_magnitudes || members.iter().all(|member| member.b.is_none()) {
            return None;
        }
        let outputs = members.iter().map(|member| member.width).sum();
        let from = self.take(outputs);
        self.magnitudes.push(from..self.length);
        for (module, member) in modules.iter().zip(members).filter(|(_, member)| member.b.is_some()) {
            let name = module.magnitude_name(layer);
            self.factors.push(Factor::vector(name, from + member.output, member.width));
        }
        let first_output = self.scaled_outputs;
        self.scaled_outputs += outputs;
        Some(GroupMagnitudes { from, first_output })
    }

    /// A group of a layer.
    ///
    /// # Errors
    /// [`EngineError::Defect`] where there is none; layers come from the same configuration.
    pub(super) fn group(&self, layer: usize, group: usize) -> Result<&Group, EngineError> {
        self.groups
            .get(layer)
            .and_then(|groups| groups.get(group))
            .ok_or(EngineError::Defect { missing: "a group of layers" })
    }

    /// For each [`CLASS`] values 1 where they are of a `B` or a magnitude, else 0.
    pub(super) fn classes(&self) -> Vec<u8> {
        let mut classes = vec![0; self.length / CLASS];
        for range in self.b.iter().chain(&self.magnitudes) {
            classes.get_mut(range.start / CLASS..range.end / CLASS).unwrap_or_default().fill(1);
        }
        classes
    }

    /// Tensors under PEFT names as values in this layout. They were checked to be complete; of an adapter with a smaller rank or
    /// fewer layers the rest is zero.
    pub(super) fn import(&self, tensors: &BTreeMap<String, HostTensor>) -> Vec<f32> {
        let mut values = vec![0.0; self.length];
        for factor in &self.factors {
            let Some(tensor) = tensors.get(&factor.name) else { continue };
            let columns = tensor.shape.last().copied().unwrap_or_default();
            for (row, from) in tensor.values.chunks_exact(columns.max(1)).enumerate() {
                let start = factor.from + row * factor.stride;
                values.get_mut(start..start + columns).unwrap_or_default().copy_from_slice(from);
            }
        }
        values
    }

    /// Multiplies each `B`.
    pub(super) fn scale(&self, values: &mut [f32], factor: f32) {
        for range in &self.b {
            for value in values.get_mut(range.clone()).unwrap_or_default() {
                *value *= factor;
            }
        }
    }

    /// Values in this layout as tensors under PEFT names.
    pub(super) fn export(&self, values: &[f32]) -> BTreeMap<String, HostTensor> {
        let tensor = |factor: &Factor| {
            let rows = (0..factor.rows).map(|row| factor.from + row * factor.stride);
            let values =
                rows.flat_map(|start| values.get(start..start + factor.columns).unwrap_or_default()).copied();
            HostTensor { shape: factor.shape.clone(), values: values.collect() }
        };
        self.factors.iter().map(|factor| (factor.name.clone(), tensor(factor))).collect()
    }

    /// Values in this layout as an adapter.
    pub(super) fn adapter(&self, values: &[f32]) -> Result<AdapterWeights, EngineError> {
        let config = self.config.clone().ok_or(EngineError::NoAdapter)?;
        Ok(AdapterWeights { config, tensors: self.export(values) })
    }
}
