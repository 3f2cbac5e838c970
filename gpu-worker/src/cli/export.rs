//! `gpu-worker export`: an adapter in the form that another program wants.

use std::{io::Write as _, path::PathBuf};

use clap::Args;

use crate::{
    export::{ExportOptions, export},
    model::Precision,
};

/// Arguments of `gpu-worker export`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gpu-worker export --base-model model.gguf --adapter out/adapter --to merged --dtype bf16 --out merged\n  gpu-worker export --base-model model.gguf --adapter out/adapter --to gguf-lora --out law-gguf\n  gpu-worker export --base-model model.gguf --adapter dora/adapter --to plain-lora --rank 32 --out plain\n\nThe adapter itself is a PEFT folder: PEFT, vLLM and LoRAX load it as it is. What is written is read back, its logits are\ncompared with those of the adapter on its base model, and the difference is printed and kept in export.json."
)]
pub(super) struct ExportArgs {
    /// Base model that the adapter was trained on: a Hugging Face folder or a GGUF file.
    #[arg(long, value_name = "DIR|GGUF", alias = "base")]
    base_model: PathBuf,
    /// How the base model was held in training: full (f32) or nf4 (four bits, method qlora).
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Full)]
    precision: Precision,
    /// PEFT folder of the adapter.
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    #[command(flatten)]
    options: ExportOptions,
}

impl ExportArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let request = self.options.request(self.adapter, self.base_model, self.precision)?;
        let report = export(&request)?;
        let mut out = std::io::stdout().lock();
        for (name, value) in report.fields() {
            writeln!(out, "{name:<20} {value}")?;
        }
        Ok(())
    }
}
