//! As much of `CouchDB` 3 as reading needs, with its answers, refusals and bookmarks.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// What goes wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// So many requests are answered with 429.
    pub(super) too_many: usize,
    /// So many are answered with 500.
    pub(super) failing: usize,
    pub(super) repeats_bookmarks: bool,
    pub(super) wants_password: bool,
    /// The header that is let in nevertheless.
    pub(super) user: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Attached {
    name: String,
    content_type: String,
    body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Store {
    documents: BTreeMap<String, (Value, Vec<Attached>)>,
    faults: Faults,
}

type Shared = Arc<Mutex<Store>>;

/// A `CouchDB` on loopback with the one database `uds3_files`; ends with its test.
pub(super) struct Double {
    pub(super) url: String,
    store: Shared,
    server: tokio::task::JoinHandle<()>,
}

impl Attached {
    pub(super) fn new(name: &str, content_type: &str, body: Vec<u8>) -> Self {
        Self { name: name.to_owned(), content_type: content_type.to_owned(), body }
    }
}

impl Double {
    #[expect(clippy::disallowed_methods, reason = "the server lives as long as its test")]
    pub(super) async fn start() -> Self {
        let store = Shared::default();
        let routes = Router::new()
            .route("/uds3_files", get(information))
            .route("/uds3_files/_all_docs", get(all))
            .route("/uds3_files/_find", post(find))
            .route("/uds3_files/{id}", get(one))
            .route("/uds3_files/{id}/{name}", get(attachment))
            .fallback(|| async { refuse(StatusCode::NOT_FOUND, "not_found", "Database does not exist.") })
            .layer(middleware::from_fn_with_state(Arc::clone(&store), fault))
            .with_state(Arc::clone(&store));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, store, server }
    }

    pub(super) fn put(&self, id: &str, document: Value, attached: Vec<Attached>) {
        self.store.lock().documents.insert(id.to_owned(), (document, attached));
    }

    pub(super) fn delete(&self, id: &str) {
        assert!(self.store.lock().documents.remove(id).is_some());
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.store.lock().faults);
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Store {
    /// A document with its fields and the stubs of its attachments.
    fn shown(&self, id: &str) -> Value {
        let (document, attached) = &self.documents[id];
        let mut shown = document.clone();
        shown["_id"] = id.into();
        shown["_rev"] = "1-967a00dff5e02add41819138abb3284d".into();
        for Attached { name, content_type, body } in attached {
            shown["_attachments"][name] = json!({"content_type": content_type, "revpos": 1, "digest": "md5-x", "length": body.len(), "stub": true});
        }
        shown
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn refuse(status: StatusCode, error: &str, reason: &str) -> Response {
    answer(status, &json!({ "error": error, "reason": reason }))
}

async fn fault(State(store): State<Shared>, headers: HeaderMap, request: Request, next: Next) -> Response {
    {
        let mut store = store.lock();
        let faults = &mut store.faults;
        if faults.too_many > 0 {
            faults.too_many -= 1;
            let refusal = refuse(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests");
            return ([(header::RETRY_AFTER, "0")], refusal).into_response();
        }
        if faults.failing > 0 {
            faults.failing -= 1;
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "unknown_error", "badarg");
        }
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if faults.wants_password && (given.is_none() || given != faults.user.as_deref()) {
            return refuse(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "You are not authorized to access this db.",
            );
        }
    }
    next.run(request).await
}

async fn information(State(store): State<Shared>) -> Response {
    let count = store.lock().documents.len();
    answer(
        StatusCode::OK,
        &json!({"db_name": "uds3_files", "doc_count": count, "doc_del_count": 0, "update_seq": "31-g1A"}),
    )
}

async fn all(State(store): State<Shared>, Query(asked): Query<BTreeMap<String, String>>) -> Response {
    let store = store.lock();
    let start: String =
        asked.get("startkey").map(|start| serde_json::from_str(start).unwrap()).unwrap_or_default();
    let limit: usize = asked.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
    let with_documents = asked.get("include_docs").is_some_and(|include| include == "true");
    let rows: Vec<Value> = store
        .documents
        .range(start..)
        .take(limit)
        .map(|(id, _)| {
            let mut row =
                json!({"id": id, "key": id, "value": {"rev": "1-967a00dff5e02add41819138abb3284d"}});
            if with_documents {
                row["doc"] = store.shown(id);
            }
            row
        })
        .collect();
    answer(StatusCode::OK, &json!({"total_rows": store.documents.len(), "offset": 0, "rows": rows}))
}

async fn find(State(store): State<Shared>, body: String) -> Response {
    let store = store.lock();
    let asked: Value = serde_json::from_str(&body).unwrap();
    let limit = asked["limit"].as_u64().map_or(25, |limit| usize::try_from(limit).unwrap());
    let bookmark =
        asked["bookmark"].as_str().filter(|bookmark| *bookmark != "nil" && !store.faults.repeats_bookmarks);
    let mut docs = Vec::new();
    let mut last = bookmark.map(str::to_owned);
    for (id, (document, _)) in
        store.documents.iter().filter(|(id, _)| bookmark.is_none_or(|after| id.as_str() > after))
    {
        if docs.len() >= limit {
            break;
        }
        match holds(&asked["selector"], document) {
            Err(operator) => {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    "invalid_operator",
                    &format!("Invalid operator: {operator}"),
                );
            }
            Ok(true) if !id.starts_with("_design/") => {
                let shown = store.shown(id);
                docs.push(if asked.get("fields").is_some() { json!({"_id": id}) } else { shown });
                last = Some(id.clone());
            }
            Ok(_) => {}
        }
    }
    let warning = "No matching index found, create an index to optimize query time.";
    answer(
        StatusCode::OK,
        &json!({"docs": docs, "bookmark": last.unwrap_or_else(|| "nil".into()), "warning": warning}),
    )
}

/// Whether a document fulfils a selector of one field.
fn holds(selector: &Value, document: &Value) -> Result<bool, String> {
    let (path, wanted) = selector.as_object().unwrap().iter().next().unwrap();
    if let Some(operator) = wanted.as_object().and_then(|wanted| wanted.keys().next()) {
        return if operator == "$gt" { Ok(true) } else { Err(operator.clone()) };
    }
    let found = path.split('.').try_fold(document, |at, name| at.get(name));
    Ok(found == Some(wanted))
}

async fn one(State(store): State<Shared>, Path(id): Path<String>) -> Response {
    let store = store.lock();
    if store.documents.contains_key(&id) {
        return answer(StatusCode::OK, &store.shown(&id));
    }
    refuse(StatusCode::NOT_FOUND, "not_found", "missing")
}

async fn attachment(State(store): State<Shared>, Path((id, name)): Path<(String, String)>) -> Response {
    let store = store.lock();
    let found = store
        .documents
        .get(&id)
        .and_then(|(_, attached)| attached.iter().find(|attached| attached.name == name));
    match found {
        Some(Attached { content_type, body, .. }) => {
            ([(header::CONTENT_TYPE, content_type.clone())], body.clone()).into_response()
        }
        None => refuse(StatusCode::NOT_FOUND, "not_found", "Document is missing attachment"),
    }
}
