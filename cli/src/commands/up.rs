//! `clara up`: coordinator and workers in one process until it is told to end.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use clara_runtime::{health::Health, http, metrics};

use crate::{
    embedded::{Embedded, Workers},
    session::Session,
};

/// Serves jobs until SIGTERM or Ctrl-C; running work is saved then, and a second signal ends at once.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  clara up &\n  clara --coordinator http://127.0.0.1:7400 job submit --spec job.toml\n\nCommands with the same --home work beside it without --coordinator, too."
)]
pub(crate) struct UpArgs {
    /// Where the coordinator listens [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,

    /// Where `/metrics` is shown to Prometheus, e.g. 127.0.0.1:9464 [default: telemetry.metrics_address, or nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,
}

pub(crate) async fn run(session: &Session, args: &UpArgs) -> Result<()> {
    if let Some(url) = &session.coordinator {
        bail!("`clara up` starts a coordinator itself; leave out --coordinator {url}");
    }
    let listen = args.listen.unwrap_or(session.settings.serve.grpc_address);
    let mut embedded = Embedded::start(&session.settings, listen, &session.interrupt).await?;
    embedded.start_workers(Workers::All)?;
    if let Some(address) = args.metrics.or(session.settings.telemetry.metrics_address) {
        show_metrics(session, &embedded, address).await?;
    }
    session.output.note(format!(
        "clara is up at {}; home {}",
        embedded.url(),
        session.settings.home.display()
    ));
    session.interrupt.cancelled().await;
    session.output.note("saving the work; a second signal ends at once");
    embedded.stop().await;
    Ok(())
}

async fn show_metrics(session: &Session, embedded: &Embedded, address: SocketAddr) -> Result<()> {
    let page = metrics::install()?;
    let shutdown = embedded.services().shutdown().clone();
    let (address, serving) = http::serve(address, page, Health::default(), shutdown)
        .await
        .with_context(|| format!("cannot show metrics at {address}; name a free address with --metrics"))?;
    embedded.services().spawn("http.serve", serving);
    session.output.note(format!("metrics at http://{address}/metrics"));
    Ok(())
}
