//! Scores answers to a golden dataset through any OpenAI-compatible endpoint.
#![forbid(unsafe_code)]

mod canary;
mod checks;
mod client;
mod expectation;
mod family;
mod handler;
mod injection;
mod ledger;
mod pairwise;
mod panel;
mod parse;
mod prompt;
mod score;
#[cfg(test)]
mod testing;
mod text_metrics;

pub use client::{Allowance, Endpoints};
pub use handler::{JudgeConfig, JudgeHandler};
