//! `clara up`: coordinator, workers and web page in one process until it is told to end.

use std::{io, net::SocketAddr};

use anyhow::{Context as _, Result};
use clap::Args;
use clara_runtime::{
    config::Setting,
    health::Health,
    http::{self, Mount},
    metrics,
};

use crate::{
    embedded::{Embedded, Workers},
    session::Session,
    usage::usage,
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

    /// Where the web page, REST and `/metrics` are [default: telemetry.metrics_address, else serve.http_address: 127.0.0.1:7401, or a free port when another program has it]
    #[arg(long, value_name = "ADDRESS", visible_alias = "metrics")]
    pub(crate) http: Option<SocketAddr>,
}

pub(crate) async fn run(session: &Session, args: &UpArgs) -> Result<()> {
    if let Some(url) = &session.coordinator {
        return Err(usage(format!("`clara up` starts a coordinator itself; leave out --coordinator {url}")));
    }
    let listen = args.listen.unwrap_or(session.settings.serve.grpc_address);
    let mut embedded = Embedded::start(&session.settings, listen, &session.interrupt).await?;
    embedded.start_workers(Workers::All)?;
    show_pages(session, &embedded, args.http).await?;
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

/// Shows web page and metrics, and says where.
async fn show_pages(session: &Session, embedded: &Embedded, asked: Option<SocketAddr>) -> Result<()> {
    let page = metrics::install()?;
    let (audience, pages) = (session.settings.serve.pages, Mount::default());
    let shown = embedded.pages(audience);
    let has_pages = shown.is_some();
    if let Some(shown) = shown {
        pages.show(shown);
    }
    let services = embedded.services();
    let listen = async |address| {
        let (page, pages, shutdown) = (page.clone(), pages.clone(), services.shutdown().clone());
        http::serve(address, page, Health::default(), pages, shutdown).await
    };
    let asked = asked.or(session.settings.telemetry.metrics_address);
    let address = asked.unwrap_or(session.settings.serve.http_address);
    let listening = match listen(address).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_default(session, asked) => {
            listen(SocketAddr::new(address.ip(), 0)).await
        }
        listening => listening,
    };
    let (address, serving) =
        listening.with_context(|| format!("cannot listen at {address}; name a free address with --http"))?;
    services.spawn("http.serve", serving);
    if has_pages {
        session.output.note(format!("web page at http://{address}/"));
    }
    session.output.note(format!("metrics at http://{address}/metrics"));
    Ok(())
}

/// Whether nobody chose the address.
fn is_default(session: &Session, asked: Option<SocketAddr>) -> bool {
    let is_default = |setting: &Setting| setting.key == "serve.http_address" && setting.origin == "default";
    asked.is_none() && session.origins.iter().any(is_default)
}
