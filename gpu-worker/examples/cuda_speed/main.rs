//! Measures the CUDA engine on a GPU: training, one adapted linear layer, attention. Prints a JSON line for each figure.
//!
//! `scripts/bench-gpu.sh` runs it beside PyTorch and PEFT.

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "figures of a benchmark, one after another"
)]

mod profile;

use std::{io::Write as _, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clara_gpu_worker::{
    cuda::{Buffer, CudaDevice, CudaOptions, Device, DeviceError, Element, Gemm, Operand, Rows},
    engine::{
        Batch, Decoder as _, Engine as _, LoraConfig, StepOptions, TargetModule,
        cuda::{CudaDecoder, CudaEngine},
        reference::features,
    },
    model::{self, Llama3Scaling, ModelConfig, Precision, RopeScaling, Variant},
    ops::{
        attention::{
            Heads,
            cuda::{AttentionGradient, PackedAttention, Projected},
        },
        gated::{
            Activation,
            cuda::{gated, gated_backward},
        },
        head_loss::cuda::cross_entropy,
        lora_linear::cuda::{
            LowRankABackward, LowRankBackward, LowRankGradients, LowRankLayer, low_rank_forward,
        },
        rms_norm::cuda::{Norm, NormBackward},
        rope::cuda::HeadRotation,
        rows::{copy, fill_uniform},
    },
    optim::cuda::{DeviceParameters, adamw, sum_of_squares},
    peft,
};
use serde_json::json;

use profile::Profiler;

#[derive(Parser)]
#[command(about, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tokens per second of training steps.
    Train(TrainArgs),
    /// Tokens per second of prompts and of answers.
    Generate(GenerateArgs),
    /// A linear layer with its adapter, over the plain one.
    Linear(LinearArgs),
    /// Attention, forward and backward.
    Attention(AttentionArgs),
    /// Kernels that are bound by the memory, at the width of an 8B model.
    Memory(AttentionArgs),
}

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    #[value(name = "smollm2-135m")]
    Smollm2,
    #[value(name = "llama-3.1-8b")]
    Llama,
    #[value(name = "qwen2.5-7b")]
    Qwen,
}

#[derive(Args)]
struct TrainArgs {
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

#[derive(Args)]
struct GenerateArgs {
    /// Shape of a model, with random weights.
    #[arg(long, default_value = "llama-3.1-8b")]
    model: Shape,
    /// Sequences that are continued together; each number is measured.
    #[arg(long, default_values_t = [1, 16, 64])]
    sequences: Vec<usize>,
    /// Tokens of each prompt.
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Tokens of each answer.
    #[arg(long, default_value_t = 64)]
    answer: usize,
}

#[derive(Args)]
struct LinearArgs {
    #[arg(long, default_value_t = 8192)]
    tokens: usize,
    #[arg(long, default_value_t = 16)]
    rank: usize,
    #[arg(long, default_value_t = 30)]
    repeats: usize,
}

#[derive(Args)]
struct AttentionArgs {
    #[arg(long, default_value_t = 20)]
    repeats: usize,
}

fn main() -> anyhow::Result<()> {
    let device: Arc<dyn Device> = Arc::new(CudaDevice::new(0, &CudaOptions::from_environment())?);
    match Arguments::parse().command {
        Command::Train(args) => train(&device, &args),
        Command::Generate(args) => generate(&device, &args),
        Command::Linear(args) => linear(&device, &args),
        Command::Attention(args) => attention(&device, &args),
        Command::Memory(args) => memory(&device, &args),
    }
}

fn say(figures: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{figures}").context("cannot write to standard output")
}

/// The public configurations of the models.
fn shape(shape: Shape) -> ModelConfig {
    let llama = ModelConfig {
        hidden_size: 4096,
        intermediate_size: 14336,
        layers: 32,
        attention_heads: 32,
        key_value_heads: 8,
        head_dim: 128,
        vocab_size: 128_256,
        rms_norm_eps: 1e-5,
        rope_theta: 500_000.0,
        rope_scaling: Some(RopeScaling::Llama3(Llama3Scaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 8192,
        })),
        max_positions: 131_072,
        tie_word_embeddings: false,
        bos_token: None,
        eos_tokens: vec![0],
        variant: Variant::default(),
    };
    match shape {
        Shape::Llama => llama,
        Shape::Qwen => ModelConfig {
            hidden_size: 3584,
            intermediate_size: 18944,
            layers: 28,
            attention_heads: 28,
            key_value_heads: 4,
            vocab_size: 152_064,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            rope_scaling: None,
            max_positions: 32_768,
            variant: Variant { query_key_value_bias: true, ..Variant::default() },
            ..llama
        },
        Shape::Smollm2 => ModelConfig {
            hidden_size: 576,
            intermediate_size: 1536,
            layers: 30,
            attention_heads: 9,
            key_value_heads: 3,
            head_dim: 64,
            vocab_size: 49_152,
            rope_theta: 100_000.0,
            rope_scaling: None,
            max_positions: 8192,
            tie_word_embeddings: true,
            ..llama
        },
    }
}

