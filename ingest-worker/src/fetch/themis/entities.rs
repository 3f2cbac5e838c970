//! Reads documents by their keys, several at once, in the order of the keys.

use futures::{StreamExt as _, stream};
use serde_json::{Map, Value};

use super::server::Server;
use crate::fetch::{
    FetchError, Fetched,
    http::{Answer, Ask, encode},
};

/// A page ends when it holds so much, so that long documents do not fill the memory.
const MOST_PAGE_BYTES: usize = 32 << 20;
/// Where documents lie: `entities/TABLE:KEY`.
const PATH: &str = "entities";

/// What came of some keys.
pub(super) struct Found {
    pub(super) documents: Vec<Fetched>,
    /// So many of the keys were read, from the first on.
    pub(super) read: usize,
    /// So many of those hold no document any more.
    pub(super) gone: u64,
}

/// Reads the documents of `keys` until all are read or the page is full.
///
/// # Errors
/// As [`crate::fetch::http::Http::ask`].
pub(super) async fn fetch(server: &Server, keys: &[String]) -> Result<Found, FetchError> {
    let mut answers = stream::iter(keys.to_vec())
        .map(|key| async move { document(server, &key).await })
        .buffered(server.parallel);
    let mut found = Found { documents: Vec::new(), read: 0, gone: 0 };
    let mut bytes = 0;
    while bytes < MOST_PAGE_BYTES
        && let Some(answer) = answers.next().await
    {
        let (document, size_bytes) = answer?;
        server.http.news();
        bytes += size_bytes;
        found.read += 1;
        match document {
            Some(document) => found.documents.push(document),
            None => found.gone += 1,
        }
    }
    Ok(found)
}

/// The document of a key and its size; `None` when it is gone.
async fn document(server: &Server, key: &str) -> Result<(Option<Fetched>, usize), FetchError> {
    let ask = Ask::get(format!("{PATH}/{}:{}", encode(&server.table), encode(key)));
    let broken = |problem: String| Some(Fetched::Broken { id: key.to_owned(), problem });
    Ok(match server.http.ask(&ask).await? {
        Answer::Refused { status: 404, .. } => (None, 0),
        Answer::Refused { status, message } => (broken(format!("the server answers {status}: {message}")), 0),
        Answer::TooLong => (broken("it is longer than 64 MiB".to_owned()), 0),
        Answer::Body(body) => {
            let document = match understand(server, key, &body) {
                Ok(record) => Fetched::Record(record),
                Err(problem) => Fetched::Broken { id: key.to_owned(), problem },
            };
            (Some(document), body.len())
        }
    })
}

/// The record of an answer; a problem does not quote it.
fn understand(server: &Server, key: &str, body: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "it is no UTF-8".to_owned())?;
    let answer: Value = serde_json::from_str(text).map_err(|_| "the answer is no JSON".to_owned())?;
    let expected = format!("{}:{key}", server.table);
    if answer.get("key").and_then(Value::as_str).is_some_and(|found| found != expected && found != key) {
        return Err("the answer is for another key".to_owned());
    }
    let document = match answer.get("blob") {
        Some(Value::String(blob)) => serde_json::from_str(blob).map_err(|_| "it is no JSON".to_owned())?,
        Some(blob) => blob.clone(),
        None => answer,
    };
    match document {
        Value::Object(document) => server.mapping.record(key, &document),
        _ => Err("it is no JSON object".to_owned()),
    }
}
