//! What Redis answers, as the port has it.

use std::collections::BTreeMap;

use clara_lifecycle::time::Timestamp;

use crate::state::{Commit, OutboxEntry, Record, StateError, StoredEvent};

/// What became of a commit.
pub(super) fn outcome(answer: &[String], commit: &Commit, server: &str) -> Result<(), StateError> {
    let parts: Vec<&str> = answer.iter().map(String::as_str).collect();
    match parts[..] {
        ["ok"] => Ok(()),
        ["emptied"] => Err(StateError::Emptied { store: server.to_owned() }),
        ["limit", index, below] => {
            let below = below.parse().unwrap_or_default();
            Err(StateError::LimitReached { index: index.to_owned(), below })
        }
        ["conflict", kind, id, found] => {
            let refused = commit.writes.iter().find(|write| write.key.kind == kind && write.key.id == id);
            match refused {
                Some(write) => Err(StateError::Conflict {
                    key: write.key.clone(),
                    expected: write.expected,
                    found: found.parse().ok(),
                }),
                None => Err(unreadable(server, "a conflict of another record")),
            }
        }
        ["failed", reason] => {
            Err(StateError::Unavailable { store: server.to_owned(), reason: reason.to_owned() })
        }
        _ => Err(unreadable(server, "an answer of another form")),
    }
}

/// An event as the script stores it: its time, then its body.
pub(super) fn event(row: &str, number: u64, server: &str) -> Result<StoredEvent, StateError> {
    let parts = row.split_once('|').and_then(|(at, body)| Some((at.parse().ok()?, body)));
    let (at, body) = parts.ok_or_else(|| unreadable(server, "an event without a time"))?;
    Ok(StoredEvent { number, at: Timestamp(at), body: body.to_owned() })
}

/// A record as the script stores it: its version, its body, and its parts.
pub(super) fn record(
    id: &str,
    mut fields: BTreeMap<String, String>,
    server: &str,
) -> Result<Record, StateError> {
    let version = fields.remove("v").and_then(|version| version.parse().ok());
    let (version, body) = version
        .zip(fields.remove("b"))
        .ok_or_else(|| unreadable(server, "a record without a version or body"))?;
    let part = |(field, body): (String, String)| Some((field.strip_prefix("p:")?.to_owned(), body));
    Ok(Record { id: id.to_owned(), version, body, parts: fields.into_iter().filter_map(part).collect() })
}

pub(super) fn outbox_entry(text: String, not_before: &str, server: &str) -> Result<OutboxEntry, StateError> {
    let task = serde_json::from_str(&text).map_err(|error| unreadable(server, &error.to_string()))?;
    let not_before: f64 = not_before.parse().map_err(|_| unreadable(server, "a time that is no number"))?;
    #[expect(clippy::cast_possible_truncation, reason = "whole milliseconds, far below 2^53")]
    Ok(OutboxEntry { text, task, not_before: Timestamp(not_before as i64) })
}

fn unreadable(server: &str, what: &str) -> StateError {
    StateError::Refused {
        store: server.to_owned(),
        reason: format!("it holds or answers {what}; it was written by another version or by something else"),
    }
}
