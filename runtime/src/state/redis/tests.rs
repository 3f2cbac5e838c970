//! The Redis store against the contract and under faults, and servers that crash, are emptied or must be refused.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    faults::{Fault, Faulty},
    state::{Body, Deadline, Write, contract},
};

mod certificates;

/// A Redis of its own in a temporary folder; ended when dropped.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    more: Vec<String>,
}

impl Server {
    async fn start(more: &[&str]) -> Self {
        Self::start_at(free_port(), more).await
    }

    async fn start_at(port: u16, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let more: Vec<String> = more.iter().map(|part| (*part).to_owned()).collect();
        let child = spawn(&folder, port, &more);
        let server = Self { child, folder, port, more };
        server.answers().await;
        server
    }

    async fn answers(&self) {
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("redis-server does not answer at port {}", self.port);
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn start_again(&mut self) {
        self.child = spawn(&self.folder, self.port, &self.more);
        self.answers().await;
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    fn options(&self) -> RedisOptions {
        RedisOptions::new(Secret::new(self.url()))
    }

    async fn connect(&self) -> RedisState {
        RedisState::connect(&self.options(), &tasks()).await.unwrap()
    }

    async fn command(&self, words: &[&str]) -> String {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(folder: &tempfile::TempDir, port: u16, more: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"]);
    command.args(["--appendfsync", "always", "--dir"]).arg(folder.path()).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("redis-server: scripts/setup.sh test")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn tasks() -> Tasks {
    Tasks::new(CancellationToken::new())
}

fn put(id: &str, expected: Option<u64>, body: &str) -> Commit {
    let key = RecordKey::new("job", id);
    Commit {
        id: uuid::Uuid::new_v4().to_string(),
        writes: vec![Write { key, expected, body: Body::put(body.to_owned()) }],
        ..Commit::default()
    }
}

#[tokio::test]
async fn the_store_keeps_the_contract() {
    let server = Server::start(&[]).await;
    contract::check(Arc::new(server.connect().await)).await.unwrap();
}

#[tokio::test]
async fn the_store_keeps_the_contract_when_calls_fail_stay_unanswered_or_are_slow() {
    let server = Server::start(&[]).await;
    let inner: Arc<dyn StateStore> = Arc::new(server.connect().await);
    for (fault, seed) in
        [(Fault::Flaky, 11), (Fault::Unanswered, 12), (Fault::Slow(Duration::from_millis(3)), 13)]
    {
        contract::check(Arc::new(Faulty::new(inner.clone(), fault, 30, seed))).await.unwrap();
    }
}

#[tokio::test]
async fn stores_with_different_prefixes_share_a_server_and_nothing_else() {
    let server = Server::start(&[]).await;
    let other = RedisOptions { prefix: "other:".to_owned(), ..server.options() };
    let (one, other) = (server.connect().await, RedisState::connect(&other, &tasks()).await.unwrap());
    one.commit(&put("a", None, "1")).await.unwrap();
    assert_eq!(other.load(&RecordKey::new("job", "a")).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_killed_server_and_the_store_goes_on() {
    let metrics = crate::metrics::install().unwrap();
    let mut server = Server::start(&[]).await;
    let store = server.connect().await;
    store.commit(&put("a", None, "1")).await.unwrap();
    server.kill();
    let lost = store.commit(&put("a", Some(1), "2")).await.unwrap_err();
    assert!(lost.is_retryable(), "{lost}");
    server.start_again().await;
    let mut again = Err(lost);
    for _ in 0..100 {
        again = store.commit(&put("a", Some(1), "3")).await;
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    again.unwrap();
    let stored = store.load(&RecordKey::new("job", "a")).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.body.as_str()), (2, "3"));
    while !metrics.render().contains("\nclara_state_reconnects_total 1") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_is_given_them_again() {
    let server = Server::start(&[]).await;
    let store = server.connect().await;
    store.commit(&put("a", None, "1")).await.unwrap();
    server.command(&["SCRIPT", "FLUSH"]).await;
    store.commit(&put("a", Some(1), "2")).await.unwrap();
}

#[tokio::test]
async fn an_emptied_server_is_told_and_nothing_is_invented() {
    let server = Server::start(&[]).await;
    let store = server.connect().await;
    store.commit(&put("a", None, "1")).await.unwrap();
    server.command(&["FLUSHALL"]).await;
    for error in [
        store.load(&RecordKey::new("job", "a")).await.unwrap_err(),
        store.commit(&put("b", None, "1")).await.unwrap_err(),
    ] {
        assert!(matches!(error, StateError::Emptied { .. }) && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("restore"), "{error}");
    }
    assert!(server.connect().await.load(&RecordKey::new("job", "a")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_server_that_may_drop_data_is_refused_with_the_remedy() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let refused = RedisState::connect(&server.options(), &tasks()).await.unwrap_err();
    assert!(!refused.is_retryable());
    assert!(refused.to_string().contains("allkeys-lru, expected noeviction"), "{refused}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_shown() {
    let server = Server::start(&["--requirepass", "right"]).await;
    for user in ["", ":wrong-secret@"] {
        let url = format!("redis://{user}127.0.0.1:{}/0", server.port);
        let options = RedisOptions::new(Secret::new(url));
        let refused = RedisState::connect(&options, &tasks()).await.unwrap_err();
        assert!(!refused.is_retryable(), "{refused:?}");
        let text = format!("{refused} {refused:?} {options:?}");
        assert!(text.contains("state.url") && !text.contains("wrong-secret"), "{text}");
    }
    let right = RedisOptions::new(Secret::new(format!("redis://:right@127.0.0.1:{}/0", server.port)));
    RedisState::connect(&right, &tasks()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_another_try() {
    let options = RedisOptions::new(Secret::new(format!("redis://127.0.0.1:{}/0", free_port())));
    let error = RedisState::connect(&options, &tasks()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn data_of_another_version_is_refused() {
    let server = Server::start(&[]).await;
    server.command(&["SET", "clara:layout", "99"]).await;
    let refused = RedisState::connect(&server.options(), &tasks()).await.unwrap_err();
    assert!(matches!(refused, StateError::Layout { found: 99, .. }), "{refused}");
}

#[tokio::test]
async fn commits_of_another_coordinator_wake_the_watchers() {
    let server = Server::start(&[]).await;
    let (one, other) = (server.connect().await, server.connect().await);
    let mut grown = one.watch();
    let events = ["job/a", "audit/a"].map(|stream| (stream.to_owned(), "{}".to_owned())).into();
    let event = Commit { events, ..put("a", None, "1") };
    let (mut woken, mut version) = (None, None);
    // The subscription may begin after the first commit.
    for n in 0_u32.. {
        let commit = Commit { writes: put("a", version, &n.to_string()).writes, ..event.clone() };
        let commit = Commit { id: n.to_string(), ..commit };
        other.commit(&commit).await.unwrap();
        version = Some(u64::from(n) + 1);
        woken = tokio::time::timeout(Duration::from_millis(100), grown.recv()).await.ok();
        if woken.is_some() || n > 100 {
            break;
        }
    }
    assert_eq!(woken.unwrap().unwrap(), "job/a");
    assert_eq!(grown.recv().await.unwrap(), "audit/a");
}

#[tokio::test]
async fn commits_that_come_together_share_calls_and_each_has_its_own_outcome() {
    let server = Server::start(&[]).await;
    let store = server.connect().await;
    server.command(&["SET", "clara:r:job/odd", "no record"]).await;
    let mut commits: Vec<Commit> = (0..200).map(|n| put(&format!("job-{n}"), None, "{}")).collect();
    // The last word on a deadline counts, as if they had come one after another.
    let deadline = |at| vec![Deadline { key: RecordKey::new("job", "job-0"), at }];
    commits[0].deadlines = deadline(Some(Timestamp(7)));
    commits[50].deadlines = deadline(None);
    commits[100] = put("job-0", None, "second");
    commits[150] = put("odd", None, "{}");
    for commit in &mut commits {
        commit.events.push(("job/all".to_owned(), commit.writes[0].key.id.clone()));
    }
    let outcomes = futures::future::join_all(commits.iter().map(|commit| store.commit(commit))).await;
    let refused: Vec<_> = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_err()).collect();
    let [
        (100, Err(StateError::Conflict { found: Some(1), .. })),
        (150, Err(odd @ StateError::Unavailable { .. })),
    ] = refused[..]
    else {
        panic!("{refused:?}")
    };
    assert!(odd.to_string().contains("WRONGTYPE"), "{odd}");
    assert_eq!(store.events("job/all", 0, 1000).await.unwrap().len(), 198);
    assert_eq!(store.due(Timestamp(100), 10).await.unwrap(), []);
    let statistics = server.command(&["INFO", "commandstats"]).await;
    let calls = statistics.split("cmdstat_evalsha:calls=").nth(1).and_then(|rest| rest.split(',').next());
    let calls: u32 = calls.unwrap().parse().unwrap();
    assert!(calls < 10, "{calls} calls for 200 commits");
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_no_commit_of_another_one_along() {
    let server = Server::start(&[]).await;
    let store = server.connect().await;
    let (first, second) = (put("a", None, "{}"), put("b", None, "{}"));
    let mut gone = Box::pin(store.commit(&first));
    assert!(futures::poll!(gone.as_mut()).is_pending());
    drop(gone);
    store.commit(&second).await.unwrap();
    assert!(store.load(&RecordKey::new("job", "b")).await.unwrap().is_some());
}

#[tokio::test]
async fn commits_too_large_for_one_call_come_one_after_another_and_none_is_too_large_for_its_own() {
    let server = Server::start(&[]).await;
    let store = server.connect().await;
    let bodies = [700_000, 700_000, 2_000_000, 10].map(|bytes| "x".repeat(bytes));
    let commits: Vec<_> = (0..).zip(&bodies).map(|(n, body)| put(&format!("job-{n}"), None, body)).collect();
    for outcome in futures::future::join_all(commits.iter().map(|commit| store.commit(commit))).await {
        outcome.unwrap();
    }
    for commit in &commits {
        let key = &commit.writes[0].key;
        let stored = store.load(key).await.unwrap().unwrap();
        assert_eq!(commit.writes[0].body, Body::put(stored.body), "{key}");
    }
}

#[tokio::test]
async fn a_commit_that_is_repeated_within_its_call_is_made_once() {
    let server = Server::start(&[]).await;
    let store = server.connect().await;
    let commit = Commit { events: vec![("job/a".to_owned(), "{}".to_owned())], ..put("a", None, "{}") };
    let outcomes = futures::join!(store.commit(&commit), store.commit(&commit), store.commit(&commit));
    assert!(matches!(outcomes, (Ok(()), Ok(()), Ok(()))), "{outcomes:?}");
    assert_eq!(store.events("job/a", 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn all_commits_of_a_call_hear_of_a_server_that_was_emptied_or_is_gone() {
    let mut server = Server::start(&[]).await;
    let store = server.connect().await;
    let commits: Vec<Commit> = (0..100).map(|n| put(&format!("job-{n}"), None, "{}")).collect();
    let all = || futures::future::join_all(commits.iter().map(|commit| store.commit(commit)));
    server.command(&["FLUSHALL"]).await;
    for outcome in all().await {
        assert!(matches!(outcome, Err(StateError::Emptied { .. })), "{outcome:?}");
    }
    server.kill();
    let began_at = tokio::time::Instant::now();
    for outcome in all().await {
        assert!(matches!(outcome, Err(StateError::Unavailable { .. })), "{outcome:?}");
    }
    let took = began_at.elapsed();
    assert!(took < server.options().timeout * 2, "the last of them waited {took:?}");
}
