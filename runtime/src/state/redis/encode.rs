//! Commits and pages as arguments of Redis.

use clara_lifecycle::time::Timestamp;
use redis::RedisError;

use super::REMEMBER_COMMITS;
use crate::{
    broker::Task,
    state::{Body, Commit, Order, Page},
};

/// The arguments that `commit.lua` lists, from the commit's id on.
pub(super) fn commit(call: &mut redis::Cmd, commit: &Commit) -> Result<(), RedisError> {
    call.arg(&commit.id).arg(REMEMBER_COMMITS.as_secs());
    call.arg(commit.limits.len());
    for limit in &commit.limits {
        call.arg(&limit.index).arg(limit.below);
    }
    call.arg(commit.writes.len());
    for write in &commit.writes {
        let (change, body) = match &write.body {
            Body::Keep => ("keep", ""),
            Body::Put(body) => ("put", body.as_str()),
            Body::Remove => ("remove", ""),
        };
        let expected = write.expected.map(|version| version.to_string()).unwrap_or_default();
        call.arg(write.key.kind).arg(&write.key.id).arg(expected).arg(change).arg(body);
        let parts: Vec<_> = commit.parts.iter().filter(|part| part.record == write.key).collect();
        call.arg(parts.len());
        for part in parts {
            call.arg(format!("p:{}", part.name)).arg(&part.body);
        }
    }
    call.arg(commit.indexes.len());
    for change in &commit.indexes {
        call.arg(&change.index).arg(&change.member).arg(u8::from(change.present));
    }
    call.arg(commit.events.len());
    for (stream, body) in &commit.events {
        call.arg(stream).arg(body);
    }
    call.arg(commit.outbox.len());
    for entry in &commit.outbox {
        call.arg(task(&entry.task)?).arg(entry.not_before.0);
    }
    call.arg(commit.deadlines.len());
    for deadline in &commit.deadlines {
        let at = deadline.at.map(|at| at.0.to_string()).unwrap_or_default();
        call.arg(deadline.key.to_string()).arg(at);
    }
    Ok(())
}

/// A task in the outbox.
pub(super) fn task(task: &Task) -> Result<String, RedisError> {
    serde_json::to_string(task).map_err(|error| {
        RedisError::from((redis::ErrorKind::Client, "a task cannot be written", error.to_string()))
    })
}

/// Reads members of a sorted set with scores up to `until`, the smallest first.
pub(super) fn up_to(key: String, until: Timestamp, limit: usize) -> redis::Cmd {
    let mut query = redis::cmd("ZRANGE");
    query.arg(key).arg("-inf").arg(until.0).arg("BYSCORE").arg("LIMIT").arg(0).arg(limit);
    query
}

/// Reads a page of a sorted set whose scores are all 0.
pub(super) fn range(key: String, page: &Page) -> redis::Cmd {
    let mut query = redis::cmd("ZRANGE");
    query.arg(key);
    let beyond = page.after.as_ref().map(|after| format!("({after}"));
    match page.order {
        Order::Ascending => query.arg(beyond.as_deref().unwrap_or("-")).arg("+").arg("BYLEX"),
        Order::Descending => query.arg(beyond.as_deref().unwrap_or("+")).arg("-").arg("BYLEX").arg("REV"),
    };
    query.arg("LIMIT").arg(0).arg(page.limit);
    query
}