fn name(shape: Shape) -> &'static str {
    match shape {
        Shape::Smollm2 => "smollm2-135m",
        Shape::Llama => "llama-3.1-8b",
        Shape::Qwen => "qwen2.5-7b",
    }
}

/// Weights that products read: the linear layers of all blocks and the head.
fn weights(config: &ModelConfig) -> usize {
    let block: usize = TargetModule::ALL
        .iter()
        .map(|module| features(config, *module))
        .map(|(inner, outer)| inner * outer)
        .sum();
    block * config.layers + config.hidden_size * config.vocab_size
}

/// Rows of tokens, one after another and then from the first again.
struct Stream {
    tokens: Vec<u32>,
    /// Rows taken so far.
    next: usize,
}

impl Stream {
    fn new(file: Option<&PathBuf>, vocab_size: usize) -> anyhow::Result<Self> {
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
    fn batch(&mut self, rows: usize, sequence: usize) -> Batch {
        let mut batch = Batch { tokens: Vec::new(), labels: Vec::new(), documents: Vec::new() };
        for _ in 0..rows {
            let start = batch.tokens.len();
            let row = self.next % (self.tokens.len() / sequence).max(1);
            batch.tokens.extend(self.tokens.iter().cycle().skip(row * sequence).take(sequence));
            self.next += 1;
            batch.labels.extend(batch.tokens.iter().skip(start + 1).map(|token| i64::from(*token)));
            batch.labels.push(clara_gpu_worker::engine::IGNORED);
            batch.documents.push(start..batch.tokens.len());
        }
        batch
    }
}

fn train(device: &Arc<dyn Device>, args: &TrainArgs) -> anyhow::Result<()> {
    let profiler = args.profile.then(|| Arc::new(Profiler::new(device)));
    let device = &profiler.clone().map_or_else(|| Arc::clone(device), |profiler| profiler as Arc<dyn Device>);
    let before = device.memory()?.free;
    let (config, called, engine) = match (&args.base, args.model) {
        (Some(path), _) => {
            let base = Arc::new(model::load(path, Precision::Full)?.base);
            let called = args.model.map_or_else(|| base.name.clone(), |model| name(model).to_owned());
            (base.config.clone(), called, CudaEngine::new(Arc::clone(device), base)?)
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
    let lora = LoraConfig {
        rank: args.rank,
        frozen_rank: 0,
        alpha: 2.0 * args.rank as f32,
        targets: TargetModule::ALL.to_vec(),
        dora: false,
        dropout: 0.0,
    };
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
        "sequence": args.sequence, "micro_batch": args.micro_batch, "seconds": median,
        "tokens_per_second": tokens_per_second,
        "model_tflops": 4.0 * weights(&config) as f64 * tokens_per_second / 1e12,
        "used_bytes": before - device.memory()?.free,
        "grad_norm": grad_norm, "loss": losses.last(),
    }))?;
    Ok(())
}

fn generate(device: &Arc<dyn Device>, args: &GenerateArgs) -> anyhow::Result<()> {
    let config = shape(args.model);
    let mut decoder = CudaDecoder::with_random_weights(Arc::clone(device), config.clone())?;
    let mut stream = Stream::new(None, config.vocab_size)?;
    for &count in &args.sequences {
        let prompts: Vec<Vec<u32>> = (0..count).map(|_| stream.batch(1, args.prompt).tokens).collect();
        let mut prefill = f64::INFINITY;
        let mut sequences = Vec::new();
        // The first round finds the algorithms of products.
        for _ in 0..2 {
            for id in sequences.drain(..) {
                decoder.close(id)?;
            }
            for _ in 0..count {
                sequences.push(decoder.open(None)?);
            }
            let inputs: Vec<_> = sequences.iter().copied().zip(prompts.iter().map(Vec::as_slice)).collect();
            let started = Instant::now();
            decoder.extend(&inputs)?;
            prefill = prefill.min(started.elapsed().as_secs_f64());
        }
        let mut steps = Vec::with_capacity(args.answer);
        for step in 0..args.answer {
            let token = [u32::try_from(step % config.vocab_size)?];
            let inputs: Vec<_> = sequences.iter().map(|id| (*id, token.as_slice())).collect();
            let started = Instant::now();
            decoder.extend(&inputs)?;
            steps.push(started.elapsed().as_secs_f64());
        }
        for id in sequences {
            decoder.close(id)?;
        }
        steps.sort_by(f64::total_cmp);
        let step = steps.get(steps.len() / 2).copied().context("no step was measured")?;
        // Each step reads every weight once.
        let bytes = 2.0 * weights(&config) as f64;
        say(&json!({
            "what": "generate", "engine": "clara", "model": name(args.model), "device": device.name(), "sequences": count,
            "prompt": args.prompt, "answer": args.answer,
            "prefill_tokens_per_second": (count * args.prompt) as f64 / prefill,
            "tokens_per_second": count as f64 / step,
            "weight_gigabytes_per_second": bytes / step / 1e9,
        }))?;
    }
    Ok(())
}

