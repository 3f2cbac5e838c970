//! Documents of a `CouchDB`: those of a database or a selector, with the texts of their attachments.

mod api;
mod attachment;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use clara_runtime::config::ThemisRoute;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::api::{Database, Listed};
use super::{
    FetchError, Fetched, Page, Remote, RemoteRequest,
    http::Http,
    mapping::{self, Mapping},
    unused,
};
use crate::source::MOST_DOCUMENT_BYTES;

/// A page is asked for anew with fewer documents when their attachments take more bytes.
const PAGE_BYTES: u64 = 128 << 20;

/// Documents of a `CouchDB`: all in the order of their ids, or what a selector finds, in the order of its bookmarks.
#[derive(Debug)]
pub struct CouchDb {
    http: Http,
    mapping: Mapping,
    database: Database,
    selector: Option<Value>,
    page: usize,
    parallel: usize,
    at: Option<Cursor>,
    /// The first id of the page before: a server that repeats a page has ended.
    first_id: Option<String>,
    total: Option<u64>,
    is_at_end: bool,
}

/// Where the reading goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cursor {
    /// After this bookmark of `_find`.
    Bookmark(String),
    /// After this id of `_all_docs`.
    After(String),
}

impl CouchDb {
    /// Prepares the reading, after `cursor` where one is given; nothing is sent yet.
    ///
    /// # Errors
    /// [`FetchError::Refused`] when the settings or the cursor cannot be used.
    pub fn open(request: &RemoteRequest, cursor: Option<&Value>) -> Result<Self, FetchError> {
        let refuse = |problem| FetchError::Refused { source_name: request.source.clone(), problem };
        let settings = &request.settings;
        let foreign = [
            ("query", settings.query.is_some()),
            ("key", settings.key.is_some()),
            ("tenant", settings.tenant.is_some()),
            ("database", settings.database.is_some()),
            ("route", settings.route != ThemisRoute::Auto),
        ];
        unused("couchdb", &foreign).map_err(refuse)?;
        let selector: Option<Value> = match &settings.filter {
            None => None,
            Some(filter) => Some(serde_json::from_str(filter).map_err(|error| {
                refuse(format!(
                    "`filter` is no JSON ({error}); expected a selector such as {{\"metadata.rechtsgebiet\": \"baurecht\"}}"
                ))
            })?),
        };
        let at = match cursor {
            None => None,
            Some(cursor) => {
                let at: Option<Cursor> = serde_json::from_value(cursor.clone()).ok();
                let fits = matches!(
                    (&at, &selector),
                    (Some(Cursor::Bookmark(_)), Some(_)) | (Some(Cursor::After(_)), None)
                );
                if !fits {
                    return Err(refuse(
                        "its cursor is not one of CouchDB with this `filter`; start anew".to_owned(),
                    ));
                }
                at
            }
        };
        Ok(Self {
            http: Http::new(&request.source, settings)?,
            mapping: Mapping::new(settings, &[("id", "_id")], &[]).map_err(refuse)?,
            database: Database::new(settings.table.as_deref().unwrap_or_default()),
            selector,
            page: settings.page,
            parallel: settings.parallel,
            at,
            first_id: None,
            total: None,
            is_at_end: false,
        })
    }

    /// The next documents and where to go on, fewer at once when they are too long; `None` at the end.
    async fn list(&mut self) -> Result<Option<(Listed, Cursor)>, FetchError> {
        let mut limit = self.page;
        let listed = loop {
            match self.ask(limit, true).await? {
                Some(listed) if limit > 1 && attached_bytes(&listed) > PAGE_BYTES => {
                    limit = (limit / 4).max(1);
                }
                Some(listed) => break listed,
                None if limit > 1 => limit = (limit / 4).max(1),
                None => break self.one_by_name().await?,
            }
        };
        let first_id = listed.documents.first().map(|(id, _)| id.clone());
        let (Some(first), Some(cursor)) = (first_id, listed.next(self.selector.is_some())) else {
            return Ok(None);
        };
        let is_same_place = self.at.as_ref() == Some(&cursor);
        if is_same_place || matches!(&cursor, Cursor::Bookmark(bookmark) if bookmark == "nil") {
            self.is_at_end = true;
        }
        if self.first_id.as_ref() == Some(&first) {
            return Ok(None);
        }
        self.first_id = Some(first);
        Ok(Some((listed, cursor)))
    }

