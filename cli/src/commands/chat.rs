//! `clara chat`: talks to a base model or an adapter in the terminal.

use anyhow::Result;
use clap::Args;
use clara_gpu_worker::{
    chat::{self, ChatConfig},
    devices::Devices,
    model_cache::ModelCache,
    sampling::Sampling,
};

use super::serve::{ModelArgs, resolve};
use crate::session::Session;

/// Answers one question, or talks until the input ends.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  clara chat --adapter verwaltungsrecht-lora@champion\n  clara chat --base-model model.gguf \"Was ist ein Verwaltungsakt?\""
)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) models: ModelArgs,
    /// Text of the system turn
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Randomness of the answers; 0 always takes the most likely token
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) temperature: f32,
    /// Seed of the draws, where the temperature is not 0
    #[arg(long, default_value_t = 42, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Longest answer in tokens
    #[arg(long, default_value_t = 256, value_name = "TOKENS", allow_negative_numbers = true)]
    pub(crate) max_new_tokens: u32,
    /// Ask this one question, print the answer and end
    pub(crate) question: Option<String>,
}

pub(crate) async fn run(session: &Session, args: &ChatArgs) -> Result<()> {
    let models = resolve(session, &args.models).await?;
    let config = ChatConfig {
        base_model: models.base_model,
        precision: models.precision,
        adapter: models.adapters.first().map(|(name, _)| name.clone()),
        adapters: models.adapters,
        system_prompt: args.system.clone(),
        sampling: Sampling { temperature: args.temperature, top_p: 1.0, seed: args.seed },
        max_tokens: args.max_new_tokens,
    };
    let mut chat =
        chat::open(config, &ModelCache::on(Devices::open(session.settings.worker.device)?)).await?;
    let (output, question) = (session.output, args.question.clone());
    let talking = tokio::task::spawn_blocking(move || match question {
        Some(question) => chat.ask(&question, &mut output.data()),
        None => chat.converse(&mut std::io::stdin().lock(), &mut output.data(), &mut output.talk()),
    });
    talking.await??;
    Ok(())
}
