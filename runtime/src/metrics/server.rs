//! Shows the metrics of a process that has no web page of its own.

use std::{future::Future, io, net::SocketAddr};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::MetricsPage;

/// Listens at `address` and answers `GET /metrics` until `shutdown` is cancelled; answers the address it listens
/// at (port 0 takes a free one) and the work that must be spawned.
///
/// # Errors
/// [`io::Error`] when the address cannot be listened at.
pub async fn serve(
    page: MetricsPage,
    address: SocketAddr,
    shutdown: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = io::Result<()>> + Send + 'static)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let show = move || async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], page.render()) };
    let router = Router::new().route("/metrics", get(show));
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    Ok((address, served.into_future()))
}
