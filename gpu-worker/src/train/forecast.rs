//! What a training will take, told before its first step: steps, tokens, time and memory.

mod machine;

use std::fmt;

use clara_lifecycle::spec::Method;
use serde::Serialize;

use super::{Shortage, TrainError, TrainingInput, plan::Plan};
use crate::{
    devices::Place,
    engine::{
        EngineError, LoraConfig, TargetModule, cuda,
        reference::{TrainingMemory, features},
    },
    model::{BaseModel, is_linear},
};

pub use machine::Machine;

/// Share of the rate of a large product that a whole step reaches, as measured (`docs/benchmarks.md`).
const STEP_EFFICIENCY: f64 = 0.8;
/// Shortest rows that are proposed in place of longer ones.
const SHORTEST_ROWS: usize = 64;

/// What a training will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// What computes: the CPU, or a GPU by its name.
    pub device: String,
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens passed through the model in them.
    pub tokens: u64,
    /// Arithmetic of steps and validations, in floating point operations.
    pub operations: f64,
    /// Rate of a large matrix product on this machine, per second.
    pub operations_per_second: f64,
    /// Time that they take at four fifths of that rate.
    pub seconds: f64,
    /// Memory in all.
    pub memory: TrainingMemory,
    /// Memory that is free, the base model loaded; `None` where the system does not tell.
    pub free_bytes: Option<u64>,
    /// Whether blocks are computed again in the backward pass, because there is no memory to keep all of them.
    pub recompute: bool,
}

impl Forecast {
    /// Counts steps, arithmetic and memory, and decides whether blocks are computed twice.
    ///
    /// # Errors
    /// [`TrainError::Memory`] when the training does not fit; it says what would.
    pub fn new(
        input: &TrainingInput,
        base: &BaseModel,
        place: &Place,
        machine: Machine,
    ) -> Result<Self, TrainError> {
        let planner = Planner { place, base };
        let free_bytes = machine.free_bytes.map(|free| planner.beside_base(free));
        let (memory, recompute) = fit(input, &planner, free_bytes)?;
        let (steps, tokens, operations) = amount(input, base, recompute);
        let operations_per_second = machine.operations_per_second;
        let seconds = operations / (operations_per_second * STEP_EFFICIENCY);
        let device = place.to_string();
        Ok(Self {
            device,
            steps,
            tokens,
            operations,
            operations_per_second,
            seconds,
            memory,
            free_bytes,
            recompute,
        })
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.seconds / 60.0;
        write!(f, "{} steps with {} tokens, about ", self.steps, self.tokens)?;
        match minutes {
            ..1.0 => write!(f, "{:.0} s", self.seconds.max(1.0))?,
            1.0..120.0 => write!(f, "{minutes:.0} min")?,
            _ => write!(f, "{:.1} h", minutes / 60.0)?,
        }
        write!(f, " and {} of memory", size(self.memory.total_bytes() as u64))?;
        if let Some(free) = self.free_bytes {
            write!(f, " ({} free beside the base model)", size(free))?;
        }
        if self.recompute {
            write!(
                f,
                "; blocks are computed again in the backward pass, for there is no memory to keep all of them"
            )?;
        }
        Ok(())
    }
}

/// Counts the memory of a training where it will run.
struct Planner<'a> {
    place: &'a Place,
    base: &'a BaseModel,
}

impl Planner<'_> {
    fn memory(&self, lora: &LoraConfig, rows: usize, recompute: bool) -> Result<TrainingMemory, EngineError> {
        match self.place {
            Place::Cpu => TrainingMemory::new(self.base, lora, rows, recompute),
            Place::Gpu(_) => cuda::training_memory(self.base, lora, rows, recompute),
        }
    }

    /// What is left once the base model is loaded. On the CPU it is already.
    fn beside_base(&self, free: u64) -> u64 {
        match self.place {
            Place::Cpu => free,
            Place::Gpu(_) => free.saturating_sub(cuda::base_bytes(self.base) as u64),
        }
    }
}

/// The memory, without or else with recomputed blocks.
fn fit(
    input: &TrainingInput,
    planner: &Planner<'_>,
    free_bytes: Option<u64>,
) -> Result<(TrainingMemory, bool), TrainError> {
    let rows = input.longest_row();
    let fits = |memory: &TrainingMemory| free_bytes.is_none_or(|free| memory.added_bytes() as u64 <= free);
    let keeping = planner.memory(&input.lora, rows, false)?;
    if fits(&keeping) {
        return Ok((keeping, false));
    }
    let recomputing = planner.memory(&input.lora, rows, true)?;
    if fits(&recomputing) {
        return Ok((recomputing, true));
    }
    let advice = advice(input, planner, rows, free_bytes.unwrap_or_default())?;
    Err(Box::new(Shortage {
        needed: size(recomputing.added_bytes() as u64),
        adapter: size(recomputing.adapter_bytes as u64),
        activations: size(recomputing.activation_bytes as u64),
        scratch: size(recomputing.scratch_bytes as u64),
        rows,
        free: size(free_bytes.unwrap_or_default()),
        advice,
    })
    .into())
}

