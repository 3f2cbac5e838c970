//! The adapter lifecycle as pure types and functions: no async, IO, clock or randomness.
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod answers;
pub mod artifact;
pub mod attempt;
pub mod dataset;
pub mod digest;
pub mod gate;
pub mod golden;
pub mod id;
pub mod job;
pub mod results;
pub mod retry;
pub mod score;
pub mod spec;
pub mod stage;
pub mod statistics;
pub mod time;
