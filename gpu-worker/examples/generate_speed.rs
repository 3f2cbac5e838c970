//! Measures greedy generation on a base model: tokens per second when reading prompts, answering one, and answering many.
//!
//! `cargo run -p clara-gpu-worker --example generate_speed -- MODEL [PRECISION] [ADAPTER]`; one line of JSON for each measurement.

use std::{io::Write as _, path::Path, sync::Arc, time::Instant};

use clara_gpu_worker::{
    engine::{Decoder, SequenceId, reference::ReferenceDecoder},
    model::Precision,
    model_cache::ModelCache,
    peft,
};

/// Tokens of prompts that are answered alone.
const PROMPTS: [usize; 2] = [40, 523];
const ANSWER_TOKENS: usize = 128;
/// Prompts that are answered together.
const BATCH: usize = 16;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: generate_speed MODEL [PRECISION] [ADAPTER]";
    let path = arguments.next().ok_or_else(|| anyhow::anyhow!(usage))?;
    let precision = arguments.next().map_or(Ok(Precision::Stored), |text| text.parse());
    let precision = precision.map_err(anyhow::Error::msg)?;
    let model = ModelCache::new().load(Path::new(&path), precision)?;
    let mut decoder = ReferenceDecoder::new(Arc::clone(&model.base))?;
    let adapter = arguments.next();
    if let Some(folder) = &adapter {
        decoder.add_adapter("adapter", &peft::read(Path::new(folder), &model.base.config)?)?;
    }
    let adapter = adapter.map(|_| "adapter");
    let loaded = status_mib("VmRSS:")?;
    let text = "Die Behörde entscheidet nach pflichtgemäßem Ermessen über den Antrag. ".repeat(60);
    let tokens = model.tokenizer.encode(&text)?;
    let part = |start: usize, length| tokens.get(start..start + length).unwrap_or_default();

    let mut out = std::io::stdout().lock();
    for length in PROMPTS {
        let (read, said) = answer(&mut decoder, adapter, &[part(0, length)])?;
        writeln!(out, r#"{{"prompt": {length}, "prefill": {read:.1}, "decode": {said:.1}}}"#)?;
    }
    let prompts: Vec<&[u32]> = (0..BATCH).map(|index| part(index, 40)).collect();
    let start = Instant::now();
    for prompt in &prompts {
        answer(&mut decoder, adapter, &[prompt])?;
    }
    let alone = start.elapsed().as_secs_f64();
    let start = Instant::now();
    answer(&mut decoder, adapter, &prompts)?;
    let together = start.elapsed().as_secs_f64();
    let (alone, together) = (rate(BATCH * ANSWER_TOKENS, alone), rate(BATCH * ANSWER_TOKENS, together));
    writeln!(out, r#"{{"batch": {BATCH}, "one_by_one": {alone:.1}, "together": {together:.1}}}"#)?;
    let peak = status_mib("VmHWM:")?;
    writeln!(out, r#"{{"loaded_mib": {loaded}, "peak_mib": {peak}}}"#)?;
    Ok(())
}

/// Reads the prompts and continues each with the likeliest tokens; tokens per second of either.
fn answer(
    decoder: &mut ReferenceDecoder,
    adapter: Option<&str>,
    prompts: &[&[u32]],
) -> anyhow::Result<(f64, f64)> {
    let ids = prompts.iter().map(|_| decoder.open(adapter)).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let inputs: Vec<(SequenceId, &[u32])> = ids.iter().copied().zip(prompts.iter().copied()).collect();
    let mut logits = decoder.extend(&inputs)?;
    let reading = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for _ in 0..ANSWER_TOKENS {
        let next: Vec<[u32; 1]> = logits.iter().map(|logits| [likeliest(logits)]).collect();
        let inputs: Vec<(SequenceId, &[u32])> =
            ids.iter().zip(&next).map(|(id, next)| (*id, next.as_slice())).collect();
        logits = decoder.extend(&inputs)?;
    }
    let saying = start.elapsed().as_secs_f64();
    for id in &ids {
        decoder.close(*id)?;
    }
    let read: usize = prompts.iter().map(|prompt| prompt.len()).sum();
    Ok((rate(read, reading), rate(prompts.len() * ANSWER_TOKENS, saying)))
}

/// The first of the largest logits, in a loop that takes less time than the logits do.
fn likeliest(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, logit) in (0..).zip(logits) {
        if *logit > best.1 {
            best = (token, *logit);
        }
    }
    best.0
}

/// A size in `/proc/self/status`, in MiB.
fn status_mib(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or_else(|| anyhow::anyhow!("no {name}"))?.parse::<u64>()? / 1024)
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn rate(tokens: usize, seconds: f64) -> f64 {
    tokens as f64 / seconds
}