/// What would fit, each with its memory beside the base model.
fn advice(
    input: &TrainingInput,
    planner: &Planner<'_>,
    rows: usize,
    free: u64,
) -> Result<String, EngineError> {
    let needed =
        |lora: &LoraConfig, rows| planner.memory(lora, rows, true).map(|memory| memory.added_bytes() as u64);
    let mut found = Vec::new();
    let mut shorter = rows / 2;
    while shorter >= SHORTEST_ROWS && needed(&input.lora, shorter)? > free {
        shorter /= 2;
    }
    if shorter >= SHORTEST_ROWS {
        found.push(format!("sequence_length {shorter} ({})", size(needed(&input.lora, shorter)?)));
    }
    let halved = |lora: &LoraConfig| LoraConfig {
        rank: lora.learned_rank() / 2 * if lora.frozen_rank > 0 { 2 } else { 1 },
        frozen_rank: if lora.frozen_rank > 0 { lora.learned_rank() / 2 } else { 0 },
        ..lora.clone()
    };
    let mut low = halved(&input.lora);
    while low.learned_rank() > 1 && needed(&low, rows)? > free {
        low = halved(&low);
    }
    if low.learned_rank() >= 1 && needed(&low, rows)? <= free {
        found.push(format!("rank {} ({})", low.learned_rank(), size(needed(&low, rows)?)));
    }
    let saved = saved_by_four_bits(planner.base);
    if input.method != Method::Qlora && needed(&input.lora, rows)? <= free + saved {
        found.push(format!("method qlora (the base model takes {} less)", size(saved)));
    }
    if found.is_empty() {
        return Ok("use a machine with more memory, a smaller base model or a lower rank".to_owned());
    }
    Ok(format!("it would fit with {}, or on a machine with more memory", found.join(", with ")))
}

/// Bytes by which the base model would shrink: four bits and a little for scales in place of 32.
fn saved_by_four_bits(base: &BaseModel) -> u64 {
    let linear = base.tensors.iter().filter(|(name, _)| is_linear(name));
    linear.map(|(_, tensor)| tensor.values.len() as u64 * 27 / 8).sum()
}

/// Steps, their tokens, and the arithmetic of steps and validations.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn amount(input: &TrainingInput, base: &BaseModel, recompute: bool) -> (u64, u64, f64) {
    let plan = Plan::new(&input.options, input.train.len());
    let report = input.train.report();
    let epochs = plan.epochs();
    let work = Work::new(base, &input.lora);
    let passes = if recompute { 2.0 } else { 1.0 };
    let training = work.forward(report.tokens as f64, input.train.attended()) * passes
        + work.backward(report.tokens as f64, input.train.attended())
        + 2.0 * work.head(report.target_tokens as f64);
    let validation = input.validation.as_ref().map_or(0.0, |rows| {
        let report = rows.report();
        work.forward(report.tokens as f64, rows.attended()) + work.head(report.target_tokens as f64)
    });
    let tokens = (report.tokens as f64 * epochs).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of tokens")]
    let tokens = tokens as u64;
    let operations = training * epochs + validation * plan.validations(input.options.validate_every) as f64;
    (plan.total_steps, tokens, operations)
}

/// Floating point operations of a model with an adapter, as `docs/benchmarks.md` counts them.
struct Work {
    /// Weights of the linear layers of all blocks.
    linear: f64,
    /// Parameters of the low-rank updates.
    updates: f64,
    /// Weights of the output head.
    head: f64,
    /// Width of the queries of all blocks.
    queries: f64,
}

impl Work {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn new(base: &BaseModel, lora: &LoraConfig) -> Self {
        let config = &base.config;
        let layers = config.layers as f64;
        let sum = |modules: &[TargetModule], of: &dyn Fn((usize, usize)) -> usize| {
            modules.iter().map(|module| of(features(config, *module)) as f64).sum::<f64>() * layers
        };
        Self {
            linear: sum(&TargetModule::ALL, &|(inner, outer)| inner * outer),
            updates: sum(&lora.targets, &|(inner, outer)| lora.rank * (inner + outer)),
            head: (config.hidden_size * config.vocab_size) as f64,
            queries: (config.attention_heads * config.head_dim) as f64 * layers,
        }
    }

    /// `attended` counts pairs of a token and one that it sees.
    fn forward(&self, tokens: f64, attended: f64) -> f64 {
        2.0 * (self.linear + self.updates) * tokens + 4.0 * self.queries * attended
    }

    fn backward(&self, tokens: f64, attended: f64) -> f64 {
        (2.0 * self.linear + 4.0 * self.updates) * tokens + 8.0 * self.queries * attended
    }

    /// One pass over the head for so many learned tokens.
    fn head(&self, target_tokens: f64) -> f64 {
        2.0 * self.head * target_tokens
    }
}

/// A size for people.
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.0} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

#[cfg(test)]
mod tests;
