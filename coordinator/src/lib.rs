//! Drives jobs from event to commit, and serves workers and users.
#![forbid(unsafe_code)]

mod census;
mod change;
mod control_service;
pub mod daemon;
mod driver;
mod golden;
mod indexes;
mod job_cache;
mod job_log;
#[expect(dead_code, reason = "the services that use it come with it")]
mod labels;
mod outage;
mod outbox;
mod presence;
mod queues;
mod reaper;
mod records;
mod registry;
mod rollout;
mod scheduler;
mod server;
#[cfg(feature = "testing")]
pub mod simulation;
mod stages;
mod stored_job;
mod submit;
#[cfg(test)]
mod testing;
mod worker_service;

pub use driver::{Driver, DriverError};
pub use scheduler::{Schedule, Share};
pub use rollout::Targets;
pub use server::{Coordinator, CoordinatorOptions, StartError};
pub use stages::GateHandler;
pub use submit::SubmissionCheck;
