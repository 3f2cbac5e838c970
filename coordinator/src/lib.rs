//! Drives jobs from event to commit, and serves workers and users.
#![forbid(unsafe_code)]

mod calibration;
mod census;
mod change;
pub mod chart;
mod control_service;
mod copies;
pub mod daemon;
mod datasets;
pub mod difference;
mod driver;
pub mod evidence;
pub mod figures;
mod gaps;
mod golden;
mod indexes;
mod job_log;
mod labels;
mod listing;
mod outage;
mod outbox;
mod presence;
mod queues;
mod reaper;
mod records;
pub mod registry;
mod review;
mod rollout;
mod scheduler;
mod server;
#[cfg(feature = "testing")]
pub mod simulation;
mod stages;
mod stored_family;
mod stored_job;
mod submit;
#[cfg(test)]
mod testing;
mod web;
pub mod words;
mod worker_service;

pub use driver::{Driver, DriverError};
pub use rollout::Targets;
pub use scheduler::{Schedule, Share};
pub use server::{Coordinator, CoordinatorOptions, StartError};
pub use stages::GateHandler;
pub use submit::SubmissionCheck;
