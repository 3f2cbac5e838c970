//! Pages through all rows of a table in the order of their keys, and believes no page that goes backwards.

use std::{cmp::Ordering, time::Duration};

use serde_json::{Value, json};

use super::server::Server;
use crate::fetch::{
    FetchError,
    http::{Answer, Ask},
};

/// Pause before a server that repeats itself is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// Name of the key in our projection.
const KEY: &str = "clara_key";
/// ThemisDB refuses queries that hold one of these, even within a text.
const REFUSED_WORDS: [&str; 9] =
    ["drop ", "alter ", "insert ", "update ", "delete ", "grant ", "revoke ", "truncate ", "create table"];

/// Some rows.
#[derive(Debug, PartialEq)]
pub(super) struct Rows {
    /// Keys behind the asked place, ascending; empty at the end of the table.
    pub(super) keys: Vec<Value>,
    /// The server's mark of the end of this page.
    pub(super) token: Option<String>,
}

/// The rows behind `last`, by the server's own `token` of that place when there is one.
///
/// A token is only a short cut: it may have expired, may be of another server or name a row that was deleted, and then gives an
/// error, an empty page or the first page again. In all these cases, and at the end, the place itself is asked for.
///
/// # Errors
/// As [`crate::fetch::http::Http::ask`]; also when the server does not serve the query.
pub(super) async fn page(
    server: &Server,
    last: Option<&Value>,
    token: Option<&str>,
) -> Result<Rows, FetchError> {
    let by_token = match token {
        Some(token) if is_plain(server) => aql(server, None, Some(token)).await?.ok(),
        _ => None,
    };
    if let Some(rows) = by_token {
        let rows = rows.behind(last);
        if !rows.keys.is_empty() {
            return Ok(rows);
        }
    }
    let mut pause = PAUSE;
    loop {
        let rows = by_place(server, last).await?;
        let is_end = rows.keys.is_empty();
        let rows = rows.behind(last);
        if is_end || !rows.keys.is_empty() {
            return Ok(rows);
        }
        server.http.rest("it gives rows again that were read already", None, &mut pause).await?;
    }
}

/// A key as part of a path.
pub(super) fn key_text(key: &Value) -> String {
    match key {
        Value::String(key) => key.clone(),
        other => other.to_string(),
    }
}

impl Rows {
    /// Only the rows behind `last`, each once and ascending.
    fn behind(mut self, last: Option<&Value>) -> Self {
        self.keys.retain(|key| last.is_none_or(|last| order(key, last) == Ordering::Greater));
        self.keys.sort_by(order);
        self.keys.dedup();
        self
    }
}

/// The order of a range index: numbers before texts, texts by their bytes.
fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_i64().cmp(&right.as_i64()),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Number(_), _) => Ordering::Less,
        (_, Value::Number(_)) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

async fn by_place(server: &Server, last: Option<&Value>) -> Result<Rows, FetchError> {
    let filter = server.filter.as_deref().unwrap_or_default();
    if let Some(word) = refused_word(filter) {
        return Err(server.http.refused(format!(
            "ThemisDB refuses queries that hold `{}`, even within a text, and {}.filter holds it; write the filter without it",
            word.trim_end(),
            server.http.section()
        )));
    }
    let is_refused = last.is_some_and(|last| refused_word(&literal(last)).is_some());
    if !is_plain(server) || is_refused {
        return keys(server, last).await;
    }
    match aql(server, last, None).await? {
        Ok(rows) => Ok(rows),
        Err(Answer::TooLong) => keys(server, last).await,
        Err(answer) => Err(refused(server, &answer)),
    }
}

/// One page by AQL; `Err` within is a refusal.
async fn aql(
    server: &Server,
    last: Option<&Value>,
    token: Option<&str>,
) -> Result<Result<Rows, Answer>, FetchError> {
    let mut body = json!({ "query": query(server, last), "use_cursor": true, "page_size": server.page });
    if let (Some(token), Some(body)) = (token, body.as_object_mut()) {
        body.insert("cursor".to_owned(), token.into());
    }
    let answer = match server.json(&Ask::post("query/aql", body)).await? {
        Ok(answer) => answer,
        Err(answer) => return Ok(Err(answer)),
    };
    let rows = ["items", "result", "entities"].iter().find_map(|name| answer.get(name)?.as_array());
    let Some(rows) = rows else {
        return Err(server.not_served(
            "AQL",
            &Answer::Body(Vec::new()),
            "expected a list `items` or `result`",
        ));
    };
    let keys = rows.iter().map(|row| row_key(server, row)).collect::<Result<_, _>>()?;
    let token = answer.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
    Ok(Ok(Rows { keys, token }))
}

