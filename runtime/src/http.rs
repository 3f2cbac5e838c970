//! The one HTTP listener of every daemon: `/livez`, `/readyz`, `/metrics`, health and reflection over gRPC, and the
//! pages of its owner.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{grpc, health::Health, metrics::MetricsPage};

#[cfg(test)]
mod tests;

/// Connections at the same time; more of them wait for their turn.
const MOST_CONNECTIONS: usize = 512;
/// How long a client may take for the head of a request, and may be silent between two.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// How long a connection is kept, so that one that takes no answer does not stay for ever.
const CONNECTION_LASTS: Duration = Duration::from_mins(5);
/// How long answers under way may take when the connection shall end.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Largest head of a request.
const LARGEST_HEAD_BYTES: usize = 16 << 10;
/// The same for HTTP/2, which gRPC uses.
const LARGEST_HTTP2_HEAD_BYTES: u32 = 16 << 10;
/// How often recorded times are put into their buckets when nobody looks at them.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How long to wait when no connection can be accepted, e.g. for want of file handles.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_secs(1);

const PATHS: &str = "this daemon answers GET and HEAD at\n\
    /livez    whether it runs\n\
    /readyz   whether it can work, or which checks fail\n\
    /metrics  its metrics for Prometheus\n";

/// Pages beside health and metrics, shown once their owner has them; clones share them.
///
/// Requests reach them with [`ConnectInfo`] of their sender's address.
#[derive(Debug, Clone, Default)]
pub struct Mount(Arc<OnceLock<Router>>);

impl Mount {
    /// Shows `pages` from now on; only the first ones are.
    pub fn show(&self, pages: Router) {
        // Nothing is lost: a process has one owner of pages.
        let _ = self.0.set(pages);
    }
}

/// Listens at `address` until `shutdown` is cancelled; answers the address it listens at (port 0 takes a free one)
/// and the work that must be spawned. A daemon that drains should cancel `shutdown` last, and be seen until then.
///
/// `/livez` answers 200 while the process answers at all, `/readyz` answers 200, or 503 with one line for each check
/// that fails, and `/metrics` the metrics of the process. `grpc.health.v1.Health` says over HTTP/2 what `/readyz` says.
///
/// # Errors
/// [`io::Error`] when the address cannot be listened at.
pub async fn serve(
    address: SocketAddr,
    page: MetricsPage,
    health: Health,
    pages: Mount,
    shutdown: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()> + Send + 'static)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((address, answer(listener, Shown { page, health, pages }, shutdown)))
}

#[derive(Debug, Clone)]
struct Shown {
    page: MetricsPage,
    health: Health,
    pages: Mount,
}

/// Answers all connections in one task, so that none outlives it.
async fn answer(listener: TcpListener, shown: Shown, shutdown: CancellationToken) {
    let page = shown.page.clone();
    let router = router(shown, &shutdown);
    let mut connections = FuturesUnordered::new();
    let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = upkeep.tick() => page.keep_up(),
            Some(()) = connections.next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let router = router.clone().layer(Extension(ConnectInfo(peer)));
                    connections.push(connection(stream, router, shutdown.clone()));
                }
                Err(error) => {
                    tracing::warn!("no connection for health and metrics can be accepted: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    }
    drop(listener);
    connections.collect::<()>().await;
}

/// Answers the requests of one connection.
async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_WITHIN)
        .max_buf_size(LARGEST_HEAD_BYTES);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(LARGEST_HTTP2_HEAD_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ended(&shutdown) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(ANSWER_WITHIN, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection for health and metrics broke: {error}");
    }
}

/// Waits until a connection that begins now shall end.
async fn ended(shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(CONNECTION_LASTS) => {}
    }
}

fn router(shown: Shown, shutdown: &CancellationToken) -> Router {
    let grpc = grpc::routes(&shown.health, shutdown).into_axum_router();
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .fallback(others)
        .with_state(shown)
        .merge(grpc.reset_fallback())
}

/// What the owner's pages answer, where there are any.
async fn others(State(shown): State<Shown>, request: Request) -> Response {
    let Some(pages) = shown.pages.0.get() else { return (StatusCode::NOT_FOUND, PATHS).into_response() };
    pages.clone().oneshot(request).await.into_response()
}

async fn readiness(State(shown): State<Shown>) -> Response {
    let failing = shown.health.failing();
    if failing.is_empty() {
        return "ok\n".into_response();
    }
    let lines: Vec<String> = failing.iter().map(|failing| format!("{failing}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines.concat()).into_response()
}

async fn metrics(State(shown): State<Shown>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], shown.page.render()).into_response()
}
