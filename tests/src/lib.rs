//! The sandbox in which whole-pipeline tests run: a fresh home, the real command, small data, a scripted judge.
#![forbid(unsafe_code)]

pub mod faults;

mod browser;
mod cluster;
mod daemon;
mod judge;
mod process;
mod prometheus;
mod proxy;
mod reviews;
mod sandbox;
mod services;
pub mod serving;
mod site;
mod small_disk;
mod until;

pub use browser::Browser;
pub use cluster::Cluster;
pub use daemon::Daemon;
pub use judge::{Bill, Judge, Replay, Script};
pub use process::Process;
pub use prometheus::{Prometheus, fetch};
pub use proxy::{Direction, Proxy};
pub use reviews::{HOSTILE, REVIEWED, version_in_review};
pub use sandbox::{Ended, Running, Sandbox, fixture};
pub use services::Services;
pub use site::{Site, exchange};
pub use small_disk::SmallDisk;
pub use until::until;
