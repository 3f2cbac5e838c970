//! Tokens per second of prompts and of answers.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use clap::Args;
use clara_gpu_worker::{
    cuda::Device,
    engine::{Decoder as _, cuda::CudaDecoder},
};
use serde_json::json;

use crate::{
    say,
    shape::{Shape, drawn_adapter, name, shape, weights},
    train::Stream,
};

#[derive(Args)]
pub(crate) struct GenerateArgs {
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
    /// Adapters of rank 16 that the sequences are spread over; 0 means the base model alone.
    #[arg(long, default_value_t = 0)]
    adapters: usize,
}

pub(crate) fn generate(device: &Arc<dyn Device>, args: &GenerateArgs) -> anyhow::Result<()> {
    let config = shape(args.model);
    let mut decoder = CudaDecoder::with_random_weights(Arc::clone(device), config.clone())?;
    let adapters: Vec<String> = (0..args.adapters).map(|number| format!("adapter-{number}")).collect();
    for (seed, adapter) in (1..).zip(&adapters) {
        decoder.add_adapter(adapter, &drawn_adapter(&config, 16, seed))?;
    }
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
            let mut turns = adapters.iter().cycle();
            for _ in 0..count {
                sequences.push(decoder.open(turns.next().map(String::as_str))?);
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
            "adapters": args.adapters,
            "prompt": args.prompt, "answer": args.answer,
            "prefill_tokens_per_second": (count * args.prompt) as f64 / prefill,
            "tokens_per_second": count as f64 / step,
            "weight_gigabytes_per_second": bytes / step / 1e9,
        }))?;
    }
    Ok(())
}
