//! The fault suite: trials of jobs under faults, simulated or with real processes, and the seven invariants after each.
//!
//! In simulated trials real coordinators and worker loops run over ports in memory, in paused time. In real trials they
//! are processes over RabbitMQ and Redis. One seed decides every fault of a trial.

pub mod drill;
pub mod invariants;
pub mod real;

mod actor;
mod case;
pub(crate) mod handler;
mod journal;
mod link;
mod node;
mod outcome;
mod ports;
mod table;
mod trial;
mod users;
mod weather;
mod world;

pub use case::Case;
pub use handler::result;
pub use journal::Cost;
pub use outcome::{Outcome, Seeds};
pub use table::table;
pub use trial::run;