    /// The next document alone: its page may be too long for another's sake.
    async fn one_by_name(&self) -> Result<Listed, FetchError> {
        let Some(mut listed) = self.ask(1, false).await? else {
            return Err(self.http.refused(
                "it answers too much to a question for one id; check that `url` is that of a CouchDB",
            ));
        };
        for (id, document) in &mut listed.documents {
            *document = self.database.document(&self.http, id).await?;
        }
        Ok(listed)
    }

    async fn ask(&self, limit: usize, with_documents: bool) -> Result<Option<Listed>, FetchError> {
        match (&self.selector, &self.at) {
            (Some(selector), at) => {
                let bookmark = match at {
                    Some(Cursor::Bookmark(bookmark)) => Some(bookmark.as_str()),
                    Some(Cursor::After(_)) | None => None,
                };
                self.database.find(&self.http, selector, bookmark, (limit, with_documents)).await
            }
            (None, Some(Cursor::After(after))) => {
                self.database.all(&self.http, Some(after), (limit, with_documents)).await
            }
            (None, _) => self.database.all(&self.http, None, (limit, with_documents)).await,
        }
    }

    /// The record of one document; its text may lie in attachments.
    async fn document(
        &self,
        id: String,
        document: Option<Map<String, Value>>,
    ) -> Result<Fetched, FetchError> {
        let broken = |problem: String| Ok(Fetched::Broken { id: id.clone(), problem });
        let Some(mut object) = document else {
            return broken(format!("it takes more than {MOST_DOCUMENT_BYTES} bytes"));
        };
        let path = self.mapping.path("id");
        let named = mapping::find(&object, path).and_then(|id| mapping::text_of(id, path).ok());
        let attachments = attachment::readable(object.get("_attachments"));
        object.retain(|name, _| !name.starts_with('_'));
        let record = self.mapping.record(named.as_deref().unwrap_or(&id), &object);
        let has_text = mapping::find(&object, self.mapping.path("text")).is_some();
        if matches!(record, Fetched::Record(_)) || has_text {
            return Ok(record);
        }
        let mut texts = Vec::new();
        for attachment in &attachments {
            match self.database.attachment(&self.http, &id, attachment).await? {
                Ok(text) => texts.push(text),
                Err(problem) => return broken(problem),
            }
        }
        if texts.is_empty() {
            return Ok(record);
        }
        object.insert(self.mapping.path("text").to_owned(), texts.join("\n\n").into());
        let titles: Vec<&str> = attachments.iter().map(|attachment| attachment.name.as_str()).collect();
        object.entry("attachment").or_insert_with(|| titles.join(", ").into());
        Ok(self.mapping.record(named.as_deref().unwrap_or(&id), &object))
    }
}

#[async_trait]
impl Remote for CouchDb {
    async fn next_page(&mut self) -> Result<Option<Page>, FetchError> {
        self.http.news();
        if self.is_at_end {
            return Ok(None);
        }
        if self.total.is_none() {
            let all = self.database.count(&self.http).await?;
            // How many a selector finds is known only in the end.
            self.total = Some(all).filter(|_| self.selector.is_none());
        }
        let Some((listed, cursor)) = self.list().await? else {
            self.is_at_end = true;
            return Ok(None);
        };
        self.http.news();
        let cursor_value = json!(cursor);
        let reading = listed.documents.into_iter().filter(|(id, _)| !id.starts_with("_design/"));
        let reads: Vec<_> = reading.map(|(id, document)| self.document(id, document)).collect();
        let mut read = stream::iter(reads).buffered(self.parallel);
        let mut documents = Vec::new();
        while let Some(document) = read.next().await {
            documents.push(document?);
            self.http.news();
        }
        drop(read);
        self.at = Some(cursor);
        Ok(Some(Page { documents, cursor: cursor_value, keys: None, total: self.total }))
    }

    /// Each pass reads everything.
    fn state(&self) -> Option<Value> {
        None
    }
}

/// What the readable attachments of a page take.
fn attached_bytes(listed: &Listed) -> u64 {
    let documents = listed.documents.iter().filter_map(|(_, document)| document.as_ref());
    documents
        .flat_map(|document| attachment::readable(document.get("_attachments")))
        .map(|attachment| attachment.length)
        .sum()
}
