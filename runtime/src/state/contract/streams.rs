//! Rules about event streams, their times and their watchers.

use clara_lifecycle::time::Timestamp;
use tokio::sync::broadcast::error::RecvError;

use super::{Commit, DEADLINE, Patient, commit_of, fresh_name};
use crate::contract::{Finding, ensure, unexpected};

pub(super) fn event_commit(stream: &str, body: &str) -> Commit {
    Commit { events: vec![(stream.to_owned(), body.to_owned())], ..commit_of(Vec::new()) }
}

pub(super) async fn numbering(store: &Patient) -> Finding {
    const WRITERS: u64 = 16;
    const EACH: u64 = 8;
    let (shared, other) = (fresh_name(), fresh_name());
    let writers = (0..WRITERS).map(|writer| {
        let (store, shared, other) = (store.clone(), shared.clone(), other.clone());
        async move {
            for n in 0..EACH {
                let mut commit = event_commit(&shared, &format!("[{writer},{n}]"));
                commit.events.push((other.clone(), "0".to_owned()));
                store.commit(&commit).await.map_err(unexpected)?;
            }
            Ok::<(), String>(())
        }
    });
    futures::future::join_all(writers).await.into_iter().collect::<Result<(), String>>()?;
    for stream in [&shared, &other] {
        let events = store.events(stream, 0, 10_000).await?;
        let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
        let wanted: Vec<u64> = (1..=WRITERS * EACH).collect();
        ensure(numbers == wanted, || {
            format!("{WRITERS} writers of {EACH} events numbered them {numbers:?}")
        })?;
    }
    // What one writer wrote in order stays in order.
    let bodies: Vec<String> = store.events(&shared, 0, 10_000).await?.into_iter().map(|e| e.body).collect();
    for writer in 0..WRITERS {
        let ours: Vec<&String> = bodies.iter().filter(|b| b.starts_with(&format!("[{writer},"))).collect();
        let wanted: Vec<String> = (0..EACH).map(|n| format!("[{writer},{n}]")).collect();
        ensure(ours.iter().copied().eq(wanted.iter()), || format!("writer {writer} wrote {ours:?}"))?;
    }
    Ok(())
}

pub(super) async fn many_at_once(store: &Patient) -> Finding {
    const EVENTS: u64 = 2500;
    let (stream, other) = (fresh_name(), fresh_name());
    let mut commit = commit_of(Vec::new());
    for n in 1..=EVENTS {
        commit.events.push((stream.clone(), n.to_string()));
    }
    commit.events.push((other.clone(), "1".to_owned()));
    store.commit(&commit).await.map_err(unexpected)?;
    let events = store.events(&stream, 0, 10_000).await?;
    let is_in_order = events.iter().all(|event| event.body == event.number.to_string());
    ensure(events.len() as u64 == EVENTS && is_in_order, || {
        format!("{EVENTS} events of one commit became {}, in order: {is_in_order}", events.len())
    })?;
    let others = store.events(&other, 0, 10).await?.len();
    ensure(others == 1, || format!("the stream beside them has {others} events"))
}

pub(super) async fn paging(store: &Patient) -> Finding {
    let stream = fresh_name();
    for n in 1..=5 {
        store.commit(&event_commit(&stream, &n.to_string())).await.map_err(unexpected)?;
    }
    for (after, limit, wanted) in [(0, 2, vec![1, 2]), (2, 2, vec![3, 4]), (4, 2, vec![5]), (5, 2, vec![])] {
        let numbers: Vec<u64> =
            store.events(&stream, after, limit).await?.iter().map(|event| event.number).collect();
        ensure(numbers == wanted, || format!("{limit} events after {after} are {numbers:?}"))?;
    }
    let unknown = store.events(&fresh_name(), 0, 2).await?;
    ensure(unknown.is_empty(), || format!("a stream that nobody wrote holds {unknown:?}"))
}

pub(super) async fn time(store: &Patient) -> Finding {
    let stream = fresh_name();
    let mut latest = Timestamp(0);
    for n in 1..=20_u64 {
        let before = store.now().await?;
        store.commit(&event_commit(&stream, "0")).await.map_err(unexpected)?;
        let written = store.events(&stream, n - 1, 1).await?;
        let at = written.first().ok_or_else(|| format!("event {n} is missing"))?.at;
        let after = store.now().await?;
        let in_order = latest <= before && before <= at && at <= after;
        ensure(in_order, || {
            format!("{before:?} before, {at:?} stored, {after:?} after; earlier {latest:?}")
        })?;
        latest = after;
    }
    Ok(())
}

pub(super) async fn watching(store: &Patient) -> Finding {
    let stream = fresh_name();
    let mut watcher = store.0.watch();
    // A hint may be lost: commits go on until one of them is noticed.
    let grow = async {
        loop {
            store.commit(&event_commit(&stream, "0")).await.map_err(unexpected)?;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let notice = async {
        loop {
            match watcher.recv().await {
                Ok(grown) if grown == stream => return Ok(()),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err("the watcher was closed".to_owned()),
            }
        }
    };
    tokio::select! {
        grown = grow => grown,
        noticed = notice => noticed,
        () = tokio::time::sleep(DEADLINE) => Err(format!("no wake-up within {DEADLINE:?}")),
    }
}
