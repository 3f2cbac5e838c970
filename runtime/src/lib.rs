//! What every process needs: ports and their implementations, worker loop, configuration, telemetry.
#![forbid(unsafe_code)]

pub mod artifacts;
pub mod broker;
pub mod clock;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod faults;
mod sqlite;
pub mod state;
pub mod stop;
pub mod worker;
