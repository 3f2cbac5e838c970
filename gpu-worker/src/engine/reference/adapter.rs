//! An adapter as one flat slice of parameters, laid out for the passes, and its exchange with PEFT's tensors.

mod magnitudes;

use std::{collections::BTreeMap, ops::Range};

use rayon::prelude::*;

use super::{
    buffers::Buffer,
    weights::{GROUPS, Weights, features, full},
};
use crate::{
    engine::{AdapterWeights, EngineError, LoraConfig, TargetModule, init::fill_uniform},
    model::{HostTensor, ModelConfig},
    ops::{
        OpError,
        lora_linear::{LoraGradients, LoraGroup, Magnitude},
        low_rank::factorise,
        matmul::{Matrix, MatrixMut},
    },
};
pub(super) use magnitudes::{Magnitudes, Scaling};

/// Passes towards the largest singular values: those of frozen weights hardly stand out.
const PRINCIPAL_PASSES: usize = 16;

/// Where one module's factors lie.
#[derive(Debug, Clone)]
struct Update {
    module: TargetModule,
    layer: usize,
    in_features: usize,
    out_features: usize,
    /// `A` row-major `[rank, in]`.
    a: Range<usize>,
    /// `B` transposed `[rank, out]`, which suits both passes better than PEFT's `[out, rank]`.
    b: Range<usize>,
    /// The magnitude `[out]`; empty where the method has none.
    magnitude: Range<usize>,
    /// Its place among the magnitudes of all updates.
    outputs: Range<usize>,
}

/// Where the factors of one group of layers lie: first all `A`, stacked, then each `B`, then each magnitude.
#[derive(Debug, Clone, Default)]
struct Group {
    range: Range<usize>,
    in_features: usize,
    /// Per module of the group its output width, if it is updated.
    outputs: Vec<Option<usize>>,
    /// Where the first of them lies among the magnitudes of all updates.
    first_output: usize,
}

impl Group {
    fn updates(&self) -> usize {
        self.outputs.iter().flatten().count()
    }
}

/// The layout of an adapter for a model.
#[derive(Debug, Clone)]
pub(super) struct AdapterLayout {
    config: LoraConfig,
    groups: Vec<[Group; 4]>,
    updates: Vec<Update>,
    length: usize,
    /// Outputs of all updates together.
    outputs: usize,
}

impl AdapterLayout {
    /// Lays out an adapter, after checking that the model can carry it.
    pub(super) fn new(config: &LoraConfig, model: &ModelConfig) -> Result<Self, EngineError> {
        check(config, model)?;
        let (groups, updates) = (Vec::new(), Vec::new());
        let mut layout = Self { config: config.clone(), groups, updates, length: 0, outputs: 0 };
        for layer in 0..model.layers {
            let groups = GROUPS.map(|modules| layout.append(layer, modules, model));
            layout.groups.push(groups);
        }
        Ok(layout)
    }

    fn append(&mut self, layer: usize, modules: &[TargetModule], model: &ModelConfig) -> Group {
        let (start, rank) = (self.length, self.config.rank);
        let updated: Vec<_> = modules.iter().map(|module| self.config.targets.contains(module)).collect();
        let mut group = Group { first_output: self.outputs, ..Group::default() };
        let first = self.updates.len();
        for module in modules.iter().zip(&updated).filter_map(|(module, updated)| updated.then_some(*module))
        {
            let (in_features, out_features) = features(model, module);
            let a = self.length..self.length + rank * in_features;
            self.length = a.end;
            let outputs = self.outputs..self.outputs + out_features;
            self.outputs = outputs.end;
            let (b, magnitude) = (0..0, 0..0);
            self.updates.push(Update { module, layer, in_features, out_features, a, b, magnitude, outputs });
        }
        for update in self.updates.iter_mut().skip(first) {
            update.b = self.length..self.length + rank * update.out_features;
            self.length = update.b.end;
        }
        if self.config.dora {
            for update in self.updates.iter_mut().skip(first) {
                update.magnitude = self.length..self.length + update.out_features;
                self.length = update.magnitude.end;
            }
        }
        for (module, updated) in modules.iter().zip(updated) {
            let (in_features, out_features) = features(model, *module);
            group.in_features = in_features;
            group.outputs.push(updated.then_some(out_features));
        }
        group.range = start..self.length;
        group
    }

    /// Number of parameters.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Share of the inputs of the updates that are zeroed in training.
    pub(super) fn dropout(&self) -> f32 {
        self.config.dropout
    }

    /// Columns of `x·Aᵀ` in a group: updates times rank.
    pub(super) fn low_rank_width(&self, group: usize) -> usize {
        let first = self.groups.first().and_then(|groups| groups.get(group));
        first.map_or(0, |group| group.updates() * self.config.rank)
    }

