//! `gpu-worker chat`: a conversation in the terminal.

use std::{io, path::PathBuf};

use clap::Args;

use super::serve::named_adapter;
use crate::{
    chat::{self, ChatConfig},
    model_cache::ModelCache,
    sampling::Sampling,
};

/// Talks with a base model or an adapter.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Hugging Face folder or GGUF file of the base model.
    #[arg(long, value_name = "DIR|GGUF")]
    pub base: PathBuf,
    /// An adapter's name and PEFT folder; may be given several times. The first one answers.
    #[arg(long = "adapter", value_name = "NAME=DIR", value_parser = named_adapter)]
    pub adapters: Vec<(String, PathBuf)>,
    /// Text of the system turn.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Randomness of the answers; 0 always takes the most likely token.
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f32,
    /// Seed of the draws, where the temperature is not 0.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Longest answer in tokens.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// Asks this one question, writes the answer and ends.
    pub question: Option<String>,
}

/// Answers the question, or talks until the input ends.
///
/// # Errors
/// [`chat::ChatError`] when the models cannot be used or the terminal cannot be written.
pub async fn run(args: ChatArgs) -> anyhow::Result<()> {
    let config = ChatConfig {
        base_model: args.base,
        adapter: args.adapters.first().map(|(name, _)| name.clone()),
        adapters: args.adapters,
        system_prompt: args.system,
        sampling: Sampling { temperature: args.temperature, top_p: 1.0, seed: args.seed },
        max_tokens: args.max_tokens,
    };
    let mut chat = chat::open(config, &ModelCache::new()).await?;
    let talking = tokio::task::spawn_blocking(move || match args.question {
        Some(question) => chat.ask(&question, &mut io::stdout().lock()),
        None => chat.converse(&mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr().lock()),
    });
    Ok(talking.await??)
}
