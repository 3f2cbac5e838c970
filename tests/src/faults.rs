//! The simulated half of the fault suite: real coordinators and worker loops over ports in memory, in paused time.
//!
//! One seed decides every fault of a trial. After it the seven invariants are checked from the events of its jobs.

pub mod invariants;

mod case;
mod handler;
mod journal;
mod link;
mod node;
mod ports;
mod table;
mod trial;
mod weather;
mod world;

pub use case::Case;
pub use handler::result;
pub use journal::Cost;
pub use table::table;
pub use trial::{Outcome, run};
