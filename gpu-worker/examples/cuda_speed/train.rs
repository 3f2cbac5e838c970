//! Tokens per second of training steps.

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use clara_gpu_worker::{
    cuda::Device,
    engine::{Batch, Engine as _, IGNORED, LoraConfig, StepOptions, cuda::CudaEngine},
    model::{self, Precision},
    peft,
};
use serde_json::json;

use crate::{
    profile::Profiler,
    say,
    shape::{Shape, drawn_nf4, lora, name, shape, weights},
};

/// Operations per second in bf16 that an H100 or H200 names.
const PEAK: f64 = 989.4e12;

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Method {
    Lora,
    Dora,
    Qlora,
}

#[derive(Args)]
pub(crate) struct TrainArgs {
    /// Shape of a model, with random weights.
    #[arg(long)]
    model: Option<Shape>,
    /// A base model with its weights.
    #[arg(long, value_name = "DIR|GGUF")]
    base: Option<PathBuf>,
    /// Tokens of a row.
    #[arg(long, default_value_t = 2048)]
    sequence: usize,
    /// Rows of a pass.
    #[arg(long, default_value_t = 4)]
    micro_batch: usize,
    #[arg(long, default_value_t = 8)]
    steps: usize,
    /// Steps before those that count.
    #[arg(long, default_value_t = 3)]
    warmup: usize,
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// How the adapter is trained; `qlora` of a shape has weights in NF4.
    #[arg(long, default_value = "lora")]
    method: Method,
    /// Peak of the learning rate, which stays constant.
    #[arg(long, default_value_t = 2e-4)]
    learning_rate: f64,
    /// Little-endian u32 tokens, read from the start and again; else they are drawn.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// PEFT folder of the adapter to start from.
    #[arg(long, value_name = "DIR")]
    init_adapter: Option<PathBuf>,
    /// PEFT folder that the adapter is written to before the first step.
    #[arg(long, value_name = "DIR")]
    write_initial: Option<PathBuf>,
    /// Blocks that keep their activations, at most.
    #[arg(long)]
    keep: Option<usize>,
    /// Wait after every launch, and print the time of one step by kernel and by product.
    #[arg(long)]
    profile: bool,
    /// Print the loss of every step.
    #[arg(long)]
    losses: bool,
}

/// Rows of tokens, one after another and then from the first again.
pub(crate) struct Stream {
    tokens: Vec<u32>,
    /// Rows taken so far.
    next: usize,
}

impl Stream {
    pub(crate) fn new(file: Option<&PathBuf>, vocab_size: usize) -> anyhow::Result<Self> {
        let tokens = if let Some(file) = file {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            bytes
                .chunks_exact(4)
                .map(|bytes| Ok(u32::from_le_bytes(bytes.try_into()?)))
                .collect::<anyhow::Result<Vec<_>>>()?
        } else {
            let mut state = 1_u64;
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                u32::try_from((state >> 33) as usize % vocab_size).unwrap_or_default()
            };
            (0..1 << 20).map(|_| draw()).collect()
        };
        ensure!(!tokens.is_empty(), "the file of tokens is empty");
        Ok(Self { tokens, next: 0 })
    }

    /// Rows of `sequence` tokens, each a document of its own, that learn every token but their first.
    pub(crate) fn batch(&mut self, rows: usize, sequence: usize) -> Batch {
        let mut batch = Batch { tokens: Vec::new(), labels: Vec::new(), documents: Vec::new() };
        for _ in 0..rows {
            let start = batch.tokens.len();
            let row = self.next % (self.tokens.len() / sequence).max(1);
            batch.tokens.extend(self.tokens.iter().cycle().skip(row * sequence).take(sequence));
            self.next += 1;
            batch.labels.extend(batch.tokens.iter().skip(start + 1).map(|token| i64::from(*token)));
            batch.labels.push(IGNORED);
            batch.documents.push(start..batch.tokens.len());
        }
        batch
    }
}

