//! The answers of the double, route by route.

use axum::{
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};

use super::{Cursors, Generation, Shared, aql, search};

/// A page without a limit.
const PAGE: usize = 1000;

/// The right answer to a request.
pub(crate) fn answer(
    shared: &Shared,
    method: &str,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let quirks = &shared.quirks;
    let (place, query) = path.split_once('?').unwrap_or((path, ""));
    let is_open = place == "/query/aql" || place.starts_with("/search/");
    if let Some(token) = &quirks.token
        && !(is_open && quirks.generation == Generation::T25)
        && let Some(refused) = unauthorised(token, headers)
    {
        return refused;
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match (method, place) {
        ("POST", "/search/fulltext") => fulltext(shared, &body),
        ("POST", "/query/aql") => rows(shared, &body),
        ("POST", "/query") => keys(shared, &body),
        ("GET", "/changefeed") => changefeed(shared, query),
        ("POST", "/api/export/jsonl_llm") if quirks.export => export(shared, &body),
        ("GET", "/health") => ok(&json!({ "status": "healthy", "version": "1.0" })),
        _ => match place.strip_prefix("/entities/") {
            Some(key) if method == "GET" => entity(shared, key),
            _ => error(quirks.generation, 404, "Not found"),
        },
    }
}

fn ok(body: &Value) -> Response {
    axum::Json(body).into_response()
}

fn error(generation: Generation, status: u16, message: &str) -> Response {
    let status_code = StatusCode::from_u16(status).unwrap_or_default();
    let body = match generation {
        Generation::T25 => json!({ "error": true, "message": message, "status_code": status }),
        Generation::T26 => json!({ "error": message, "code": "E_REQUEST", "status": status }),
    };
    (status_code, axum::Json(body)).into_response()
}

fn unauthorised(token: &str, headers: &HeaderMap) -> Option<Response> {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    let (code, message) = match given {
        None => ("missing_authorization", "Missing Authorization header"),
        Some(given) if given == format!("Bearer {token}") => return None,
        Some(_) => ("invalid_authorization", "Token has expired"),
    };
    let body = json!({ "error": code, "message": message });
    let header = [("www-authenticate", "Bearer realm=\"themis\"")];
    Some((StatusCode::UNAUTHORIZED, header, axum::Json(body)).into_response())
}

fn entity(shared: &Shared, key: &str) -> Response {
    let key = decode(key);
    let stored =
        key.strip_prefix("documents:").and_then(|key| shared.store.lock().documents.get(key).cloned());
    let Some(stored) = stored else {
        return error(shared.quirks.generation, 404, "Entity not found");
    };
    match String::from_utf8(stored) {
        Ok(blob) => ok(&json!({ "key": key, "blob": blob })),
        // The server does not look into what it stores.
        Err(bytes) => {
            let mut body = format!("{{\"key\":\"{key}\",\"blob\":\"").into_bytes();
            body.extend(bytes.into_bytes().into_iter().filter(|byte| *byte != b'"'));
            body.extend(b"\"}");
            body.into_response()
        }
    }
}

fn decode(key: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = key.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn fulltext(shared: &Shared, body: &Value) -> Response {
    let (table, column) =
        (body["table"].as_str().unwrap_or_default(), body["column"].as_str().unwrap_or_default());
    if table != "documents" || !shared.quirks.fulltext.contains(column) {
        let message = format!("No fulltext index on {table}.{column}");
        return error(shared.quirks.generation, 400, &message);
    }
    let query = body["query"].as_str().unwrap_or_default();
    let limit = size(&body["limit"]);
    let results: Vec<Value> = search::search(&shared.store.lock(), column, query, limit)
        .into_iter()
        .map(|(pk, score)| json!({ "pk": pk, "score": score }))
        .collect();
    ok(
        &json!({ "count": results.len(), "results": results, "table": table, "column": column, "query": query }),
    )
}

/// A limit, or the server's own.
fn size(limit: &Value) -> usize {
    limit.as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE)
}

fn rows(shared: &Shared, body: &Value) -> Response {
    let quirks = &shared.quirks;
    let query = match aql::parse(body["query"].as_str().unwrap_or_default()) {
        Ok(query) => query,
        Err(message) => return error(quirks.generation, 400, &message),
    };
    if body.get("cursor").is_some_and(|cursor| !cursor.is_string()) {
        return error(quirks.generation, 400, "Invalid JSON: type must be string, but is null");
    }
    let sort = query.sort.clone().unwrap_or_default();
    if query.table != "documents" || !quirks.range.contains(&sort) {
        return error(quirks.generation, 400, &format!("ORDER BY requires range index on column: {sort}"));
    }
    let token = body["cursor"].as_str().filter(|_| body["use_cursor"] == true);
    if token.is_some() && quirks.cursors == Cursors::Expire {
        return error(quirks.generation, 400, "Cursor has expired. Please start a new query.");
    }
    let mut found = sorted(shared, &sort);
    if !quirks.stuck {
        found
            .retain(|(_, document)| query.conditions.iter().all(|condition| aql::holds(document, condition)));
        if let (Some(token), Cursors::Work) = (token, quirks.cursors) {
            match behind(shared, token, &sort) {
                Some(anchor) => {
                    found.retain(|(key, document)| (order_value(document, &sort), key.clone()) > anchor);
                }
                // A foreign token, or one whose row is gone, gives an empty page and no error.
                None => found.clear(),
            }
        }
    }
    let limit = query.limit.unwrap_or(PAGE);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().map(|(key, _)| encode_token(key, &query.table));
    let items: Vec<Value> = found.into_iter().map(|(_, document)| row(shared, &query, document)).collect();
    if body["use_cursor"] != true || quirks.cursors == Cursors::None {
        return ok(
            &json!({ "table": query.table, "count": items.len(), "entities": items, "result": items }),
        );
    }
    let mut reply = json!({ "items": items, "has_more": has_more, "batch_size": items.len() });
    if let Some(next) = next.filter(|_| has_more || quirks.cursors == Cursors::Repeat) {
        reply["next_cursor"] = next.into();
    }
    ok(&reply)
}

/// Keys and documents in the order of a range index; documents without the column are not in it.
fn sorted(shared: &Shared, column: &str) -> Vec<(String, Value)> {
    let store = shared.store.lock();
    // The server does not look into what it stores: bytes that are no UTF-8 keep nobody out of an index.
    let parsed = store.documents.iter().filter_map(|(key, stored)| {
        Some((key.clone(), serde_json::from_str(&String::from_utf8_lossy(stored)).ok()?))
    });
    let mut found: Vec<(String, Value)> =
        parsed.filter(|(_, document): &(String, Value)| !aql::lookup(document, column).is_null()).collect();
    found.sort_by_key(|(key, document)| (order_value(document, column), key.clone()));
    found
}

fn order_value(document: &Value, column: &str) -> String {
    match aql::lookup(document, column) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn behind(shared: &Shared, token: &str, sort: &str) -> Option<(String, String)> {
    let key = token.strip_prefix("documents/")?;
    let stored = shared.store.lock().documents.get(key).cloned()?;
    let document: Value = serde_json::from_slice(&stored).ok()?;
    Some((order_value(&document, sort), key.to_owned()))
}

/// The server encodes key and table; clients must not look into it.
fn encode_token(key: &str, table: &str) -> String {
    format!("{table}/{key}")
}

fn row(shared: &Shared, query: &aql::Query, document: Value) -> Value {
    let quirks = &shared.quirks;
    if !quirks.string_rows
        && let Some((name, path)) = &query.projection
    {
        return json!({ name: aql::lookup(&document, path) });
    }
    let mut document = document;
    if quirks.lossy_rows
        && let Value::Object(fields) = &mut document
    {
        fields.retain(|_, value| !value.is_object() && !value.is_array());
    }
    if quirks.string_rows { Value::String(document.to_string()) } else { document }
}

fn keys(shared: &Shared, body: &Value) -> Response {
    let generation = shared.quirks.generation;
    let column = body["order_by"]["column"].as_str().unwrap_or_default();
    if body["table"] != "documents" || !shared.quirks.range.contains(column) {
        return error(generation, 400, &format!("ORDER BY requires range index on column: {column}"));
    }
    let mut found = sorted(shared, column);
    // The optimiser forgets order and range, and finds nothing without a predicate.
    if body["optimize"] != false {
        found.clear();
    }
    let range = &body["range"][0];
    if let Some(from) = range["gte"].as_str() {
        let is_included = range["includeLower"] != false;
        found.retain(|(_, document)| {
            let value = order_value(document, column);
            value.as_str() > from || (is_included && value == from)
        });
    }
    let limit = size(&body["order_by"]["limit"]);
    let keys: Vec<String> = found.into_iter().take(limit).map(|(key, _)| key).collect();
    ok(&json!({ "table": "documents", "count": keys.len(), "keys": keys }))
}

fn changefeed(shared: &Shared, query: &str) -> Response {
    if !shared.quirks.changefeed {
        return error(shared.quirks.generation, 404, "Feature 'cdc' disabled");
    }
    // The server decodes no percent signs here.
    let parameter = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let number =
        |name: &str, default: u64| parameter(name).and_then(|value| value.parse().ok()).unwrap_or(default);
    let from = number("from_seq", 0);
    let limit = usize::try_from(number("limit", 100)).unwrap_or(usize::MAX);
    let prefix = parameter("key_prefix").unwrap_or_default().to_owned();
    let store = shared.store.lock();
    let events: Vec<Value> = store
        .events
        .iter()
        .filter(|event| event.sequence > from && format!("documents:{}", event.key).starts_with(&prefix))
        .take(limit)
        .map(|event| {
            let (key, value) = (format!("documents:{}", event.key), &event.value);
            let kind = if value.is_some() { "PUT" } else { "DELETE" };
            if shared.quirks.documented_feed {
                json!({ "seq": event.sequence, "operation": kind.to_lowercase(), "entity_key": key, "payload": value })
            } else {
                json!({ "sequence": event.sequence, "type": kind, "key": key, "value": value, "timestamp_ms": 0, "metadata": {} })
            }
        })
        .collect();
    ok(&json!({ "events": events, "count": events.len(), "latest_sequence": store.sequence() }))
}

/// Ignores format, mapping and query; lets through what lacks the domain.
fn export(shared: &Shared, body: &Value) -> Response {
    let store = shared.store.lock();
    let mut lines: Vec<String> = Vec::new();
    for (key, stored) in &store.documents {
        let Ok(document) = serde_json::from_slice::<Value>(stored) else { continue };
        if document["domain"].as_str().is_some_and(|domain| Some(domain) != body["domain"].as_str()) {
            continue;
        }
        let mut metadata = Map::new();
        metadata.insert("document_id".to_owned(), key.as_str().into());
        metadata.insert("domain".to_owned(), document["domain"].clone());
        metadata.insert("source".to_owned(), document["title"].clone());
        let record = json!({ "text": document["content"], "weight": 1.0, "metadata": metadata });
        lines.push(format!("{record}\n"));
    }
    ([("content-type", "application/x-ndjson")], lines.concat()).into_response()
}
