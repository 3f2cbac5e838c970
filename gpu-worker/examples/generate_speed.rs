//! Measures generation on a base model: tokens per second when reading prompts, answering one, and answering sixteen.
//!
//! `cargo run -p clara-gpu-worker --example generate_speed -- MODEL [ADAPTER]`

use std::{io::Write as _, path::Path, time::Instant};

use clara_gpu_worker::{
    engine::{Decoder, SequenceId, reference::ReferenceDecoder},
    model::Precision,
    model_cache::ModelCache,
    peft,
};

const PROMPT_TOKENS: usize = 512;
const ANSWER_TOKENS: usize = 64;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or_else(|| anyhow::anyhow!("usage: generate_speed MODEL [ADAPTER]"))?;
    let model = ModelCache::new().load(Path::new(&path), Precision::Full)?;
    let mut decoder = ReferenceDecoder::new(std::sync::Arc::clone(&model.base))?;
    let adapter = arguments.next();
    if let Some(folder) = &adapter {
        decoder.add_adapter("adapter", &peft::read(Path::new(folder), &model.base.config)?)?;
    }
    let adapter = adapter.map(|_| "adapter");
    let text = "Die Behörde entscheidet nach pflichtgemäßem Ermessen über den Antrag. ".repeat(60);
    let tokens: Vec<u32> = model.tokenizer.encode(&text)?.into_iter().take(PROMPT_TOKENS).collect();

    let mut out = std::io::stdout().lock();
    let (one, seconds) = prompts(&mut decoder, adapter, &tokens, 1)?;
    writeln!(out, "prompt of {PROMPT_TOKENS} tokens: {:.1} tokens/s", rate(PROMPT_TOKENS, seconds))?;
    let seconds = answers(&mut decoder, &one)?;
    writeln!(out, "one answer of {ANSWER_TOKENS} tokens: {:.1} tokens/s", rate(ANSWER_TOKENS, seconds))?;
    let short: Vec<u32> = tokens.iter().copied().take(64).collect();
    for batch in [4, 16] {
        let (many, seconds) = prompts(&mut decoder, adapter, &short, batch)?;
        let read = rate(batch * short.len(), seconds);
        let seconds = answers(&mut decoder, &many)?;
        let said = rate(batch * ANSWER_TOKENS, seconds);
        writeln!(out, "batch of {batch}: prompts {read:.1} tokens/s, answers {said:.1} tokens/s")?;
    }
    Ok(())
}

/// Opens `count` sequences and feeds each the same prompt in one pass.
fn prompts(
    decoder: &mut ReferenceDecoder,
    adapter: Option<&str>,
    tokens: &[u32],
    count: usize,
) -> anyhow::Result<(Vec<SequenceId>, f64)> {
    let ids = (0..count).map(|_| decoder.open(adapter)).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let inputs: Vec<(SequenceId, &[u32])> = ids.iter().map(|id| (*id, tokens)).collect();
    decoder.extend(&inputs)?;
    Ok((ids, start.elapsed().as_secs_f64()))
}

/// Continues the sequences by the same token each time, then closes them; what is said does not change the speed.
fn answers(decoder: &mut ReferenceDecoder, ids: &[SequenceId]) -> anyhow::Result<f64> {
    let start = Instant::now();
    for token in (100..).take(ANSWER_TOKENS) {
        let next = [token];
        let inputs: Vec<(SequenceId, &[u32])> = ids.iter().map(|id| (*id, next.as_slice())).collect();
        decoder.extend(&inputs)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    for id in ids {
        decoder.close(*id)?;
    }
    Ok(seconds)
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn rate(tokens: usize, seconds: f64) -> f64 {
    tokens as f64 / seconds
}
