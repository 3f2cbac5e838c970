//! Downloads from a web server and a bucket of this process, with everything that goes wrong there.

mod bucket;

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path as UrlPath, State},
    http::{HeaderMap, Response, StatusCode, header},
    routing::get,
};
use clara_lifecycle::{id::Domain, spec::IngestOptions};
use clara_runtime::stop::{StopReason, StopSignal, stop_switch};
use futures::StreamExt as _;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::{Bucket, FetchError, Pass, Remote, There, finish};
use crate::{
    error::IngestError,
    fetch::{
        CollectObserver, CollectRequest, Collected, FetchProgress, Saved, SavedSource, Servers, collect,
    },
};

const LAW: &str = "{\"id\":\"a\",\"text\":\"Der Bauantrag ist schriftlich einzureichen.\"}\n";

/// What the web server was asked, and what makes it wait.
#[derive(Debug, Default)]
struct Asked {
    requests: AtomicU64,
    resumed: AtomicU64,
    hung: Notify,
}

fn law(lines: usize) -> Bytes {
    LAW.repeat(lines).into()
}

/// A file of 4,000 lines at `/NAME.jsonl`; the name says what goes wrong.
async fn file(
    State(asked): State<Arc<Asked>>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
) -> Response<Body> {
    let number = asked.requests.fetch_add(1, Ordering::SeqCst);
    let answer = Response::builder();
    let whole = law(4000);
    let range = headers.get(header::RANGE).and_then(|range| {
        range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
    });
    let etag = if name == "changed.jsonl" && number > 1 { "\"new\"" } else { "\"old\"" };
    let is_same = headers.get(header::IF_RANGE).is_none_or(|known| known == etag);
    match name.as_str() {
        "gone.jsonl" => answer.status(StatusCode::NOT_FOUND).body(Body::from("<html>404</html>")),
        "secret.jsonl" => answer.status(StatusCode::UNAUTHORIZED).body(Body::empty()),
        "login.jsonl" => {
            answer.header(header::CONTENT_TYPE, "text/html; charset=utf-8").body(Body::from("<p>"))
        }
        "sly.jsonl" => answer.body(Body::from("\n <!DOCTYPE html><html>Bitte anmelden</html>")),
        "busy.jsonl" if number < 3 => answer
            .status(StatusCode::SERVICE_UNAVAILABLE)
            .header(header::RETRY_AFTER, "0")
            .body(Body::empty()),
        "down.jsonl" => answer.status(StatusCode::BAD_GATEWAY).body(Body::empty()),
        "hang.jsonl" if number > 0 => {
            asked.hung.notify_one();
            std::future::pending().await
        }
        "download" => answer
            .header(header::CONTENT_DISPOSITION, "attachment; filename=\"urteile.jsonl\"")
            .body(Body::from(LAW)),
        "export" => answer.header(header::CONTENT_TYPE, "application/x-ndjson").body(Body::from(LAW)),
        "table.bin" => answer.body(Body::from("x")),
        "cut.jsonl" | "changed.jsonl" | "short.jsonl" if number <= 1 || range.is_none() || !is_same => {
            let is_cut = number <= 1;
            let answer = answer.header(header::ETAG, etag).header(header::CONTENT_LENGTH, whole.len());
            let half = whole.slice(..whole.len() / 2);
            let rest = whole.slice(whole.len() / 2..);
            let rest = if is_cut { Err(std::io::Error::other("cut")) } else { Ok(rest) };
            // What was sent before goes out first, as over a real network.
            let rest = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                rest
            };
            answer.body(Body::from_stream(
                futures::stream::once(async { Ok(half) }).chain(futures::stream::once(rest)),
            ))
        }
        _ => match range {
            Some(from) => {
                asked.resumed.fetch_add(1, Ordering::SeqCst);
                let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
                let answer = answer.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range);
                answer.header(header::ETAG, etag).body(Body::from(whole.slice(from..)))
            }
            None => answer.header(header::ETAG, etag).body(Body::from(whole)),
        },
    }
    .unwrap()
}

/// Serves `router` on a port of this machine, for as long as the test runs.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the server ends with the runtime of the test")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn web() -> (String, Arc<Asked>) {
    let asked = Arc::new(Asked::default());
    let router = Router::new().route("/{name}", get(file)).with_state(Arc::clone(&asked));
    (serve(router).await, asked)
}

