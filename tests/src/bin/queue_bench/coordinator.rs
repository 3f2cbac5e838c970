//! The production coordinator without its workers of gate and rollout.

use std::{net::SocketAddr, process::ExitCode};

use clap::Args;
use clara_coordinator::daemon;
use clara_runtime::service::{self, ServiceArgs};

#[derive(Debug, Args)]
pub(crate) struct CoordinatorArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// Where workers and users are served over gRPC
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

/// Runs until a signal comes.
pub(crate) fn run(args: &CoordinatorArgs) -> ExitCode {
    let layers = args.service.layers().with_flag("serve.grpc_address", args.listen, "--listen");
    service::run(daemon::DAEMON, &layers, false, |service| async move {
        daemon::serve(&service).await?;
        service.drain.cancelled().await;
        Ok(())
    })
}
