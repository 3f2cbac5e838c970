//! A ThemisDB for tests: answers as the versions of November 2025 (T25) and of 2026 (T26) do, mistakes included.
//!
//! What it does follows the server's public source: `src/server/http_server.cpp`, `src/query/query_engine.cpp` and
//! `src/storage/base_entity.cpp` of T25, `query_api_handler.cpp`, `changefeed_api_handler.cpp` and `export_api_handler.cpp` of T26.

mod aql;
mod faults;
mod routes;
mod search;
mod store;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Result;
use axum::{Router, extract::State, http::Request, response::Response};
use parking_lot::Mutex;

pub(crate) use faults::Faults;
pub(crate) use search::search;
pub(crate) use store::{Event, Store, section};

/// Which ThemisDB it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// November 2025.
    T25,
    /// 2026.
    T26,
}

/// What the server makes of cursor tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cursors {
    /// They work while the row that they name is there.
    Work,
    /// They are ignored: page one again, with more to come.
    Repeat,
    /// They are always older than an hour.
    Expire,
    /// There are none: rows lie in `entities`.
    None,
}

/// How it answers.
#[expect(clippy::struct_excessive_bools, reason = "each quirk is there or not, whatever the others are")]
#[derive(Debug, Clone)]
pub(crate) struct Quirks {
    pub(crate) generation: Generation,
    pub(crate) cursors: Cursors,
    /// Rows are whole documents as texts, whatever the query returns.
    pub(crate) string_rows: bool,
    /// Rows lack nested objects and lists.
    pub(crate) lossy_rows: bool,
    /// Whether there is an export.
    pub(crate) export: bool,
    /// Whether there is a changefeed.
    pub(crate) changefeed: bool,
    /// Whether the changefeed has the names of its documentation.
    pub(crate) documented_feed: bool,
    /// The token that is expected, if any.
    pub(crate) token: Option<String>,
    /// Columns with a full-text index.
    pub(crate) fulltext: BTreeSet<String>,
    /// Columns with a range index.
    pub(crate) range: BTreeSet<String>,
    /// Every list of rows is page one, whatever is asked.
    pub(crate) stuck: bool,
    /// Requests that are served within one window; the next ones get 429.
    pub(crate) requests_per_window: Option<u64>,
    /// Length of a window.
    pub(crate) window: Duration,
}

/// A running double; it ends with this value.
pub(crate) struct Double {
    /// Base URL.
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

/// What requests share.
pub(crate) struct Shared {
    pub(crate) quirks: Quirks,
    pub(crate) faults: Faults,
    pub(crate) store: Mutex<Store>,
    /// `METHOD /path` of all requests, in their order.
    pub(crate) requests: Mutex<Vec<String>>,
    limits: Mutex<faults::Window>,
}

impl Quirks {
    /// A well-kept server of this generation, with the mistakes that all of them make.
    pub(crate) fn of(generation: Generation) -> Self {
        let is_old = generation == Generation::T25;
        Self {
            generation,
            cursors: Cursors::Work,
            string_rows: is_old,
            lossy_rows: is_old,
            export: !is_old,
            changefeed: true,
            documented_feed: false,
            token: None,
            fulltext: BTreeSet::from(["content".to_owned()]),
            range: BTreeSet::from(["id".to_owned()]),
            stuck: false,
            requests_per_window: None,
            window: Duration::from_millis(200),
        }
    }
}

impl Double {
    /// Starts a server with these documents in the table `documents`.
    pub(crate) async fn start(quirks: Quirks, faults: Faults, store: Store) -> Result<Self> {
        let shared = Arc::new(Shared {
            quirks,
            faults,
            store: Mutex::new(store),
            requests: Mutex::default(),
            limits: Mutex::default(),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let serving = async move {
            // It ends when the task is aborted.
            let _ = axum::serve(listener, router).await;
        };
        #[expect(clippy::disallowed_methods, reason = "a test owns this task and ends it")]
        let server = tokio::spawn(serving);
        Ok(Self { url, shared, server })
    }

    /// Changes the documents while it runs.
    pub(crate) fn store(&self) -> parking_lot::MutexGuard<'_, Store> {
        self.shared.store.lock()
    }

    /// Requests so far whose path begins so.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.shared.requests.lock().iter().filter(|request| request.contains(path)).count()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request<axum::body::Body>) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.to_string();
    let count = {
        let mut requests = shared.requests.lock();
        requests.push(format!("{} {path}", parts.method));
        requests.iter().filter(|request| request.ends_with(&path)).count() as u64
    };
    if let Some(refused) = shared.limits.lock().refuse(&shared.quirks) {
        return refused;
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let fault = shared.faults.draw(&path, &body, count);
    if let Some(answer) = fault.instead() {
        return answer;
    }
    let answer = routes::answer(&shared, parts.method.as_str(), &path, &parts.headers, &body);
    fault.deform(answer).await
}