#[derive(Default)]
struct Watch {
    saves: u64,
}

#[async_trait]
impl CollectObserver for Watch {
    fn fetched(&self, _: &FetchProgress<'_>) {}

    async fn saved(&mut self, _: &Saved) -> Result<(), IngestError> {
        self.saves += 1;
        Ok(())
    }
}

struct Bench {
    folder: TempDir,
    options: IngestOptions,
    domain: Domain,
}

impl Bench {
    fn new(url: &str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            options: IngestOptions { sources: vec![url.to_owned()], ..IngestOptions::default() },
            domain: "baurecht".parse().unwrap(),
        }
    }

    async fn collect_until(&self, stop: &StopSignal) -> Result<Collected, IngestError> {
        let (servers, since) = (Servers::new(), BTreeMap::new());
        let request = self.request(&servers, &since);
        collect(&request, &crate::fetch::OpenByKind, &mut Watch::default(), stop).await
    }

    async fn collect(&self) -> Result<Collected, IngestError> {
        let (_switch, stop) = stop_switch();
        self.collect_until(&stop).await
    }

    async fn refused(&self) -> IngestError {
        self.collect().await.unwrap_err()
    }

    /// The same for a bucket that is there already.
    async fn collect_from(&self, bucket: Bucket) -> Result<SavedSource, IngestError> {
        let (servers, since) = (Servers::new(), BTreeMap::new());
        let request = self.request(&servers, &since);
        let (_switch, stop) = stop_switch();
        let mut saved = Saved::read(self.folder.path()).unwrap();
        let mut pass =
            Pass { request: &request, saved: &mut saved, observer: &mut Watch::default(), stop: &stop };
        let url = self.options.sources[0].as_str();
        let source = pass.begun(url, super::request(url))?;
        let remote = Remote::new(url, request.patience, There::Bucket(bucket));
        finish(&mut pass, &remote, source).await
    }

