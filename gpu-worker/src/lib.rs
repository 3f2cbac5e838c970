//! Trains, runs and serves LoRA adapters: engines, model files, data collation, training loop, generation.

pub mod chat;
pub mod checkpoint;
pub mod cli;
pub mod collate;
pub mod cuda;
pub mod devices;
pub mod engine;
pub mod export;
pub mod folder;
pub mod generate;
mod gguf;
pub mod guided;
mod hf;
pub mod model;
pub mod model_cache;
pub mod nf4;
pub mod ops;
pub mod optim;
pub mod peft;
pub mod sampling;
pub mod schedule;
pub mod serve;
pub mod template;
pub mod text;
pub mod token_texts;
pub mod tokenizer;
pub mod train;
