//! As much of Chroma 1.5's REST v2 as reading and filling need, with its answers and refusals.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

#[derive(Debug, Default)]
struct Store {
    collections: Vec<(String, Vec<Record>)>,
    gets: usize,
    /// Deleted when so many requests of `get` were answered.
    doomed: Vec<(usize, String)>,
}

#[derive(Debug, Clone)]
struct Record {
    id: String,
    document: Value,
    metadata: Value,
}

type Shared = Arc<Mutex<Store>>;

/// A Chroma on loopback that ends with its test.
pub(super) struct Double {
    pub(super) url: String,
    store: Shared,
    server: tokio::task::JoinHandle<()>,
}

impl Double {
    #[expect(clippy::disallowed_methods, reason = "the server lives as long as its test")]
    pub(super) async fn start() -> Self {
        let store = Shared::default();
        let all = "/api/v2/tenants/default_tenant/databases/default_database/collections";
        let routes = Router::new()
            .route(all, get(list).post(create))
            .route(&format!("{all}/{{name}}"), get(find))
            .route(&format!("{all}/{{id}}/add"), post(add))
            .route(&format!("{all}/{{id}}/get"), post(read))
            .with_state(Arc::clone(&store));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, store, server }
    }

    /// Deletes a record once `gets` requests were answered.
    pub(super) fn delete_after(&self, gets: usize, id: &str) {
        self.store.lock().doomed.push((gets, id.to_owned()));
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn refuse(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(json!({ "error": error, "message": message }))).into_response()
}

async fn list(State(store): State<Shared>) -> Response {
    let store = store.lock();
    let found: Vec<Value> =
        store.collections.iter().map(|(name, _)| json!({ "id": name, "name": name })).collect();
    Json(found).into_response()
}

async fn create(State(store): State<Shared>, Json(body): Json<Value>) -> Response {
    let name = body["name"].as_str().unwrap().to_owned();
    store.lock().collections.push((name.clone(), Vec::new()));
    Json(json!({ "id": name, "name": name })).into_response()
}

async fn find(State(store): State<Shared>, Path(name): Path<String>) -> Response {
    if store.lock().collections.iter().any(|(known, _)| *known == name) {
        return Json(json!({ "id": name, "name": name })).into_response();
    }
    refuse(StatusCode::NOT_FOUND, "NotFoundError", &format!("Collection [{name}] does not exist"))
}

async fn add(State(store): State<Shared>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut store = store.lock();
    let (_, records) = store.collections.iter_mut().find(|(name, _)| *name == id).unwrap();
    for (number, id) in body["ids"].as_array().unwrap().iter().enumerate() {
        let (document, metadata) = (body["documents"][number].clone(), body["metadatas"][number].clone());
        records.push(Record { id: id.as_str().unwrap().to_owned(), document, metadata });
    }
    (StatusCode::CREATED, Json(json!({}))).into_response()
}

async fn read(State(store): State<Shared>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut store = store.lock();
    store.gets += 1;
    let gets = store.gets;
    let answer = match store.collections.iter().find(|(name, _)| *name == id) {
        None => refuse(StatusCode::NOT_FOUND, "NotFoundError", &format!("Collection [{id}] does not exist.")),
        Some((_, records)) => answer(records, &body),
    };
    let doomed: Vec<String> =
        store.doomed.iter().filter(|(after, _)| *after <= gets).map(|(_, id)| id.clone()).collect();
    for (_, records) in &mut store.collections {
        records.retain(|record| !doomed.contains(&record.id));
    }
    answer
}

fn answer(records: &[Record], body: &Value) -> Response {
    let mut found = Vec::new();
    for record in records {
        let is_named = body.get("ids").is_none_or(|ids| ids.as_array().unwrap().contains(&json!(record.id)));
        match body.get("where").map_or(Some(true), |condition| holds(condition, &record.metadata)) {
            None => {
                return refuse(StatusCode::BAD_REQUEST, "InvalidArgumentError", "Invalid where clause");
            }
            Some(true) if is_named => found.push(record),
            Some(_) => {}
        }
    }
    let number =
        |name: &str| body.get(name).and_then(Value::as_u64).map(|number| usize::try_from(number).unwrap());
    let found: Vec<&Record> = found
        .into_iter()
        .skip(number("offset").unwrap_or(0))
        .take(number("limit").unwrap_or(usize::MAX))
        .collect();
    let included = body["include"].as_array().unwrap();
    let column = |name: &str, value: &dyn Fn(&Record) -> Value| {
        if included.contains(&json!(name)) {
            found.iter().map(|record| value(record)).collect()
        } else {
            Value::Null
        }
    };
    Json(json!({
        "ids": found.iter().map(|record| record.id.clone()).collect::<Vec<_>>(),
        "embeddings": null,
        "documents": column("documents", &|record| record.document.clone()),
        "uris": null,
        "metadatas": column("metadatas", &|record| record.metadata.clone()),
        "include": body["include"],
    }))
    .into_response()
}

/// Whether metadata fulfil a `where`; `None` when that cannot be understood.
fn holds(condition: &Value, metadata: &Value) -> Option<bool> {
    let object: &Map<String, Value> = condition.as_object()?;
    let (name, wanted) = object.iter().next()?;
    let mut several = wanted.as_array().into_iter().flatten().map(|inner| holds(inner, metadata));
    match name.as_str() {
        "$and" => several.try_fold(true, |all, one| Some(all && one?)),
        "$or" => several.try_fold(false, |any, one| Some(any || one?)),
        operator if operator.starts_with('$') => None,
        _ => {
            let given = metadata.get(name).cloned().unwrap_or_default();
            Some(match wanted.get("$in") {
                Some(many) => many.as_array()?.contains(&given),
                None => given == *wanted,
            })
        }
    }
}
