//! The program `coordinator`.

use std::{net::SocketAddr, process::ExitCode};

use clap::Parser;
use clara_coordinator::daemon;
use clara_runtime::service::{self, ServiceArgs};

// Many small values come and go on many threads at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Drives jobs and serves workers and users; any number of coordinators may run over one Redis and one RabbitMQ
#[derive(Debug, Parser)]
#[command(
    name = "coordinator",
    version,
    after_help = "Example:\n  CLARA_STATE__URL=redis://127.0.0.1:6379 CLARA_BROKER__URL=amqp://127.0.0.1:5672 coordinator\n\n\
                  Without these two a file in the home folder takes their place, for one machine."
)]
struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
    /// Where workers and users are served over gRPC [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut layers = cli.service.layers();
    if let Some(address) = cli.listen {
        layers = layers.with_flag("serve.grpc_address", address, "--listen");
    }
    service::run(daemon::DAEMON, &layers, cli.service.print_settings, daemon::work)
}
