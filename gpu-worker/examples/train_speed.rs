//! Measures training and decoding speed on random weights in the shape of SmolLM2-135M and prints one line of JSON.
//!
//! `cargo run -p clara-gpu-worker --example train_speed -- --help`; rates stand beside the matrix product's own rate in the same
//! run, because machines drift.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use clara_gpu_worker::{
    engine::{
        Batch, Decoder as _, Engine as _, IGNORED, LoraConfig, SequenceId, StepOptions, TargetModule,
        reference::{ReferenceDecoder, ReferenceEngine},
    },
    model::{BaseModel, HostTensor, ModelConfig, Variant},
    ops::matmul::{Matrix, MatrixMut, Product, Term, multiply},
};
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let base = Arc::new(random_model(smollm2(arguments.layers)));
    let train = training(&base, &arguments)?;
    let decode = if arguments.only_steps {
        serde_json::Value::Null
    } else {
        json!([decoding(&base, 1)?, decoding(&base, 8)?, decoding(&base, 32)?])
    };
    let report = json!({
        "threads": rayon::current_num_threads(),
        "layers": base.config.layers,
        "matmul_gflops": matmul_gflops()?,
        "train": train,
        "decode": decode,
    });
    writeln!(std::io::stdout(), "{report}").context("cannot write to standard output")
}

/// What is measured.
#[derive(Debug, Parser)]
struct Arguments {
    /// Optimiser steps, of one row each; one more is not counted
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Tokens of a row
    #[arg(long, default_value_t = 512)]
    sequence_length: usize,
    /// Blocks of the model
    #[arg(long, default_value_t = 30)]
    layers: usize,
    /// Rank of the adapter, on all linear layers
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// Compute blocks again in the backward pass
    #[arg(long)]
    recompute: bool,
    /// Leave out evaluation and decoding
    #[arg(long)]
    only_steps: bool,
}

fn training(base: &Arc<BaseModel>, arguments: &Arguments) -> anyhow::Result<serde_json::Value> {
    let Arguments { steps, sequence_length: length, rank, recompute, only_steps, .. } = *arguments;
    let mut engine = ReferenceEngine::new(Arc::clone(base))?;
    if recompute {
        engine = engine.recomputing();
    }
    let config = LoraConfig {
        rank,
        frozen_rank: 0,
        alpha: 32.0,
        targets: TargetModule::ALL.to_vec(),
        dora: false,
        dropout: 0.0,
    };
    engine.init_adapter(&config, 1)?;
    let batch = batch(length, base.config.vocab_size)?;
    let targets = length - 1;
    let (mut evaluate, mut both, mut step) = (Vec::new(), Vec::new(), Vec::new());
    let (mut first_loss, mut last_loss, mut grad_norm) = (None, 0.0, 0.0);
    for warm in std::iter::once(true).chain(std::iter::repeat_n(false, steps)) {
        let started = Instant::now();
        if !only_steps {
            engine.evaluate(&batch)?;
        }
        let evaluated = started.elapsed();
        let started = Instant::now();
        last_loss = engine.forward_backward(&batch, targets)?.loss_sum / f64::from(u32::try_from(targets)?);
        let passed = started.elapsed();
        let started = Instant::now();
        grad_norm = engine.step(&StepOptions::default())?.grad_norm;
        let stepped = started.elapsed();
        first_loss.get_or_insert(last_loss);
        if !warm {
            evaluate.push(evaluated);
            both.push(passed);
            step.push(stepped);
        }
    }
    let tokens = f64::from(u32::try_from(length)?);
    let (evaluate, both, step) = (median(evaluate), median(both), median(step));
    let rate = tokens / (both + step);
    Ok(json!({
        "sequence": length, "steps": steps, "tokens_per_second": rate,
        "forward_and_loss_ms": evaluate * 1e3, "forward_backward_ms": both * 1e3, "step_ms": step * 1e3,
        "gflops": rate * flops_per_token(&base.config, length, rank) / 1e9,
        "first_loss": first_loss, "last_loss": last_loss, "grad_norm": grad_norm, "peak_rss_mib": peak_rss_mib(),
    }))
}

fn decoding(base: &Arc<BaseModel>, sequences: usize) -> anyhow::Result<serde_json::Value> {
    let mut decoder = ReferenceDecoder::new(Arc::clone(base))?;
    let prompt: Vec<u32> = (0..64).collect();
    let ids: Vec<SequenceId> = (0..sequences).map(|_| decoder.open(None)).collect::<Result<_, _>>()?;
    let prompts: Vec<(SequenceId, &[u32])> = ids.iter().map(|id| (*id, prompt.as_slice())).collect();
    let started = Instant::now();
    decoder.extend(&prompts)?;
    let prefill = started.elapsed().as_secs_f64();
    let mut passes = Vec::new();
    for token in 0..24_u32 {
        let new = [token];
        let inputs: Vec<(SequenceId, &[u32])> = ids.iter().map(|id| (*id, new.as_slice())).collect();
        let started = Instant::now();
        decoder.extend(&inputs)?;
        passes.push(started.elapsed());
    }
    let count = f64::from(u32::try_from(sequences)?);
    let pass = median(passes);
    Ok(json!({
        "sequences": sequences, "prefill_tokens_per_second": count * 64.0 / prefill,
        "tokens_per_second": count / pass, "pass_ms": pass * 1e3,
    }))
}