    /// The factors of a group; `None` when no layer of it is updated.
    pub(super) fn group<'a>(
        &self,
        layer: usize,
        group: usize,
        values: &'a [f32],
        magnitudes: Option<&'a Magnitudes>,
    ) -> Result<Option<LoraGroup<'a>>, OpError> {
        let Some(group) = self.updated_group(layer, group) else { return Ok(None) };
        let rank = self.config.rank;
        let rows = group.updates() * rank;
        let values = values.get(group.range.clone()).unwrap_or_default();
        let (a, mut rest) = values.split_at(values.len().min(rows * group.in_features));
        let mut b = Vec::with_capacity(group.outputs.len());
        for out in &group.outputs {
            let Some(out) = out else {
                b.push(None);
                continue;
            };
            let (values, after) = rest.split_at(rest.len().min(rank * out));
            b.push(Some(Matrix::new(values, rank, *out)?));
            rest = after;
        }
        let magnitudes = magnitudes.map_or_else(Vec::new, |all| all.of_group(group));
        let a = Matrix::new(a, rows, group.in_features)?;
        Ok(Some(LoraGroup { rank, scale: self.config.scale(), a, b, magnitudes }))
    }

    /// The gradients of a group, in the layout of its factors.
    pub(super) fn gradients<'a>(
        &self,
        layer: usize,
        group: usize,
        values: &'a mut [f32],
    ) -> Result<Option<LoraGradients<'a>>, OpError> {
        let Some(group) = self.updated_group(layer, group) else { return Ok(None) };
        let rank = self.config.rank;
        let rows = group.updates() * rank;
        let values = values.get_mut(group.range.clone()).unwrap_or_default();
        let (a, mut rest) = values.split_at_mut(values.len().min(rows * group.in_features));
        let mut b = Vec::with_capacity(group.outputs.len());
        for out in &group.outputs {
            let Some(out) = out else {
                b.push(None);
                continue;
            };
            let (values, after) = rest.split_at_mut(rest.len().min(rank * out));
            b.push(Some(MatrixMut::new(values, rank, *out)?));
            rest = after;
        }
        let mut magnitudes = Vec::new();
        if self.config.dora {
            for out in &group.outputs {
                let (values, after) = rest.split_at_mut(rest.len().min(out.unwrap_or_default()));
                magnitudes.push(out.is_some().then_some(values));
                rest = after;
            }
        }
        Ok(Some(LoraGradients { a: MatrixMut::new(a, rows, group.in_features)?, b, magnitudes }))
    }

    fn updated_group(&self, layer: usize, group: usize) -> Option<&Group> {
        self.groups.get(layer).and_then(|groups| groups.get(group)).filter(|group| group.updates() > 0)
    }

    /// Parameters that `StepOptions::b_rate_ratio` is for: each `B` and each magnitude.
    pub(super) fn fast(&self) -> impl Iterator<Item = Range<usize>> {
        self.groups.iter().flatten().map(|group| {
            let start = group.range.start + group.updates() * self.config.rank * group.in_features;
            start..group.range.end
        })
    }

    /// Fresh parameters: each `A` uniform in ±1/√in from its own stream, each `B` zero; magnitudes are left at zero.
    #[expect(clippy::cast_precision_loss, reason = "a width is far below 2²⁴")]
    pub(super) fn initial(&self, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; self.length];
        for update in &self.updates {
            let module = TargetModule::ALL.iter().position(|module| *module == update.module);
            let stream = update.layer * TargetModule::ALL.len() + module.unwrap_or_default();
            let a = values.get_mut(update.a.clone()).unwrap_or_default();
            fill_uniform(a, 1.0 / (update.in_features as f32).sqrt(), seed, stream as u64);
        }
        values
    }

    /// Parameters that stay as they are.
    pub(super) fn frozen(&self) -> impl Iterator<Item = Range<usize>> {
        let learned = self.config.learned_rank();
        let last = move |factor: &Range<usize>, width| factor.start + learned * width..factor.end;
        self.updates.iter().flat_map(move |update| {
            [last(&update.a, update.in_features), last(&update.b, update.out_features)]
        })
    }

    /// Fresh parameters, but for magnitudes: drawn, or where some directions are frozen from the weights.
    pub(super) fn begun(&self, weights: &Weights<'_>, seed: u64) -> Result<Vec<f32>, EngineError> {
        let mut values = self.initial(seed);
        if self.config.frozen_rank > 0 {
            self.begin_principal(weights, &mut values)?;
        }
        Ok(values)
    }

    /// Overwrites the factors with those of the largest singular values of each frozen weight: first the learned ones, then the
    /// same with opposite sign.
    fn begin_principal(&self, weights: &Weights<'_>, values: &mut [f32]) -> Result<(), EngineError> {
        let rank = self.config.learned_rank();
        let root = self.config.scale().sqrt();
        let factors = self.updates.par_iter().map(|update| {
            let mut buffer = Buffer::default();
            let weight = [weights.module(update.layer, update.module)?];
            let weight = full(&weight, &mut buffer)?.pop().ok_or(EngineError::NoTargets)?;
            Ok(factorise(weight, rank, PRINCIPAL_PASSES)?)
        });
        let factors: Vec<(Vec<f32>, Vec<f32>)> = factors.collect::<Result<_, EngineError>>()?;
        for (update, (a, b)) in self.updates.iter().zip(factors) {
            let b = transpose(&b, rank);
            let ([a_from, b_from], [a_signs, b_signs]) = ([&a, &b], [[1.0, 1.0], [1.0, -1.0]]);
            for (range, from, signs) in [(&update.a, a_from, a_signs), (&update.b, b_from, b_signs)] {
                let into = values.get_mut(range.clone()).unwrap_or_default();
                for (half, sign) in into.chunks_mut(from.len().max(1)).zip(signs) {
                    half.iter_mut().zip(from).for_each(|(into, value)| *into = sign * value / root);
                }
            }
        }
        Ok(())
    }

    /// Parameters as an adapter.
    pub(super) fn adapter(&self, values: &[f32]) -> AdapterWeights {
        AdapterWeights { config: self.config.clone(), tensors: self.export(values) }
    }

    /// Values in this layout as tensors under PEFT names.
    pub(super) fn export(&self, values: &[f32]) -> BTreeMap<String, HostTensor> {
        let rank = self.config.rank;
        let mut tensors = BTreeMap::new();
        for update in &self.updates {
            let a = values.get(update.a.clone()).unwrap_or_default().to_vec();
            let shape = vec![rank, update.in_features];
            tensors.insert(update.module.lora_a_name(update.layer), HostTensor { shape, values: a });
            let b = transpose(values.get(update.b.clone()).unwrap_or_default(), update.out_features);
            let shape = vec![update.out_features, rank];
            tensors.insert(update.module.lora_b_name(update.layer), HostTensor { shape, values: b });
            if self.config.dora {
                let values = values.get(update.magnitude.clone()).unwrap_or_default().to_vec();
                let shape = vec![update.out_features];
                tensors.insert(update.module.magnitude_name(update.layer), HostTensor { shape, values });
            }
        }
        tensors
    }

    /// Tensors under PEFT names as values in this layout; `source` names them in errors.
    pub(super) fn import(
        &self,
        tensors: &BTreeMap<String, HostTensor>,
        source: &str,
    ) -> Result<Vec<f32>, EngineError> {
        let rank = self.config.rank;
        let mut values = vec![0.0; self.length];
        let mut known = 0;
        for update in &self.updates {
            let name = update.module.lora_a_name(update.layer);
            let a = tensor(tensors, &name, &[rank, update.in_features], source)?;
            values.get_mut(update.a.clone()).unwrap_or_default().copy_from_slice(a);
            let name = update.module.lora_b_name(update.layer);
            let b = tensor(tensors, &name, &[update.out_features, rank], source)?;
            values.get_mut(update.b.clone()).unwrap_or_default().copy_from_slice(&transpose(b, rank));
            known += 2;
            if self.config.dora {
                let name = update.module.magnitude_name(update.layer);
                let magnitude = tensor(tensors, &name, &[update.out_features], source)?;
                values.get_mut(update.magnitude.clone()).unwrap_or_default().copy_from_slice(magnitude);
                known += 1;
            }
        }
        if tensors.len() > known {
            let ours = self.export(&values);
            if let Some(name) = tensors.keys().find(|name| !ours.contains_key(*name)) {
                return Err(EngineError::UnexpectedTensor { tensor: name.clone() });
            }
        }
        Ok(values)
    }
}

