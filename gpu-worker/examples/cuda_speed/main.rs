//! Measures the CUDA engine on a GPU: training, one adapted linear layer, attention. Prints a JSON line for each figure.
//!
//! `scripts/bench-gpu.sh` runs it beside PyTorch and PEFT.

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "figures of a benchmark, one after another"
)]

mod attention;
mod generate;
mod linear;
mod memory;
mod profile;
mod room;
mod shape;
mod train;

use std::{io::Write as _, sync::Arc};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use clara_gpu_worker::cuda::{CudaDevice, CudaOptions, Device};

#[derive(Parser)]
#[command(about, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tokens per second of training steps.
    Train(train::TrainArgs),
    /// Tokens per second of prompts and of answers.
    Generate(generate::GenerateArgs),
    /// A linear layer with its adapter, over the plain one.
    Linear(linear::LinearArgs),
    /// Attention, forward and backward.
    Attention(attention::AttentionArgs),
    /// Kernels that are bound by the memory, at the width of an 8B model.
    Memory(attention::AttentionArgs),
}

fn main() -> anyhow::Result<()> {
    let Arguments { command } = Arguments::parse();
    let device: Arc<dyn Device> = Arc::new(CudaDevice::new(0, &CudaOptions::from_environment())?);
    match command {
        Command::Train(args) => train::train(&device, &args),
        Command::Generate(args) => generate::generate(&device, &args),
        Command::Linear(args) => linear::linear(&device, &args),
        Command::Attention(args) => attention::attention(&device, &args),
        Command::Memory(args) => memory::memory(&device, &args),
    }
}

fn say(figures: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{figures}").context("cannot write to standard output")
}