/// Rate of `[512, 576] · [576, 1536]`, the best of many.
fn matmul_gflops() -> anyhow::Result<f64> {
    let (a, b, mut c) = (vec![0.5; 512 * 576], vec![0.25; 1536 * 576], vec![0.0; 512 * 1536]);
    let mut best = Duration::MAX;
    for _ in 0..200 {
        let term =
            Term { a: Matrix::new(&a, 512, 576)?, b: Matrix::new(&b, 1536, 576)?.transposed(), scale: 1.0 };
        let into = MatrixMut::new(&mut c, 512, 1536)?;
        let started = Instant::now();
        multiply(vec![Product { into, accumulate: false, terms: vec![term] }])?;
        best = best.min(started.elapsed());
    }
    Ok(2.0 * 512.0 * 576.0 * 1536.0 / best.as_secs_f64() / 1e9)
}

/// Multiplications and additions that a token costs in training, with gradients for the adapter alone.
fn flops_per_token(config: &ModelConfig, length: usize, rank: usize) -> f64 {
    let as_f64 = |value: usize| u32::try_from(value).map_or(f64::NAN, f64::from);
    let (hidden, inner) = (as_f64(config.hidden_size), as_f64(config.intermediate_size));
    let key_value = as_f64(config.key_value_heads * config.head_dim);
    let query = as_f64(config.attention_heads * config.head_dim);
    let layers = as_f64(config.layers);
    let linear = hidden * (2.0 * query + 2.0 * key_value + 3.0 * inner);
    let lora = as_f64(rank) * (2.0 * (hidden + query) + 2.0 * (hidden + key_value) + 3.0 * (hidden + inner));
    let attention = 2.0 * query * as_f64(length) * 0.5;
    let head = hidden * as_f64(config.vocab_size);
    layers * (4.0 * linear + 6.0 * lora + 6.0 * attention) + 4.0 * head
}

fn smollm2(layers: usize) -> ModelConfig {
    ModelConfig {
        hidden_size: 576,
        intermediate_size: 1536,
        layers,
        attention_heads: 9,
        key_value_heads: 3,
        head_dim: 64,
        vocab_size: 49_152,
        rms_norm_eps: 1e-5,
        rope_theta: 100_000.0,
        rope_scaling: None,
        max_positions: 8192,
        tie_word_embeddings: true,
        bos_token: None,
        eos_tokens: vec![2],
        variant: Variant::default(),
    }
}

fn random_model(config: ModelConfig) -> BaseModel {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (query, key_value) =
        (config.attention_heads * config.head_dim, config.key_value_heads * config.head_dim);
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![config.vocab_size, hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    for layer in 0..config.layers {
        for (module, shape) in TargetModule::ALL.into_iter().zip([
            [query, hidden],
            [key_value, hidden],
            [key_value, hidden],
            [hidden, query],
            [inner, hidden],
            [inner, hidden],
            [hidden, inner],
        ]) {
            shapes.push((module.weight_name(layer), shape.to_vec()));
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            shapes.push((format!("model.layers.{layer}.{norm}.weight"), vec![hidden]));
        }
    }
    let mut state = 1_u32;
    let mut tensors = BTreeMap::new();
    for (name, shape) in shapes {
        let norm = shape.len() == 1;
        let values = (0..shape.iter().product())
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let unit = f32::from(u16::try_from(state >> 16).unwrap_or_default()) / 32_768.0 - 1.0;
                if norm { 1.0 } else { 0.05 * unit }
            })
            .collect();
        tensors.insert(name, HostTensor { shape, values });
    }
    BaseModel {
        config,
        tensors,
        digest: String::new(),
        name: "random".to_owned(),
        quantised: BTreeMap::new(),
    }
}

fn batch(length: usize, vocab_size: usize) -> anyhow::Result<Batch> {
    let tokens = (0..length)
        .map(|position| u32::try_from(position * 7919 % vocab_size))
        .collect::<Result<Vec<u32>, _>>()?;
    let mut labels: Vec<i64> = tokens.iter().skip(1).map(|token| i64::from(*token)).collect();
    labels.push(IGNORED);
    Ok(Batch { tokens, labels, documents: std::iter::once(0..length).collect() })
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
}

/// Highest resident memory of this process, where the system tells it.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
