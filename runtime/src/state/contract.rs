//! The rules that every state store obeys; each implementation runs them, plain and under faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use clara_lifecycle::{
    id::{Attempt, ClassName, JobId},
    stage::Stage,
    time::Timestamp,
};
use uuid::Uuid;

use super::{
    Body, Commit, Deadline, OutboxEntry, Record, RecordKey, StateError, StateStore, StoredEvent, Write,
};
use crate::{
    broker::Task,
    contract::{Broken, Finding, ensure, insist, judge, unexpected},
};

mod indexes;
mod streams;

/// Kind of the records that the suite writes.
const KIND: &str = "contract";

/// Runs every rule against `store`, which may hold other things already.
///
/// # Errors
/// [`Broken`] names the first rule that does not hold.
pub async fn check(store: Arc<dyn StateStore>) -> Result<(), Broken> {
    let store = Patient(store);
    judge("a record's version starts at 1 and grows by one", versions_grow_by_one(&store).await)?;
    judge("an unexpected version is a conflict and changes nothing", conflicts(&store).await)?;
    judge("a write without a body only checks", checks_change_nothing(&store).await)?;
    judge("a repeated commit changes nothing and answers as before", repetition(&store).await)?;
    judge("one refused write leaves nothing of its commit", atomicity(&store).await)?;
    judge("of many writers of one version one wins", one_writer_wins(&store).await)?;
    judge("records are listed in order of their ids, page by page", listing(&store).await)?;
    judge("a removed record is gone and can be written anew", removal(&store).await)?;
    judge("parts of a record stay until they are written again", parts(&store).await)?;
    judge("many records are loaded at once", loading(&store).await)?;
    judge("an index is an ordered set of names", indexes::order(&store).await)?;
    judge("an index changes with its commit or not at all", indexes::atomicity(&store).await)?;
    judge("a limit refuses a commit, strictly among many writers", indexes::limits(&store).await)?;
    judge("outbox entries come earliest first and leave when settled", outbox(&store).await)?;
    judge("due keys come earliest first", due(&store).await)?;
    judge("events are numbered from 1 without gaps", streams::numbering(&store).await)?;
    judge("thousands of events in one commit stay in order", streams::many_at_once(&store).await)?;
    judge("events are read page by page", streams::paging(&store).await)?;
    judge("time does not go back", streams::time(&store).await)?;
    judge("watchers wake when a stream grows", streams::watching(&store).await)
}

/// Repeats calls that answer a retryable error.
#[derive(Debug, Clone)]
struct Patient(Arc<dyn StateStore>);

impl Patient {
    async fn again<T, F: Future<Output = Result<T, StateError>>>(
        &self,
        call: impl FnMut() -> F,
    ) -> Result<T, StateError> {
        insist(StateError::is_retryable, call).await
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        self.again(|| self.0.commit(commit)).await
    }

    async fn load(&self, key: &RecordKey) -> Result<Option<Record>, String> {
        self.again(|| self.0.load(key)).await.map_err(unexpected)
    }

