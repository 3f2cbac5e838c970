//! Fakes of servers for adapters, each with the calls and the quirks of its kind, and a coordinator that rolls out to them.
//!
//! A fake reads the files that it is told to load and answers as their bytes say, so that other bytes give other answers.

mod fake;
mod house;
mod model;

pub use fake::{Fake, Fault};
pub use house::{House, Wanted};
pub use model::{Word, opening, weights_of};
