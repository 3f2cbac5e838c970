//! The sandbox in which whole-pipeline tests run: a fresh home, the real command, small data, a scripted judge.
#![forbid(unsafe_code)]

pub mod faults;

mod judge;
mod proxy;
mod sandbox;
mod services;

pub use judge::{Judge, Script};
pub use proxy::{Direction, Proxy};
pub use sandbox::{Ended, Running, Sandbox, fixture};
pub use services::Services;