/// One page by the plain query, which looks for no refused words and gives nothing but keys.
async fn keys(server: &Server, last: Option<&Value>) -> Result<Rows, FetchError> {
    if server.filter.is_some() {
        return Err(server.http.refused(format!(
            "{}.filter cannot be used here: a table or column whose name is no plain word, or a key with a word that ThemisDB \
             refuses, cannot be named in AQL; remove the filter",
            server.http.section()
        )));
    }
    let mut body = json!({
        "table": server.table,
        "order_by": { "column": server.key, "limit": server.page },
        // The optimiser forgets order and range.
        "optimize": false,
        "return": "keys",
    });
    if let (Some(last), Some(body)) = (last, body.as_object_mut()) {
        let range = json!([{ "column": server.key, "gte": key_text(last), "includeLower": false }]);
        body.insert("range".to_owned(), range);
    }
    let answer = match server.json(&Ask::post("query", body)).await? {
        Ok(answer) => answer,
        Err(answer) => return Err(refused(server, &answer)),
    };
    let Some(keys) = answer.get("keys").and_then(Value::as_array) else {
        return Err(server.not_served("a query", &Answer::Body(Vec::new()), "expected a list `keys`"));
    };
    Ok(Rows { keys: keys.clone(), token: None })
}

fn query(server: &Server, last: Option<&Value>) -> String {
    let Server { table, key, page, .. } = server;
    let mut conditions: Vec<String> = Vec::new();
    conditions.extend(last.map(|last| format!("d.{key} > {}", literal(last))));
    conditions.extend(server.filter.as_ref().map(|filter| format!("({filter})")));
    let filter =
        if conditions.is_empty() { String::new() } else { format!(" FILTER {}", conditions.join(" AND ")) };
    format!("FOR d IN {table}{filter} SORT d.{key} ASC LIMIT {page} RETURN {{{KEY}: d.{key}}}")
}

/// A key as a literal: ThemisDB of 2025 ignores bind variables.
fn literal(key: &Value) -> String {
    key.to_string()
}

fn refused_word(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    REFUSED_WORDS
        .into_iter()
        .find(|word| lower.contains(word))
        .or_else(|| lower.contains(";;").then_some(";;"))
}

/// Whether table and key can be named in AQL.
fn is_plain(server: &Server) -> bool {
    let is_word = |text: &str| {
        !text.is_empty()
            && !text.starts_with(|first: char| first.is_ascii_digit())
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    is_word(&server.table) && server.key.split('.').all(is_word)
}

/// The key of a row: of our projection, or of a whole document, which ThemisDB of 2025 gives as a text within the JSON.
fn row_key(server: &Server, row: &Value) -> Result<Value, FetchError> {
    let parsed = match row {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| row.clone()),
        other => other.clone(),
    };
    let key = match &parsed {
        Value::Object(document) => {
            let inner = document.get(KEY).or_else(|| super::record::lookup(document, &server.key));
            inner.or_else(|| document.get("_key")).cloned()
        }
        scalar => Some(scalar.clone()),
    };
    match key {
        Some(Value::String(key)) if !key.is_empty() => {
            let prefix = format!("{}:", server.table);
            Ok(Value::String(key.strip_prefix(&prefix).unwrap_or(&key).to_owned()))
        }
        Some(Value::Number(key)) if key.is_i64() => Ok(Value::Number(key)),
        _ => Err(server.http.refused(format!(
            "a row of table `{}` tells no key in `{}`; name a stored column with the primary key in {}.key",
            server.table,
            server.key,
            server.http.section()
        ))),
    }
}

fn refused(server: &Server, answer: &Answer) -> FetchError {
    let section = server.http.section();
    let (table, key) = (&server.table, &server.key);
    let needs_index = matches!(answer, Answer::Refused { message, .. } if message.contains("range index"));
    let remedy = if needs_index {
        format!(
            "create the index by POST /index/create {{\"table\":\"{table}\",\"column\":\"{key}\",\"type\":\"range\"}}, or name \
             another column with the primary key in {section}.key; an unknown table gives the same answer"
        )
    } else {
        format!("correct table, key and filter in {section}")
    };
    server.not_served("reading", answer, &remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_go_backwards_give_nothing_new() {
        let keys = |keys: &[&str]| keys.iter().map(|key| Value::from(*key)).collect::<Vec<_>>();
        let rows = Rows { keys: keys(&["a", "c", "b", "c", "d"]), token: None };
        assert_eq!(rows.behind(Some(&"b".into())).keys, keys(&["c", "d"]));
        let rows = Rows { keys: vec![9.into(), 10.into(), "1".into()], token: None };
        assert_eq!(rows.behind(Some(&9.into())).keys, [Value::from(10), Value::from("1")]);
    }

    #[test]
    fn german_texts_that_themisdb_refuses_are_known() {
        assert_eq!(refused_word("\"Alter Bescheid\""), Some("alter "));
        assert_eq!(refused_word("ein Mindestalter von 18"), Some("alter "));
        assert_eq!(refused_word("Altersgrenze"), None);
        assert_eq!(refused_word("a;;b"), Some(";;"));
    }

    #[test]
    fn a_key_cannot_leave_its_literal() {
        assert_eq!(literal(&"a\" || true || \"\\".into()), r#""a\" || true || \"\\""#);
        assert_eq!(literal(&7.into()), "7");
    }
}