/// Exchanges rows and columns of row-major values with `columns` columns.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns.max(1)).copied()).collect()
}

fn tensor<'a>(
    tensors: &'a BTreeMap<String, HostTensor>,
    name: &str,
    shape: &[usize],
    source: &str,
) -> Result<&'a [f32], EngineError> {
    let missing = || EngineError::MissingTensor { tensor: name.to_owned(), source_name: source.to_owned() };
    let tensor = tensors.get(name).ok_or_else(missing)?;
    if tensor.shape != shape || tensor.values.len() != shape.iter().product::<usize>() {
        return Err(EngineError::TensorShape {
            tensor: name.to_owned(),
            got: tensor.shape.clone(),
            values: tensor.values.len(),
            expected: shape.to_vec(),
        });
    }
    Ok(&tensor.values)
}

fn check(config: &LoraConfig, model: &ModelConfig) -> Result<(), EngineError> {
    if config.targets.is_empty() {
        return Err(EngineError::NoTargets);
    }
    if !(config.alpha.is_finite() && config.alpha > 0.0) {
        return Err(EngineError::Alpha { alpha: config.alpha });
    }
    if !(0.0..1.0).contains(&config.dropout) {
        return Err(EngineError::Dropout { dropout: config.dropout });
    }
    for (index, module) in config.targets.iter().enumerate() {
        if config.targets.iter().take(index).any(|earlier| earlier == module) {
            return Err(EngineError::DuplicateTarget { module: module.name() });
        }
        let (in_features, out_features) = features(model, *module);
        if config.learned_rank() == 0
            || config.rank > in_features.max(out_features)
            || (config.frozen_rank > 0 && config.learned_rank() > in_features.min(out_features))
        {
            return Err(EngineError::Rank {
                rank: config.rank,
                module: module.name(),
                in_features,
                out_features,
            });
        }
    }
    Ok(())
}
