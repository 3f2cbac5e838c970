//! Reads the changefeed: what changed since a sequence, and where it stands now.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;
use tracing::warn;

use super::{fulltext::MOST_KEYS, server::Server};
use crate::fetch::{
    FetchError,
    http::{Answer, Ask, encode},
};

/// Pause before the feed is asked again when it repeats itself.
const PAUSE: Duration = Duration::from_millis(200);

/// A feed that does not answer for so long is not waited for when only its state is wanted.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// One change of a document.
struct Change {
    sequence: u64,
    key: String,
    is_put: bool,
}

/// Some changes, and where the feed stands.
struct Changes {
    events: Vec<Change>,
    /// Sequence of the last event, of this table or not.
    last: Option<u64>,
    latest: u64,
}

/// The feed's latest sequence; `None` where the server keeps no feed or does not show it to us: documents are read without one.
pub(super) async fn latest(server: &Server) -> Option<u64> {
    let problem = match tokio::time::timeout(LONGEST_LOOK, page(server, 0, 1)).await {
        Ok(Ok(Ok(changes))) => return Some(changes.latest),
        Ok(Ok(Err(Answer::Refused { status: 404, .. }))) => return None,
        Ok(Ok(Err(answer))) => format!("{answer:?}"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it does not answer within {LONGEST_LOOK:?}"),
    };
    warn!(
        "no later increment of table {} is possible, its changefeed cannot be read: {problem}",
        server.table
    );
    None
}

/// Keys of the documents that were written since `{"sequence": n}` and were not deleted after, in the order of their last
/// change, and the sequence up to which this is all.
///
/// # Errors
/// [`FetchError::Refused`] when there is no feed, or when it does not reach back that far.
pub(super) async fn since(server: &Server, since: &Value) -> Result<(Vec<String>, u64), FetchError> {
    let Some(start) = since.get("sequence").and_then(Value::as_u64) else {
        return Err(server
            .http
            .refused("the newest dataset of the family tells no sequence; leave --since-last out"));
    };
    let (mut at, mut limit, mut until) = (start, server.page, None);
    let mut changed: HashMap<String, (u64, bool)> = HashMap::new();
    let mut pause = PAUSE;
    loop {
        let found = match page(server, at, limit).await? {
            Ok(found) => found,
            Err(Answer::TooLong) if limit > 1 => {
                limit /= 2;
                continue;
            }
            Err(answer) => return Err(no_feed(server, &answer)),
        };
        let until = *until.get_or_insert(found.latest);
        if until < start {
            return Err(server.http.refused(format!(
                "its changefeed stands at {until}, before {start} where the newest dataset left off, so that it was begun anew; \
                 leave --since-last out"
            )));
        }
        for change in found.events.into_iter().filter(|change| change.sequence > at) {
            changed.insert(change.key, (change.sequence, change.is_put));
        }
        if changed.len() > MOST_KEYS {
            return Err(server.http.refused(format!(
                "more than {MOST_KEYS} documents changed since the newest dataset; leave --since-last out"
            )));
        }
        match found.last {
            None => break,
            Some(last) if last > at => at = last,
            Some(_) => server.http.rest("its changefeed repeats itself", None, &mut pause).await?,
        }
        if at >= until {
            break;
        }
        server.http.news();
    }
    let mut keys: Vec<(u64, String)> = changed
        .into_iter()
        .filter_map(|(key, (sequence, is_put))| is_put.then_some((sequence, key)))
        .collect();
    keys.sort_unstable();
    Ok((keys.into_iter().map(|(_, key)| key).collect(), until.unwrap_or(start).max(at)))
}

async fn page(server: &Server, from: u64, limit: usize) -> Result<Result<Changes, Answer>, FetchError> {
    let prefix = format!("{}:", server.table);
    let ask = Ask::get(format!("changefeed?from_seq={from}&limit={limit}&key_prefix={}", encode(&prefix)));
    let answer = match server.json(&ask).await? {
        Ok(answer) => answer,
        Err(answer) => return Ok(Err(answer)),
    };
    let events = answer.get("events").and_then(Value::as_array);
    let latest = number(&answer, &["latest_sequence", "latest_seq", "last_sequence"]);
    let (Some(events), Some(latest)) = (events, latest) else {
        return Ok(Err(Answer::Body(Vec::new())));
    };
    let mut changes = Vec::with_capacity(events.len());
    let mut last = None;
    for event in events {
        let Some(sequence) = number(event, &["sequence", "seq", "id"]) else {
            return Ok(Err(Answer::Body(Vec::new())));
        };
        last = last.max(Some(sequence));
        let kind =
            text(event, &["type", "event_type", "op", "operation"]).unwrap_or_default().to_ascii_uppercase();
        let is_put = matches!(kind.as_str(), "PUT" | "INSERT" | "UPDATE" | "UPSERT");
        // Transactions name no document.
        if !is_put && kind != "DELETE" {
            continue;
        }
        // The server's own filter is not trusted.
        let Some(key) = text(event, &["key", "entity_key"]).and_then(|key| key.strip_prefix(&prefix)) else {
            continue;
        };
        changes.push(Change { sequence, key: key.to_owned(), is_put });
    }
    Ok(Ok(Changes { events: changes, last, latest }))
}

fn no_feed(server: &Server, answer: &Answer) -> FetchError {
    server.not_served(
        "the changefeed",
        answer,
        "switch on features.cdc at the server, or leave --since-last out, which reads all documents",
    )
}

fn number(value: &Value, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| value.get(name)?.as_u64())
}

fn text<'a>(value: &'a Value, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| value.get(name)?.as_str())
}
