//! The SQLite state store against the contract, other processes, a killed writer and foreign files.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use clara_lifecycle::{
    id::{Attempt, ClassName},
    stage::Stage,
    time::Timestamp,
};

use super::*;
use crate::{
    broker::Task,
    clock::TestClock,
    faults::{Fault, Faulty},
    state::{Body, Deadline, Write, contract},
};

fn open(folder: &tempfile::TempDir) -> SqliteState {
    SqliteState::open(folder.path().join("state").join("clara.db")).unwrap()
}

fn event(stream: &str) -> Commit {
    Commit { events: vec![(stream.to_owned(), "{}".to_owned())], ..Commit::default() }
}

/// One commit that touches every table in a way that shows whether all of it arrived.
fn whole_commit(n: u64) -> Commit {
    let key = RecordKey::new("killed", format!("{n:08}"));
    let job = format!("job-{n}").parse().unwrap();
    let task =
        Task { job, stage: Stage::Train, attempt: Attempt::FIRST, priority: 1, class: ClassName::default() };
    Commit {
        id: format!("commit-{n}"),
        writes: vec![
            Write {
                key: key.clone(),
                expected: None,
                body: Body::Put { body: n.to_string(), parts: vec![("part".to_owned(), n.to_string())] },
            },
            Write {
                key: RecordKey::new("killed", "total"),
                expected: (n > 1).then_some(n - 1),
                body: Body::put(n.to_string()),
            },
        ],
        events: vec![("killed".to_owned(), n.to_string())],
        outbox: vec![OutboxEntry::new(task, Timestamp(1)).unwrap()],
        deadlines: vec![Deadline { key, at: Some(Timestamp(1)) }],
        ..Commit::default()
    }
}

#[tokio::test]
async fn the_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::check(Arc::new(open(&folder))).await.unwrap();
}

#[tokio::test]
async fn the_store_keeps_the_contract_when_calls_fail_stay_unanswered_or_are_slow() {
    for (fault, percent) in
        [(Fault::Flaky, 30), (Fault::Unanswered, 30), (Fault::Slow(Duration::from_millis(2)), 20)]
    {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn StateStore> = Arc::new(open(&folder));
        contract::check(Arc::new(Faulty::new(store, fault, percent, 7))).await.unwrap();
    }
}

#[tokio::test]
async fn two_handles_on_one_file_see_each_other_and_wake_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(&folder), open(&folder));
    let mut watcher = one.watch();
    let grown = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            two.commit(&event("jobs")).await.unwrap();
            if let Ok(grown) = tokio::time::timeout(Duration::from_millis(500), watcher.recv()).await {
                return grown.unwrap();
            }
        }
    });
    assert_eq!(grown.await.unwrap(), "jobs");
    assert!(!one.events("jobs", 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn writers_on_two_handles_number_events_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(&folder), open(&folder));
    let writers = [&one, &two].map(|store| async move {
        for _ in 0..100 {
            store.commit(&event("shared")).await.unwrap();
        }
    });
    futures::future::join_all(writers).await;
    let numbers: Vec<u64> = one.events("shared", 0, 1000).await.unwrap().iter().map(|e| e.number).collect();
    assert_eq!(numbers, (1..=200).collect::<Vec<u64>>());
}

#[tokio::test]
async fn time_goes_on_when_the_wall_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clara.db");
    let clock = Arc::new(TestClock::at(Timestamp(1_000_000)));
    let store = SqliteState::open_with_clock(&path, clock.clone()).unwrap();
    store.commit(&event("jobs")).await.unwrap();
    clock.set(Timestamp(5));
    assert!(store.now().await.unwrap() >= Timestamp(1_000_000));
    drop(store);
    let reopened = SqliteState::open_with_clock(&path, clock).unwrap();
    let before = reopened.now().await.unwrap();
    assert!(before >= Timestamp(1_000_000));
    let later = tokio::time::timeout(Duration::from_secs(10), async {
        while reopened.now().await.unwrap() == before {}
    });
    later.await.expect("time stands still");
}