    fn request<'a>(
        &'a self,
        servers: &'a Servers,
        since: &'a BTreeMap<String, serde_json::Value>,
    ) -> CollectRequest<'a> {
        CollectRequest {
            options: &self.options,
            domain: &self.domain,
            servers,
            since,
            folder: self.folder.path(),
            checkpoint_every: 1000,
            patience: Duration::from_millis(1500),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_cut_off_is_read_on_and_the_rest_is_asked_for_alone() {
    let (base, asked) = web().await;
    let bench = Bench::new(&format!("{base}/cut.jsonl"));
    let collected = bench.collect().await.unwrap();
    let found = collected.discover(&bench.options).unwrap();
    assert_eq!(fs::read(&found.files[0].path).unwrap(), law(4000));
    assert_eq!(found.files[0].name, "cut.jsonl");
    assert_eq!(asked.resumed.load(Ordering::SeqCst), 1);
    let shown = collected.shown();
    assert_eq!(*shown[&found.files[0].path], format!("{base}/cut.jsonl"));
    let entries = collected.entries();
    assert_eq!((entries.len(), entries[0].fetched), (1, 1));
    assert!(entries[0].state.is_some());
    let requests = asked.requests.load(Ordering::SeqCst);
    bench.collect().await.unwrap();
    assert_eq!(asked.requests.load(Ordering::SeqCst), requests, "what is there is not asked for again");
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_begins_anew() {
    let (base, asked) = web().await;
    let bench = Bench::new(&format!("{base}/changed.jsonl"));
    let collected = bench.collect().await.unwrap();
    let found = collected.discover(&bench.options).unwrap();
    assert_eq!(fs::read(&found.files[0].path).unwrap(), law(4000));
    assert_eq!(asked.resumed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let (base, asked) = web().await;
    let bench = Bench::new(&format!("{base}/busy.jsonl"));
    bench.collect().await.unwrap();
    assert_eq!(asked.requests.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_file_is_named_by_its_server_where_the_url_does_not() {
    let (base, _) = web().await;
    for (path, name) in
        [("download", "urteile.jsonl"), ("export", "export.jsonl"), ("x.jsonl?a=b/c", "x.jsonl")]
    {
        let bench = Bench::new(&format!("{base}/{path}"));
        let found = bench.collect().await.unwrap().discover(&bench.options).unwrap();
        assert_eq!(found.files[0].name, name);
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_with_its_reason() {
    let (base, _) = web().await;
    for (path, reason) in [
        ("gone.jsonl", "404 Not Found: there is no such file"),
        ("secret.jsonl", "401 Unauthorized; only files that need no password"),
        ("login.jsonl", "a web page came where the file login.jsonl was expected"),
        ("sly.jsonl", "a web page came where the file sly.jsonl was expected"),
        ("table.bin", "none of what it holds (1 file) is of a kind that can be read; the first is table.bin"),
    ] {
        let refused = Bench::new(&format!("{base}/{path}")).refused().await;
        assert!(matches!(&refused, IngestError::Fetch(FetchError::Refused { .. })), "{refused:?}");
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    let refused = Bench::new("ftp://host/a.jsonl").refused().await;
    assert!(refused.to_string().contains("expected http, https, s3 or gs"), "{refused}");
    let refused = Bench::new("https://user:geheim@host/a.jsonl").refused().await;
    assert!(refused.to_string().contains("holds a user or a password"), "{refused}");
    assert!(!refused.to_string().contains("geheim"), "{refused}");
}

#[tokio::test]
async fn secrets_of_a_url_are_sent_and_never_stored_or_told() {
    let (base, _) = web().await;
    let (one, other) =
        (format!("{base}/one.jsonl?id=7&sig=geheim1"), format!("{base}/one.jsonl?id=7&sig=geheim2"));
    let mut bench = Bench::new(&one);
    bench.options.sources.push(other.clone());
    let collected = bench.collect().await.unwrap();
    let found = collected.discover(&bench.options).unwrap();
    assert_eq!(found.files.len(), 2, "URLs that differ in a secret alone are two sources");
    assert_ne!(found.files[0].path, found.files[1].path);
    assert_eq!([&*found.files[0].source, &*found.files[1].source], [one.as_str(), other.as_str()]);
    let expected = format!("{base}/one.jsonl?id=7&sig=…");
    assert!(collected.shown().values().all(|shown| **shown == *expected));
    assert_eq!(collected.entries()[1].source, expected);
    let state = fs::read_to_string(bench.folder.path().join("state.json")).unwrap();
    assert!(state.contains("sig=…") && !state.contains("geheim"), "{state}");
    let gone = Bench::new(&format!("{base}/gone.jsonl?token=geheim")).refused().await.to_string();
    assert!(gone.contains("gone.jsonl?token=…") && !gone.contains("geheim"), "{gone}");
    let foreign = Bench::new("ftp://anna:geheim@host/a.jsonl?sig=geheim").refused().await.to_string();
    assert!(!foreign.contains("geheim"), "{foreign}");
}

#[tokio::test]
async fn a_server_that_is_down_is_given_up_when_patience_ends() {
    let (base, _) = web().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/a.jsonl", listener.local_addr().unwrap());
    drop(listener);
    for (url, reason) in [(format!("{base}/down.jsonl"), "502 Bad Gateway"), (nobody, "no connection")] {
        let silent = Bench::new(&url).refused().await;
        assert!(silent.is_retryable(), "{silent}");
        assert!(silent.to_string().contains(reason), "{silent}");
        assert!(silent.to_string().contains("nothing new came for 1.5s"), "{silent}");
    }
}

#[tokio::test]
async fn a_download_that_hangs_ends_within_a_second_of_a_cancel_and_leaves_no_file() {
    let (base, asked) = web().await;
    let bench = Bench::new(&format!("{base}/hang.jsonl"));
    let (switch, stop) = stop_switch();
    let stopping = async {
        asked.hung.notified().await;
        switch.stop(StopReason::Cancel);
        Instant::now()
    };
    let (ended, told) = tokio::join!(bench.collect_until(&stop), stopping);
    assert!(told.elapsed() < Duration::from_secs(1));
    assert!(matches!(ended, Err(IngestError::Stopped(StopReason::Cancel))), "{ended:?}");
    let names = walkdir::WalkDir::new(bench.folder.path()).into_iter().map(Result::unwrap);
    assert!(
        names
            .filter(|entry| entry.file_type().is_file())
            .all(|entry| entry.file_name() == ".hang.jsonl.part")
    );
}