    async fn list(&self, after: &str, limit: usize) -> Result<Vec<String>, String> {
        let records = self.again(|| self.0.list(KIND, Some(after), limit)).await.map_err(unexpected)?;
        Ok(records.into_iter().map(|record| record.id).collect())
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<RecordKey>, String> {
        self.again(|| self.0.due(Timestamp(until), limit)).await.map_err(unexpected)
    }

    async fn outbox(&self, until: i64, limit: usize) -> Result<Vec<OutboxEntry>, String> {
        self.again(|| self.0.outbox(Timestamp(until), limit)).await.map_err(unexpected)
    }

    async fn settle(&self, entries: &[String]) -> Result<(), String> {
        self.again(|| self.0.settle(entries)).await.map_err(unexpected)
    }

    async fn events(&self, stream: &str, after: u64, limit: usize) -> Result<Vec<StoredEvent>, String> {
        self.again(|| self.0.events(stream, after, limit)).await.map_err(unexpected)
    }

    async fn now(&self) -> Result<Timestamp, String> {
        self.again(|| self.0.now()).await.map_err(unexpected)
    }
}

fn fresh_name() -> String {
    Uuid::new_v4().to_string()
}

fn write(key: &RecordKey, expected: Option<u64>, body: Option<&str>) -> Write {
    let body = body.map_or(Body::Keep, |body| Body::put(body.to_owned()));
    Write { key: key.clone(), expected, body }
}

/// Puts an empty body, and parts.
fn with_parts(key: &RecordKey, expected: Option<u64>, parts: &[(&str, &str)]) -> Write {
    let parts = parts.iter().map(|(name, body)| ((*name).to_owned(), (*body).to_owned())).collect();
    Write { key: key.clone(), expected, body: Body::Put { body: "{}".to_owned(), parts } }
}

fn commit_of(writes: Vec<Write>) -> Commit {
    Commit { id: fresh_name(), writes, ..Commit::default() }
}

fn task(job: &str) -> Result<Task, String> {
    let job: JobId = format!("job-{job}").parse().map_err(unexpected)?;
    let class = ClassName::default();
    Ok(Task { job, stage: Stage::Train, attempt: Attempt::FIRST, priority: 5, class })
}

async fn versions_grow_by_one(store: &Patient) -> Finding {
    let key = RecordKey::new(KIND, fresh_name());
    let absent = store.load(&key).await?;
    ensure(absent.is_none(), || format!("a record that nobody wrote is {absent:?}"))?;
    for version in 1..=3_u64 {
        let body = format!("{{\"n\":{version}}}");
        let expected = (version > 1).then_some(version - 1);
        store.commit(&commit_of(vec![write(&key, expected, Some(&body))])).await.map_err(unexpected)?;
        let stored = store.load(&key).await?;
        let wanted = Record { id: key.id.clone(), version, body, parts: BTreeMap::new() };
        ensure(stored.as_ref() == Some(&wanted), || format!("stored {stored:?}, wanted {wanted:?}"))?;
    }
    Ok(())
}

async fn conflicts(store: &Patient) -> Finding {
    let key = RecordKey::new(KIND, fresh_name());
    let other = RecordKey::new(KIND, fresh_name());
    store.commit(&commit_of(vec![write(&key, None, Some("1"))])).await.map_err(unexpected)?;
    for (of, expected, found) in [(&key, None, Some(1)), (&key, Some(2), Some(1)), (&other, Some(1), None)] {
        let answer = store.commit(&commit_of(vec![write(of, expected, Some("2"))])).await;
        expect_conflict(answer, of, expected, found)?;
    }
    let stored = store.load(&key).await?;
    ensure(stored.as_ref().is_some_and(|record| record.body == "1"), || format!("stored {stored:?}"))
}

fn expect_conflict(
    answer: Result<(), StateError>,
    of: &RecordKey,
    wanted: Option<u64>,
    stored: Option<u64>,
) -> Finding {
    match answer {
        Err(StateError::Conflict { key, expected, found }) => {
            let says = (&key, expected, found);
            ensure(says == (of, wanted, stored), || format!("the conflict says {says:?}"))
        }
        Ok(()) => Err(format!("a write of {of} that expected {wanted:?} succeeded")),
        Err(other) => Err(unexpected(other)),
    }
}

async fn checks_change_nothing(store: &Patient) -> Finding {
    let (guard, key) = (RecordKey::new(KIND, fresh_name()), RecordKey::new(KIND, fresh_name()));
    let absent_check = write(&guard, None, None);
    store.commit(&commit_of(vec![absent_check, write(&key, None, Some("1"))])).await.map_err(unexpected)?;
    let guarded = store.load(&guard).await?;
    ensure(guarded.is_none(), || format!("a check made {guarded:?}"))?;
    store
        .commit(&commit_of(vec![write(&key, Some(1), None), write(&guard, None, Some("1"))]))
        .await
        .map_err(unexpected)?;
    let stored = store.load(&key).await?;
    ensure(stored.as_ref().is_some_and(|record| record.version == 1), || format!("stored {stored:?}"))?;
    let refused = store.commit(&commit_of(vec![write(&guard, Some(9), None)])).await;
    expect_conflict(refused, &guard, Some(9), Some(1))
}

async fn repetition(store: &Patient) -> Finding {
    let (key, stream) = (RecordKey::new(KIND, fresh_name()), fresh_name());
    let commit = Commit {
        events: vec![(stream.clone(), "{}".to_owned())],
        ..commit_of(vec![write(&key, None, Some("1"))])
    };
    for _ in 0..3 {
        store.commit(&commit).await.map_err(unexpected)?;
    }
    store.commit(&commit_of(vec![write(&key, Some(1), Some("2"))])).await.map_err(unexpected)?;
    store.commit(&commit).await.map_err(unexpected)?;
    let (stored, events) = (store.load(&key).await?, store.events(&stream, 0, 10).await?);
    let holds = events.len() == 1 && stored.as_ref().is_some_and(|record| record.body == "2");
    ensure(holds, || format!("stored {stored:?} with events {events:?}"))
}

async fn atomicity(store: &Patient) -> Finding {
    let (good, bad) = (RecordKey::new(KIND, fresh_name()), RecordKey::new(KIND, fresh_name()));
    let stream = fresh_name();
    let mut commit = Commit {
        events: vec![(stream.clone(), "{}".to_owned())],
        outbox: vec![OutboxEntry::new(task(&fresh_name())?, Timestamp(1)).map_err(unexpected)?],
        deadlines: vec![Deadline { key: good.clone(), at: Some(Timestamp(1)) }],
        ..commit_of(vec![with_parts(&good, None, &[("extra", "1")]), write(&bad, Some(7), Some("1"))])
    };
    expect_conflict(store.commit(&commit).await, &bad, Some(7), None)?;
    let record = store.load(&good).await?;
    let events = store.events(&stream, 0, 10).await?;
    let outbox = store.outbox(1, 1000).await?.iter().any(|entry| commit.outbox.contains(entry));
    let due = store.due(1, 1000).await?.contains(&good);
    let nothing = record.is_none() && events.is_empty() && !outbox && !due;
    ensure(nothing, || format!("left {record:?}, {events:?}, outbox: {outbox}, deadline: {due}"))?;
    // Refused under this id, it is no repetition once it can be applied.
    commit.writes = vec![write(&good, None, Some("1"))];
    commit.outbox.clear();
    commit.deadlines.clear();
    store.commit(&commit).await.map_err(unexpected)?;
    let record = store.load(&good).await?;
    let holds = record.as_ref().is_some_and(|record| record.parts.is_empty());
    ensure(holds, || format!("after a refused commit the next one stored {record:?}"))
}

async fn one_writer_wins(store: &Patient) -> Finding {
    let key = RecordKey::new(KIND, fresh_name());
    let commits: Vec<Commit> =
        (0..16).map(|n| commit_of(vec![write(&key, None, Some(&n.to_string()))])).collect();
    let answers = futures::future::join_all(commits.iter().map(|commit| store.commit(commit))).await;
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    ensure(won == 1, || format!("{won} of 16 writers of a new record won"))?;
    let stored = store.load(&key).await?;
    ensure(stored.as_ref().is_some_and(|record| record.version == 1), || format!("stored {stored:?}"))
}

async fn listing(store: &Patient) -> Finding {
    let prefix = fresh_name();
    let ids: Vec<String> = (1..=5).map(|n| format!("{prefix}-{n}")).collect();
    let writes = ids.iter().rev().map(|id| write(&RecordKey::new(KIND, id), None, Some("{}"))).collect();
    store.commit(&commit_of(writes)).await.map_err(unexpected)?;
    let mut seen = Vec::new();
    for limit in [2, 2, 1] {
        let after = seen.last().unwrap_or(&prefix).clone();
        let page = store.list(&after, limit).await?;
        ensure(page.len() == limit, || format!("a page of {limit} after {after} is {page:?}"))?;
        seen.extend(page);
    }
    ensure(seen == ids, || format!("listed {seen:?}, wanted {ids:?}"))?;
    let nothing = store.again(|| store.0.list("contract-unused", None, 5)).await.map_err(unexpected)?;
    ensure(nothing.is_empty(), || format!("an unused kind lists {nothing:?}"))
}

async fn removal(store: &Patient) -> Finding {
    let key = RecordKey::new(KIND, fresh_name());
    let remove = |expected| Write { key: key.clone(), expected, body: Body::Remove };
    store.commit(&commit_of(vec![write(&key, None, Some("1"))])).await.map_err(unexpected)?;
    expect_conflict(store.commit(&commit_of(vec![remove(Some(2))])).await, &key, Some(2), Some(1))?;
    store.commit(&commit_of(vec![remove(Some(1))])).await.map_err(unexpected)?;
    let gone = store.load(&key).await?;
    ensure(gone.is_none(), || format!("removed, but stored: {gone:?}"))?;
    let listed = store.again(|| store.0.list(KIND, Some(&key.id), 1)).await.map_err(unexpected)?;
    ensure(listed.iter().all(|record| record.id != key.id), || format!("removed, but listed: {listed:?}"))?;
    expect_conflict(store.commit(&commit_of(vec![remove(Some(1))])).await, &key, Some(1), None)?;
    store.commit(&commit_of(vec![write(&key, None, Some("2"))])).await.map_err(unexpected)?;
    let again = store.load(&key).await?;
    ensure(again.as_ref().is_some_and(|record| record.version == 1), || format!("written anew: {again:?}"))
}

async fn parts(store: &Patient) -> Finding {
    let key = RecordKey::new(KIND, fresh_name());
    let steps: [&[(&str, &str)]; 3] = [&[("a", "1"), ("b.c", "2")], &[], &[("b.c", "3"), ("d", "4")]];
    let mut wanted = BTreeMap::new();
    for (version, written) in (0_u64..).zip(steps) {
        let put = with_parts(&key, (version > 0).then_some(version), written);
        store.commit(&commit_of(vec![put])).await.map_err(unexpected)?;
        wanted.extend(written.iter().map(|(name, body)| ((*name).to_owned(), (*body).to_owned())));
        let one = store.load(&key).await?;
        let many = store.again(|| store.0.load_all(std::slice::from_ref(&key))).await.map_err(unexpected)?;
        for found in [one.as_ref(), many.first().and_then(Option::as_ref)] {
            let holds = found.is_some_and(|record| record.parts == wanted && record.body == "{}");
            ensure(holds, || format!("after {written:?} was written there is {found:?}"))?;
        }
    }
    let remove = Write { key: key.clone(), expected: Some(3), body: Body::Remove };
    store.commit(&commit_of(vec![remove])).await.map_err(unexpected)?;
    store.commit(&commit_of(vec![write(&key, None, Some("{}"))])).await.map_err(unexpected)?;
    let anew = store.load(&key).await?;
    let holds = anew.as_ref().is_some_and(|record| record.parts.is_empty());
    ensure(holds, || format!("removed and written anew it is {anew:?}"))
}

async fn loading(store: &Patient) -> Finding {
    let keys: Vec<RecordKey> = (0..3).map(|_| RecordKey::new(KIND, fresh_name())).collect();
    let [first, missing, last] = keys.as_slice() else { return Err("three keys".to_owned()) };
    let writes = vec![write(first, None, Some("1")), write(last, None, Some("3"))];
    store.commit(&commit_of(writes)).await.map_err(unexpected)?;
    let asked = [last.clone(), missing.clone(), first.clone()];
    let found = store.again(|| store.0.load_all(&asked)).await.map_err(unexpected)?;
    let ids: Vec<Option<&str>> =
        found.iter().map(|record| record.as_ref().map(|record| record.id.as_str())).collect();
    let wanted = [Some(last.id.as_str()), None, Some(first.id.as_str())];
    ensure(ids == wanted, || format!("asked for {asked:?}, found {found:?}"))
}

async fn outbox(store: &Patient) -> Finding {
    let prefix = fresh_name();
    // Times long past, so that entries of others do not come in between.
    let entry = |name: &str, at: i64| -> Result<OutboxEntry, String> {
        OutboxEntry::new(task(&format!("{prefix}-{name}"))?, Timestamp(at)).map_err(unexpected)
    };
    let commit = Commit {
        outbox: vec![entry("late", 30)?, entry("early", 10)?, entry("middle", 20)?],
        ..commit_of(Vec::new())
    };
    store.commit(&commit).await.map_err(unexpected)?;
    let again = Commit { outbox: vec![entry("early", 15)?], ..commit_of(Vec::new()) };
    store.commit(&again).await.map_err(unexpected)?;
    let ours = |entries: Vec<OutboxEntry>| -> Vec<OutboxEntry> {
        entries.into_iter().filter(|entry| entry.task.job.as_str().contains(&prefix)).collect()
    };
    let (early, middle) = (entry("early", 10)?, entry("middle", 20)?);
    let found = ours(store.outbox(20, 1000).await?);
    ensure(found == [early.clone(), middle.clone()], || format!("by 20 there are {found:?}"))?;
    let limited = store.outbox(30, 1).await?;
    ensure(limited.len() == 1, || format!("a limit of 1 gives {limited:?}"))?;
    store.settle(&[]).await?;
    for _ in 0..2 {
        store.settle(std::slice::from_ref(&early.text)).await?;
    }
    let left = ours(store.outbox(30, 1000).await?);
    ensure(left == [middle.clone(), entry("late", 30)?], || format!("after settling there are {left:?}"))?;
    let left: Vec<String> = left.into_iter().map(|entry| entry.text).collect();
    store.settle(&left).await?;
    let left = ours(store.outbox(30, 1000).await?);
    ensure(left.is_empty(), || format!("after settling the rest there are {left:?}"))
}

async fn due(store: &Patient) -> Finding {
    let prefix = fresh_name();
    let key = |name: &str| RecordKey::new(KIND, format!("{prefix}-{name}"));
    let set = |name: &str, at: Option<i64>| Deadline { key: key(name), at: at.map(Timestamp) };
    let first = Commit {
        deadlines: vec![set("a", Some(30)), set("b", Some(10)), set("c", Some(20)), set("d", Some(5))],
        ..commit_of(Vec::new())
    };
    // Moves one, removes one, and removes one that is not there.
    let second = Commit {
        deadlines: vec![set("b", Some(25)), set("d", None), set("e", None)],
        ..commit_of(Vec::new())
    };
    store.commit(&first).await.map_err(unexpected)?;
    store.commit(&second).await.map_err(unexpected)?;
    let due = store.due(25, 1000).await?;
    let ours: Vec<RecordKey> = due.into_iter().filter(|key| key.id.starts_with(&prefix)).collect();
    ensure(ours == [key("c"), key("b")], || format!("by 25 are due {ours:?}"))?;
    let limited = store.due(30, 1).await?;
    ensure(limited.len() == 1, || format!("a limit of 1 gives {limited:?}"))?;
    let remove =
        Commit { deadlines: vec![set("a", None), set("b", None), set("c", None)], ..commit_of(Vec::new()) };
    store.commit(&remove).await.map_err(unexpected)?;
    let left: BTreeSet<RecordKey> = store.due(30, 1000).await?.into_iter().collect();
    ensure(!left.iter().any(|key| key.id.starts_with(&prefix)), || format!("removed, but due: {left:?}"))
}

/// How long a rule waits for something that must happen.
const DEADLINE: Duration = Duration::from_secs(10);