#[tokio::test]
async fn a_file_of_another_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clara.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    match SqliteState::open(&path) {
        Err(StateError::Layout { found: 99, .. }) => {}
        other => panic!("expected a refusal of the layout, got {other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clara.db");
    std::fs::write(&path, "the letter of a friend, which is long enough to be looked at closely").unwrap();
    let error = SqliteState::open(&path).unwrap_err().to_string();
    assert!(error.contains("not a database"), "{error}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("the letter"));
}

#[tokio::test]
async fn a_full_disk_refuses_the_commit_and_keeps_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.commit(&event("jobs")).await.unwrap();
    // The database may not grow any more, as on a full disk.
    let set_limit = |pages: i64| {
        store.read(move |connection| {
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))
        })
    };
    set_limit(1).await.unwrap();
    let large = Commit {
        events: vec![("jobs".to_owned(), "x".repeat(1 << 20)), ("jobs".to_owned(), "y".to_owned())],
        ..Commit::default()
    };
    let error = store.commit(&large).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("full"), "{error}");
    assert_eq!(store.events("jobs", 0, 10).await.unwrap().len(), 1);
    set_limit(1 << 20).await.unwrap();
    store.commit(&large).await.unwrap();
    assert_eq!(store.events("jobs", 0, 10).await.unwrap().len(), 3);
}

#[test]
fn many_can_open_a_new_file_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let opened = [(); 8].map(|()| scope.spawn(|| open(&folder)));
        for store in opened {
            store.join().unwrap();
        }
    });
}

#[tokio::test]
async fn old_commit_ids_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::at(Timestamp(1_000_000)));
    let store = SqliteState::open_with_clock(folder.path().join("clara.db"), clock.clone()).unwrap();
    let named = |id: &str| Commit { id: id.to_owned(), ..event("jobs") };
    store.commit(&named("first")).await.unwrap();
    clock.advance(REMEMBER_COMMITS * 2);
    store.commit(&named("second")).await.unwrap();
    store.commit(&named("second")).await.unwrap();
    let remembered = store
        .read(|connection| {
            connection.query_row("SELECT count(*) FROM commits", [], |row| row.get::<_, u64>(0))
        })
        .await;
    assert_eq!(remembered.unwrap(), 1);
    assert_eq!(store.events("jobs", 0, 10).await.unwrap().len(), 2);
}

/// Names the file in which the writer below works when it runs as the child of the test after it.
const CHILD_FILE: &str = "KILLED_WRITER_FILE";

#[tokio::test]
async fn a_writer_says_each_commit_after_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (path, last) = match std::env::var_os(CHILD_FILE) {
        Some(path) => (path.into(), u64::MAX),
        None => (folder.path().join("clara.db"), 20),
    };
    let store = SqliteState::open(path).unwrap();
    let total = RecordKey::new("killed", "total");
    let start = store.load(&total).await.unwrap().map_or(0, |record| record.version);
    for n in start.saturating_add(1)..=last {
        store.commit(&whole_commit(n)).await.unwrap();
        eprintln!("stored {n}");
    }
    assert_eq!(store.load(&total).await.unwrap().unwrap().version, 20);
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clara.db");
    let mut acknowledged = 0;
    for round in 1..=6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "state::sqlite::tests::a_writer_says_each_commit_after_it_is_stored",
            ])
            .env(CHILD_FILE, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut stored =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("stored ")?.parse().ok());
        let wanted = acknowledged + 10 + round * 7;
        acknowledged = stored.find(|n: &u64| *n >= wanted).expect("the writer ended by itself");
        child.kill().unwrap();
        // What it said between the last line read and its end counts too.
        acknowledged = stored.last().unwrap_or(acknowledged);
        child.wait().unwrap();
        all_or_nothing(&SqliteState::open(&path).unwrap(), acknowledged).await;
    }
}

async fn all_or_nothing(store: &SqliteState, acknowledged: u64) {
    let total = store.load(&RecordKey::new("killed", "total")).await.unwrap().unwrap().version;
    assert!(total >= acknowledged, "{acknowledged} commits were acknowledged, {total} are stored");
    let limit = usize::MAX;
    let records = store.list("killed", None, limit).await.unwrap();
    let counts = [
        // The total is a record of the same kind.
        records.len() - 1,
        records.iter().map(|record| record.parts.len()).sum(),
        store.events("killed", 0, limit).await.unwrap().len(),
        store.outbox(Timestamp(1), limit).await.unwrap().len(),
        store.due(Timestamp(1), limit).await.unwrap().len(),
    ];
    assert!(counts.iter().all(|count| *count as u64 == total), "{total} commits, but {counts:?}");
}
