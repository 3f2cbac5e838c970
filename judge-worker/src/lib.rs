//! Scores answers to a golden dataset through any OpenAI-compatible endpoint.
#![forbid(unsafe_code)]

mod client;
mod handler;
mod ledger;
mod parse;
mod prompt;
mod rubric;
mod score;
#[cfg(test)]
mod testing;

pub use client::Endpoints;
pub use handler::{JudgeConfig, JudgeHandler};
pub use rubric::Language;
