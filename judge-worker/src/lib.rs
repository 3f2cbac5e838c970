//! Scores answers to a golden dataset through any OpenAI-compatible endpoint.
#![forbid(unsafe_code)]

mod checks;
mod client;
mod handler;
mod parse;
mod prompt;
mod rubric;
mod score;
#[cfg(test)]
mod testing;
mod text_metrics;

pub use handler::{JudgeConfig, JudgeHandler};
pub use rubric::Language;
