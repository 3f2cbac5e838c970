//! `gpu-worker chat`: a conversation in the terminal.

use std::{io, path::PathBuf};

use clap::Args;
use clara_runtime::config::ComputeDevice;

use super::serve::named_adapter;
use crate::{
    chat::{self, ChatConfig},
    devices::Devices,
    model::Precision,
    model_cache::ModelCache,
    sampling::Sampling,
};

/// Talks with a base model or an adapter.
#[derive(Debug, Args)]
pub(super) struct ChatArgs {
    /// Hugging Face folder or GGUF file of the base model.
    #[arg(long, value_name = "DIR|GGUF")]
    base: PathBuf,
    /// How the base model is held: stored (as its file holds it), full (f32) or nf4 (in four bits where the file does not
    /// quantise it, as adapters of QLoRA were trained on).
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Stored)]
    precision: Precision,
    /// What to compute on: auto (a GPU where there is one that can), cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value = "auto", env = "CLARA_WORKER__DEVICE")]
    device: ComputeDevice,
    /// An adapter's name and PEFT folder; may be given several times. The first one answers.
    #[arg(long = "adapter", value_name = "NAME=DIR", value_parser = named_adapter)]
    adapters: Vec<(String, PathBuf)>,
    /// Text of the system turn.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Randomness of the answers; 0 always takes the most likely token.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Seed of the draws, where the temperature is not 0.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Longest answer in tokens.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// Asks this one question, writes the answer and ends.
    question: Option<String>,
}

impl ChatArgs {
    /// Answers the question, or talks until the input ends.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let config = ChatConfig {
            base_model: self.base,
            precision: self.precision,
            adapter: self.adapters.first().map(|(name, _)| name.clone()),
            adapters: self.adapters,
            system_prompt: self.system,
            sampling: Sampling { temperature: self.temperature, top_p: 1.0, seed: self.seed },
            max_tokens: self.max_tokens,
        };
        let models = ModelCache::on(Devices::open(self.device)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut chat = runtime.block_on(chat::open(config, &models))?;
        match self.question {
            Some(question) => chat.ask(&question, &mut io::stdout().lock())?,
            None => {
                chat.converse(&mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr().lock())?;
            }
        }
        Ok(())
    }
}
