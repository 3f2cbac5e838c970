//! The two requests of Chroma's REST v2 that reading needs.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::fetch::{
    FetchError,
    http::{Answer, Ask, Http, encode},
};

/// A collection that is there.
#[derive(Debug)]
pub(super) struct Collection {
    path: String,
    name: String,
}

/// One record: a chunk of a document, or a whole one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    pub(super) id: String,
    pub(super) text: Option<String>,
    pub(super) metadata: Map<String, Value>,
}

#[derive(Deserialize)]
struct Found {
    id: String,
}

#[derive(Deserialize)]
struct Answered {
    ids: Vec<String>,
    documents: Option<Vec<Option<String>>>,
    metadatas: Option<Vec<Option<Map<String, Value>>>>,
}

impl Collection {
    /// The collection of this name.
    pub(super) async fn find(
        http: &Http,
        tenant: &str,
        database: &str,
        name: &str,
    ) -> Result<Self, FetchError> {
        let all = format!("api/v2/tenants/{}/databases/{}/collections", encode(tenant), encode(database));
        match http.ask(&Ask::get(format!("{all}/{}", encode(name)))).await? {
            Answer::Body(body) => {
                let found: Found = parse(http, &body)?;
                Ok(Self { path: format!("{all}/{}", encode(&found.id)), name: name.to_owned() })
            }
            Answer::Refused { status: 404, message } => {
                let names = Self::names(http, &all).await?;
                let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Err(http.refused(format!(
                    "there is no collection `{name}` in tenant `{tenant}`, database `{database}` ({message}); found {found}; correct `table`, \
                     `tenant` or `database`"
                )))
            }
            Answer::Refused { status, message } => Err(http.refused(format!(
                "it answers {status} to a question for a collection: {message}; expected Chroma with REST v2, check `url`"
            ))),
            Answer::TooLong => Err(http.refused("it answers too much for a collection; check that `url` is that of a Chroma")),
        }
    }

    async fn names(http: &Http, all: &str) -> Result<Vec<String>, FetchError> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        match http.ask(&Ask::get(format!("{all}?limit=20"))).await? {
            Answer::Body(body) => {
                let found: Vec<Named> = parse(http, &body)?;
                Ok(found.into_iter().map(|found| found.name).collect())
            }
            Answer::Refused { .. } | Answer::TooLong => Ok(Vec::new()),
        }
    }

    /// The records that a request of `get` asks for; `None` when the answer is too long.
    pub(super) async fn get(&self, http: &Http, request: &Value) -> Result<Option<Vec<Given>>, FetchError> {
        let body = match http.ask(&Ask::post(format!("{}/get", self.path), request.clone())).await? {
            Answer::Body(body) => body,
            Answer::TooLong => return Ok(None),
            Answer::Refused { status: 404, message } => {
                return Err(http.refused(format!(
                    "the collection `{}` was removed while it was read ({message}); repeat the stage when it is there again",
                    self.name
                )));
            }
            Answer::Refused { status, message } => {
                return Err(http.refused(format!(
                    "it answers {status}: {message}; correct `filter`, a `where` of Chroma in JSON"
                )));
            }
        };
        let Answered { ids, documents, metadatas } = parse(http, &body)?;
        let mut documents = documents.unwrap_or_default().into_iter();
        let mut metadatas = metadatas.unwrap_or_default().into_iter();
        let given = ids.into_iter().map(|id| Given {
            id,
            text: documents.next().flatten(),
            metadata: metadatas.next().flatten().unwrap_or_default(),
        });
        Ok(Some(given.collect()))
    }
}

fn parse<'a, T: Deserialize<'a>>(http: &Http, body: &'a [u8]) -> Result<T, FetchError> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        http.refused(format!(
            "its answer is not one of Chroma (at {place}); check that `url` is that of a Chroma with REST v2"
        ))
    })
}
