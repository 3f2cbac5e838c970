//! The sandbox in which whole-pipeline tests run: a fresh home, the real command, small data, a scripted judge.
#![forbid(unsafe_code)]

pub mod faults;

mod cluster;
mod daemon;
mod judge;
mod process;
mod prometheus;
mod proxy;
mod sandbox;
mod services;
mod until;

pub use cluster::Cluster;
pub use daemon::Daemon;
pub use judge::{Bill, Judge, Replay, Script};
pub use process::Process;
pub use prometheus::{Prometheus, fetch};
pub use proxy::{Direction, Proxy};
pub use sandbox::{Ended, Running, Sandbox, fixture};
pub use services::Services;
pub use until::until;