/// Room for matrices, filled with random values.
struct Room<'a> {
    device: &'a Arc<dyn Device>,
    buffers: Vec<Buffer>,
}

impl Room<'_> {
    fn matrix(&mut self, rows: usize, width: usize) -> anyhow::Result<Rows> {
        let buffer = Buffer::new(self.device, rows * width * Element::Bf16.bytes())?;
        let matrix = Rows::new(buffer.address(), width);
        self.buffers.push(buffer);
        let seed = u32::try_from(self.buffers.len())?;
        fill_uniform(self.device.as_ref(), matrix, [rows, width], seed, 0.5)?;
        Ok(matrix)
    }

    fn floats(&mut self, count: usize) -> anyhow::Result<clara_gpu_worker::cuda::Address> {
        let buffer = Buffer::new(self.device, count * Element::F32.bytes())?;
        self.device.zero(buffer.address(), buffer.bytes())?;
        let address = buffer.address();
        self.buffers.push(buffer);
        Ok(address)
    }
}

/// Milliseconds of one run among many, after some that do not count; the best of three series.
fn milliseconds(
    device: &dyn Device,
    repeats: usize,
    mut work: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    for round in 0..3 {
        work(round)?;
    }
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        device.finish()?;
        let started = Instant::now();
        for round in 0..repeats {
            work(round)?;
        }
        device.finish()?;
        best = best.min(started.elapsed().as_secs_f64() * 1e3 / repeats as f64);
    }
    Ok(best)
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

/// As the engine aligns rows.
fn aligned(width: usize) -> usize {
    width.next_multiple_of(64)
}

fn linear(device: &Arc<dyn Device>, args: &LinearArgs) -> anyhow::Result<()> {
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
        let plain_forward = milliseconds(device.as_ref(), args.repeats, |round| {
            let Operands { plain_weight, plain_x, plain_y, .. } = set(round);
            let factors = [plain_x.operand(), plain_weight.transposed()];
            Ok(product([rows, outputs, inputs], factors, plain_y.operand(), false)?)
        })?;
        let narrow = inputs <= 2048;
        let forward = milliseconds(device.as_ref(), args.repeats, |round| {
            let Operands { weight, x, y, .. } = set(round);
            let (a, tail) = (weight.rows_from(outputs), x.columns_from(inputs));
            if narrow {
                low_rank_forward(device.as_ref(), tail, [x, a], [rows, inputs, low_rank])?;
            } else {
                product([rows, low_rank, inputs], [x.operand(), a.transposed()], tail.operand(), false)?;
            }
            let factors = [x.operand(), weight.transposed()];
            Ok(product([rows, outputs, inputs + low_rank], factors, y.operand(), false)?)
        })?;
        let plain_backward = milliseconds(device.as_ref(), args.repeats, |round| {
            let Operands { plain_weight, plain_x, plain_y, .. } = set(round);
            let factors = [plain_y.operand(), plain_weight.operand()];
            Ok(product([rows, inputs, outputs], factors, plain_x.operand(), false)?)
        })?;
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
        let backward = milliseconds(device.as_ref(), args.repeats, |round| {
            let Operands { weight, x, y, .. } = set(round);
            let (b, tail) = (weight.columns_from(inputs), y.columns_from(outputs));
            let operands = LowRankGradients { dy: y, ds: tail, s: x.columns_from(inputs), b, scratch };
            of_b.launch(device.as_ref(), operands)?;
            let factors = [y.operand(), weight.operand()];
            let dx = set(round + 1).plain_x;
            product([rows, inputs, outputs + low_rank], factors, dx.operand(), false)?;
            if narrow {
                return Ok(of_a.launch(device.as_ref(), gradient_a.address, [x, tail], scratch)?);
            }
            Ok(product([low_rank, inputs, rows], [tail.transposed(), x.operand()], gradient_a, true)?)
        })?;
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

fn attention(device: &Arc<dyn Device>, args: &AttentionArgs) -> anyhow::Result<()> {
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

/// Kernels that read and write more than they compute, with the bytes per second that they reach.
fn memory(device: &Arc<dyn Device>, args: &AttentionArgs) -> anyhow::Result<()> {
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
