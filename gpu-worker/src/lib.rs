//! Trains, runs and serves LoRA adapters: engines, model files, data collation, training loop, generation.

pub mod engine;
pub mod model;
