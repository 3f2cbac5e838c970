//! The requests of `CouchDB` 3 that reading needs.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Cursor, attachment::Attachment};
use crate::{
    fetch::{
        FetchError,
        http::{Answer, Ask, Http, encode},
    },
    source::MOST_DOCUMENT_BYTES,
};

/// One database.
#[derive(Debug)]
pub(super) struct Database {
    path: String,
    name: String,
}

/// Documents with their ids; without their fields when those are too long.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) documents: Vec<(String, Option<Map<String, Value>>)>,
    bookmark: Option<String>,
}

/// How many documents are asked for, and whether with their fields.
type Extent = (usize, bool);

#[derive(Deserialize)]
struct Found {
    docs: Vec<Map<String, Value>>,
    bookmark: Option<String>,
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: Option<String>,
    doc: Option<Map<String, Value>>,
}

impl Listed {
    /// Where to go on after these; `None` when there are none.
    pub(super) fn next(&self, by_selector: bool) -> Option<Cursor> {
        let (last, _) = self.documents.last()?;
        Some(if by_selector { Cursor::Bookmark(self.bookmark.clone()?) } else { Cursor::After(last.clone()) })
    }
}

impl Database {
    pub(super) fn new(name: &str) -> Self {
        Self { path: encode(name), name: name.to_owned() }
    }

    /// How many documents it holds; those that hold its design count too.
    pub(super) async fn count(&self, http: &Http) -> Result<u64, FetchError> {
        #[derive(Deserialize)]
        struct Information {
            doc_count: u64,
        }
        match http.ask(&Ask::get(self.path.clone())).await? {
            Answer::Body(body) => Ok(parse::<Information>(http, &body)?.doc_count),
            answer => Err(self.refusal(http, &answer)),
        }
    }

    /// A page of what a selector finds; `None` when it is too long.
    pub(super) async fn find(
        &self,
        http: &Http,
        selector: &Value,
        bookmark: Option<&str>,
        (limit, with_documents): Extent,
    ) -> Result<Option<Listed>, FetchError> {
        let mut asked =
            Map::from_iter([("selector".to_owned(), selector.clone()), ("limit".to_owned(), limit.into())]);
        if let Some(bookmark) = bookmark {
            asked.insert("bookmark".to_owned(), bookmark.into());
        }
        if !with_documents {
            asked.insert("fields".to_owned(), json!(["_id"]));
        }
        let body = match http.ask(&Ask::post(format!("{}/_find", self.path), asked.into())).await? {
            Answer::Body(body) => body,
            Answer::TooLong => return Ok(None),
            answer @ Answer::Refused { .. } => return Err(self.refusal(http, &answer)),
        };
        let Found { docs, bookmark } = parse(http, &body)?;
        let documents = docs.into_iter().map(|document| {
            let id = document.get("_id").and_then(Value::as_str).unwrap_or_default().to_owned();
            (id, Some(document).filter(|_| with_documents))
        });
        Ok(Some(Listed { documents: documents.collect(), bookmark }))
    }

    /// A page of all documents after an id; `None` when it is too long.
    pub(super) async fn all(
        &self,
        http: &Http,
        after: Option<&str>,
        (limit, with_documents): Extent,
    ) -> Result<Option<Listed>, FetchError> {
        // The page begins with the id itself, which may be deleted meanwhile: to skip one row would then lose another.
        let start = after
            .map(|after| format!("&startkey={}", encode(&Value::from(after).to_string())))
            .unwrap_or_default();
        let limit = limit + usize::from(after.is_some());
        let path = format!("{}/_all_docs?include_docs={with_documents}&limit={limit}{start}", self.path);
        let body = match http.ask(&Ask::get(path)).await? {
            Answer::Body(body) => body,
            Answer::TooLong => return Ok(None),
            answer @ Answer::Refused { .. } => return Err(self.refusal(http, &answer)),
        };
        let Rows { rows } = parse(http, &body)?;
        let documents = rows.into_iter().filter_map(|row| Some((row.id?, row.doc)));
        let documents = documents.filter(|(id, _)| Some(id.as_str()) != after).collect();
        Ok(Some(Listed { documents, bookmark: None }))
    }

    /// One document; `None` when it is too long, or gone.
    pub(super) async fn document(
        &self,
        http: &Http,
        id: &str,
    ) -> Result<Option<Map<String, Value>>, FetchError> {
        match http.ask(&Ask::get(format!("{}/{}", self.path, encode(id)))).await? {
            Answer::Body(body) => parse(http, &body).map(Some),
            Answer::TooLong | Answer::Refused { status: 404, .. } => Ok(None),
            answer @ Answer::Refused { .. } => Err(self.refusal(http, &answer)),
        }
    }

    /// The text of an attachment, or what is wrong with it.
    pub(super) async fn attachment(
        &self,
        http: &Http,
        id: &str,
        attachment: &Attachment,
    ) -> Result<Result<String, String>, FetchError> {
        let name = &attachment.name;
        if attachment.length > MOST_DOCUMENT_BYTES {
            return Ok(Err(format!(
                "its attachment `{name}` takes {} bytes, expected at most {MOST_DOCUMENT_BYTES}",
                attachment.length
            )));
        }
        let path = format!("{}/{}/{}", self.path, encode(id), encode(name));
        Ok(match http.ask(&Ask::get(path)).await? {
            Answer::Body(body) => attachment.read(body).await,
            Answer::TooLong => {
                Err(format!("its attachment `{name}` takes more than {MOST_DOCUMENT_BYTES} bytes"))
            }
            Answer::Refused { status, message } => {
                Err(format!("its attachment `{name}` cannot be read: {status}, {message}"))
            }
        })
    }

    fn refusal(&self, http: &Http, answer: &Answer) -> FetchError {
        let name = &self.name;
        match answer {
            Answer::Refused { status: 404, message } => http.refused(format!(
                "there is no database `{name}` ({message}); correct `table`, and check that `url` is that of a CouchDB 3"
            )),
            Answer::Refused { status: 400, message } => http.refused(format!(
                "it refuses the selector: {message}; correct `filter`, or start anew if the bookmark is of another one"
            )),
            Answer::Refused { status, message } => {
                http.refused(format!("it answers {status} for database `{name}`: {message}; check `url`, `table` and `filter`"))
            }
            Answer::TooLong | Answer::Body(_) => http.refused("its answer is not one of CouchDB; check `url`"),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(http: &Http, body: &'a [u8]) -> Result<T, FetchError> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        http.refused(format!(
            "its answer is not one of CouchDB (at {place}); check that `url` is that of a CouchDB 3"
        ))
    })
}
