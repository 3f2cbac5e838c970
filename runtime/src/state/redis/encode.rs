//! Commits and pages as arguments of Redis.

use clara_lifecycle::time::Timestamp;

use super::REMEMBER_COMMITS;
use crate::state::{Body, Commit, Order, Page};

/// The arguments that `commit.lua` lists, from the commit's id on.
pub(super) fn commit(call: &mut redis::Cmd, commit: &Commit) {
    call.arg(&commit.id).arg(REMEMBER_COMMITS.as_secs());
    call.arg(commit.limits.len());
    for limit in &commit.limits {
        call.arg(&limit.index).arg(limit.below);
    }
    call.arg(commit.writes.len());
    for write in &commit.writes {
        let (change, body, parts) = match &write.body {
            Body::Keep => ("keep", "", [].as_slice()),
            Body::Put { body, parts } => ("put", body.as_str(), parts.as_slice()),
            Body::Remove => ("remove", "", [].as_slice()),
        };
        let expected = write.expected.map(|version| version.to_string()).unwrap_or_default();
        call.arg(write.key.kind).arg(&write.key.id).arg(expected).arg(change).arg(body);
        call.arg(parts.len());
        for (name, body) in parts {
            call.arg(format!("p:{name}")).arg(body);
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
        call.arg(&entry.text).arg(entry.not_before.0);
    }
    call.arg(commit.deadlines.len());
    for deadline in &commit.deadlines {
        let at = deadline.at.map(|at| at.0.to_string()).unwrap_or_default();
        call.arg(deadline.key.to_string()).arg(at);
    }
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
