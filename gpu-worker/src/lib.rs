//! Trains, runs and serves LoRA adapters: engines, model files, data collation, training loop, generation.

pub mod collate;
pub mod engine;
pub mod folder;
mod gguf;
mod hf;
pub mod model;
pub mod ops;
pub mod optim;
pub mod peft;
pub mod schedule;
pub mod template;
pub mod tokenizer;
pub mod guided;
pub mod model_cache;
pub mod sampling;
pub mod text;
pub mod token_texts;
