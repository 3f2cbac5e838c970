//! `clara up`: coordinator and workers in one process until it is told to end.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use clap::Args;

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
}

pub(crate) async fn run(session: &Session, args: &UpArgs) -> Result<()> {
    if let Some(url) = &session.coordinator {
        bail!("`clara up` starts a coordinator itself; leave out --coordinator {url}");
    }
    let listen = args.listen.unwrap_or(session.settings.serve.grpc_address);
    let mut embedded = Embedded::start(&session.settings, listen, &session.interrupt).await?;
    embedded.start_workers(Workers::All)?;
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
