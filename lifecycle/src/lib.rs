//! The adapter lifecycle as pure types and functions: no async, IO, clock or randomness.
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod adapter;
pub mod answers;
pub mod artifact;
pub mod attempt;
pub mod audit;
pub mod calibration;
pub mod citation;
pub mod comparison;
pub mod counted;
pub mod curve;
pub mod dataset;
pub mod digest;
pub mod fingerprint;
pub mod gaps;
pub mod gate;
pub mod golden;
pub mod hello;
pub mod id;
pub mod job;
pub mod label;
pub mod language;
pub mod log;
pub mod markdown;
pub mod queue;
pub mod resources;
pub mod results;
pub mod retry;
pub mod review;
pub mod rubric;
#[cfg(any(test, feature = "testing"))]
pub mod samples;
pub mod score;
pub mod served;
mod shared;
pub mod spec;
pub mod stage;
pub mod statistics;
pub mod text;
pub mod time;
