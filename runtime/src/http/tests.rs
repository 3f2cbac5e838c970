//! What the listener answers, to whom it listens on, and how it ends.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};

use super::*;
use crate::{metrics, task::Tasks};

struct Daemon {
    address: SocketAddr,
    health: Health,
    tasks: Tasks,
    ended: JoinHandle<()>,
}

async fn daemon() -> Daemon {
    let shutdown = CancellationToken::new();
    let health = Health::default();
    let free_port = "127.0.0.1:0".parse().unwrap();
    let page = metrics::install().unwrap();
    let (address, served) =
        serve(free_port, page, health.clone(), Mount::default(), shutdown.clone()).await.unwrap();
    let tasks = Tasks::new(shutdown);
    let ended = tasks.spawn("http.serve", served);
    Daemon { address, health, tasks, ended }
}

impl Daemon {
    async fn ask(&self, method: &str, path: &str) -> String {
        self.send(&format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await
    }

    async fn send(&self, request: &str) -> String {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn end(self) {
        assert!(self.tasks.finish(Duration::from_secs(3)).await);
        self.ended.await.unwrap();
    }
}

#[tokio::test]
async fn a_daemon_lives_though_it_is_not_ready() {
    let daemon = daemon().await;
    daemon.health.set("broker", Err("connection refused".to_owned()));
    daemon.health.set("state", Err("wrong password".to_owned()));
    let alive = daemon.ask("GET", "/livez").await;
    assert!(alive.starts_with("HTTP/1.1 200") && alive.ends_with("\r\nok\n"), "{alive}");
    let unready = daemon.ask("GET", "/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    assert!(unready.ends_with("\r\nbroker: connection refused\nstate: wrong password\n"), "{unready}");
    daemon.health.set("broker", Ok(()));
    daemon.health.set("state", Ok(()));
    let ready = daemon.ask("GET", "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("\r\nok\n"), "{ready}");
    daemon.end().await;
}

#[tokio::test]
async fn the_metrics_of_the_process_are_shown() {
    let daemon = daemon().await;
    metrics::claim_refused(clara_lifecycle::stage::Stage::Gate);
    daemon.health.set("artifacts", Err("disk full".to_owned()));
    let shown = daemon.ask("GET", "/metrics").await;
    assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
    for part in [
        "content-type: text/plain; version=0.0.4",
        "clara_claims_refused_total{stage=\"gate\"} 1",
        "clara_ready{check=\"artifacts\"} 0",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn the_head_alone_can_be_asked_for() {
    let daemon = daemon().await;
    let head = daemon.ask("HEAD", "/livez").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("content-length: 3"), "{head}");
    daemon.end().await;
}

#[tokio::test]
async fn another_path_is_told_which_paths_there_are() {
    let daemon = daemon().await;
    for path in ["/", "/healthz", "/metrics/"] {
        let answer = daemon.ask("GET", path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(["/livez", "/readyz", "/metrics"].iter().all(|path| answer.contains(path)), "{answer}");
    }
    let post = daemon.ask("POST", "/livez").await;
    assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET,HEAD"), "{post}");
    daemon.end().await;
}

#[tokio::test]
async fn what_is_no_request_and_a_huge_head_are_refused() {
    let daemon = daemon().await;
    let garbage = daemon.send("\u{1}\u{2}\u{3}\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    let huge = "x".repeat(LARGEST_HEAD_BYTES);
    let refused = daemon.send(&format!("GET /livez HTTP/1.1\r\nhost: {huge}\r\n\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    daemon.end().await;
}

#[tokio::test]
async fn silent_clients_keep_nobody_from_an_answer_and_do_not_hold_up_the_end() {
    let daemon = daemon().await;
    let mut silent = Vec::new();
    for _ in 0..MOST_CONNECTIONS - 1 {
        silent.push(TcpStream::connect(daemon.address).await.unwrap());
    }
    let alive = daemon.ask("GET", "/livez").await;
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    daemon.end().await;
    drop(silent);
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let daemon = daemon().await;
    let page = metrics::install().unwrap();
    assert!(
        serve(daemon.address, page, Health::default(), Mount::default(), CancellationToken::new())
            .await
            .is_err()
    );
    daemon.end().await;
}