pub(crate) fn train(device: &Arc<dyn Device>, args: &TrainArgs) -> anyhow::Result<()> {
    let profiler = args.profile.then(|| Arc::new(Profiler::new(device)));
    let device = &profiler.clone().map_or_else(|| Arc::clone(device), |profiler| profiler as Arc<dyn Device>);
    let before = device.memory()?.free;
    let (config, called, engine) = match (&args.base, args.model) {
        (Some(path), _) => {
            let precision = if args.method == Method::Qlora { Precision::Nf4 } else { Precision::Full };
            let base = Arc::new(model::load(path, precision)?.base);
            let called = args.model.map_or_else(|| base.name.clone(), |model| name(model).to_owned());
            (base.config.clone(), called, CudaEngine::new(Arc::clone(device), base)?)
        }
        (None, Some(model)) if args.method == Method::Qlora => {
            let base = Arc::new(drawn_nf4(model));
            (base.config.clone(), base.name.clone(), CudaEngine::new(Arc::clone(device), base)?)
        }
        (None, Some(model)) => {
            let config = shape(model);
            let engine = CudaEngine::with_random_weights(Arc::clone(device), config.clone())?;
            (config, name(model).to_owned(), engine)
        }
        (None, None) => bail!("name --model or --base"),
    };
    let mut engine = match args.keep {
        Some(layers) => engine.keeping_at_most(layers),
        None => engine,
    };
    let lora = LoraConfig { dora: args.method == Method::Dora, ..lora(args.rank) };
    match &args.init_adapter {
        Some(folder) => engine.load_adapter(&peft::read(folder, &config)?)?,
        None => engine.init_adapter(&lora, 1)?,
    }
    if let Some(folder) = &args.write_initial {
        peft::write(folder, &engine.save()?.adapter, &called)?;
    }
    let mut stream = Stream::new(args.tokens.as_ref(), config.vocab_size)?;
    let options = StepOptions { learning_rate: args.learning_rate, ..StepOptions::default() };
    let (mut seconds, mut losses, mut grad_norm) = (Vec::new(), Vec::new(), 0.0);
    for step in 0..args.warmup + args.steps {
        let batch = stream.batch(args.micro_batch, args.sequence);
        let targets = args.micro_batch * (args.sequence - 1);
        if let Some(profiler) = &profiler {
            profiler.reset();
        }
        let started = Instant::now();
        let loss = engine.forward_backward(&batch, targets)?;
        let report = engine.step(&options)?;
        device.finish()?;
        let took = started.elapsed().as_secs_f64();
        let loss = loss.loss_sum / loss.target_tokens as f64;
        ensure!(
            loss.is_finite() && report.grad_norm > 0.0,
            "step {step}: loss {loss}, gradient norm {}",
            report.grad_norm
        );
        if args.losses {
            say(
                &json!({"what": "loss", "engine": "clara", "model": called, "step": step, "loss": loss, "grad_norm": report.grad_norm, "seconds": took}),
            )?;
        }
        if step >= args.warmup {
            seconds.push(took);
            losses.push(loss);
            grad_norm = report.grad_norm;
        }
    }
    for (name, count, milliseconds) in profiler.iter().flat_map(|profiler| profiler.times()) {
        say(
            &json!({"what": "profile", "engine": "clara", "part": name, "count": count, "milliseconds": milliseconds}),
        )?;
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2).copied().context("no step was measured")?;
    let tokens_per_second = (args.micro_batch * args.sequence) as f64 / median;
    say(&json!({
        "what": "train", "engine": "clara", "model": called, "device": device.name(), "rank": args.rank,
        "method": args.method.to_possible_value().map(|value| value.get_name().to_owned()),
        "sequence": args.sequence, "micro_batch": args.micro_batch, "seconds": median,
        "tokens_per_second": tokens_per_second,
        "mfu": 4.0 * weights(&config) as f64 * tokens_per_second / PEAK,
        "model_tflops": 4.0 * weights(&config) as f64 * tokens_per_second / 1e12,
        "peak_bytes": before - device.memory()?.free,
        "grad_norm": grad_norm, "losses": losses,
    }))?;
    Ok(())
}
