//! What every process needs: ports and their implementations, worker loop, configuration, telemetry.
#![forbid(unsafe_code)]

pub mod artifacts;
mod backoff;
pub mod broker;
pub mod clock;
pub mod config;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub mod coordinator_client;
pub mod daemon;
#[cfg(any(test, feature = "testing"))]
pub mod faults;
pub mod grpc;
pub mod health;
pub mod http;
pub mod log_capture;
pub mod memory;
pub mod metrics;
pub mod ports;
pub mod service;
mod sqlite;
pub mod state;
pub mod stop;
pub mod task;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod worker;
pub mod worker_loop;
