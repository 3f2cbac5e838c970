//! Documents of a Chroma: chunks of a collection, put together to the documents that they were cut from.

mod api;
mod document;
mod join;
mod listing;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use clara_runtime::config::ThemisRoute;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use self::{
    api::Collection,
    listing::{Entry, How},
};
use super::{FetchError, Fetched, Page, Remote, RemoteRequest, http::Http, mapping::Mapping, unused};
use crate::source::MOST_DOCUMENT_BYTES;

/// Where a mapping finds the text that Chroma keeps beside the metadata.
const DOCUMENT: &str = "#document";

/// Documents of a Chroma collection, in the order of their ids.
///
/// The ids are listed first, since the chunks of a document may lie anywhere. The cursor is the last id, so that another process, which
/// lists them anew, neither loses nor repeats a document.
#[derive(Debug)]
pub struct Chroma {
    http: Http,
    mapping: Mapping,
    names: Names,
    filter: Option<Value>,
    page: usize,
    parallel: usize,
    known: Option<Known>,
    after: Option<(String, How)>,
}

/// Where the collection is, as the settings name it.
#[derive(Debug)]
struct Names {
    tenant: String,
    database: String,
    collection: String,
}

/// What the listing found.
#[derive(Debug)]
struct Known {
    collection: Collection,
    entries: Vec<Entry>,
    next: usize,
}

impl Chroma {
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
            ("user", settings.user.is_some()),
            ("route", settings.route != ThemisRoute::Auto),
        ];
        unused("chroma", &foreign).map_err(refuse)?;
        let filter = match &settings.filter {
            None => None,
            Some(filter) => Some(serde_json::from_str(filter).map_err(|error| {
                refuse(format!(
                    "`filter` is no JSON ({error}); expected a `where` of Chroma such as {{\"rechtsgebiet\": \"baurecht\"}}"
                ))
            })?),
        };
        let after = match cursor {
            None => None,
            Some(cursor) => Some(
                serde_json::from_value(cursor.get("after").cloned().unwrap_or_default())
                    .map_err(|_| refuse("its cursor is not one of Chroma; start anew".to_owned()))?,
            ),
        };
        let defaults = [("id", "document_id"), ("text", DOCUMENT)];
        let more = [("chunk", "chunk_index"), ("offset", "start_offset")];
        Ok(Self {
            http: Http::new(&request.source, settings)?,
            mapping: Mapping::new(settings, &defaults, &more).map_err(refuse)?,
            names: Names {
                tenant: settings.tenant.clone().unwrap_or_else(|| "default_tenant".to_owned()),
                database: settings.database.clone().unwrap_or_else(|| "default_database".to_owned()),
                collection: settings.table.clone().unwrap_or_default(),
            },
            filter,
            page: settings.page,
            parallel: settings.parallel,
            known: None,
            after,
        })
    }

    /// Finds the collection and lists its documents, once.
    async fn look_around(&mut self) -> Result<(), FetchError> {
        if self.known.is_some() {
            return Ok(());
        }
        let Names { tenant, database, collection } = &self.names;
        let collection = Collection::find(&self.http, tenant, database, collection).await?;
        let listing = listing::Listing {
            collection: &collection,
            mapping: &self.mapping,
            filter: self.filter.as_ref(),
            page: self.page,
        };
        let entries = listing.all(&self.http).await?;
        let next = match &self.after {
            None => 0,
            Some((id, how)) => {
                entries.partition_point(|entry| (entry.id.as_str(), entry.how) <= (id.as_str(), *how))
            }
        };
        self.known = Some(Known { collection, entries, next });
        Ok(())
    }

    /// The documents of some entries by one request; one by one when their answer is too long.
    async fn fetch(&self, collection: &Collection, entries: &[Entry]) -> Result<Vec<Fetched>, FetchError> {
        let asked = listing::request(entries, self.mapping.path("id"), self.filter.as_ref());
        match collection.get(&self.http, &asked).await? {
            Some(chunks) => Ok(document::documents(entries, chunks, &self.mapping)),
            None => match entries {
                [one] => Ok(vec![Fetched::Broken {
                    id: one.id.clone(),
                    problem: format!("its {} chunks take more than {MOST_DOCUMENT_BYTES} bytes", one.chunks),
                }]),
                several => {
                    let mut found = Vec::new();
                    for one in several {
                        found.extend(Box::pin(self.fetch(collection, std::slice::from_ref(one))).await?);
                    }
                    Ok(found)
                }
            },
        }
    }
}

#[async_trait]
impl Remote for Chroma {
    async fn next_page(&mut self) -> Result<Option<Page>, FetchError> {
        self.http.news();
        self.look_around().await?;
        loop {
            let Some(known) = &self.known else { return Ok(None) };
            let batches =
                batches(known.entries.get(known.next..).unwrap_or_default(), self.page, self.parallel);
            let taken: usize = batches.iter().map(|batch| batch.len()).sum();
            let Some(last) = known.entries.get(known.next..known.next + taken).and_then(<[Entry]>::last)
            else {
                return Ok(None);
            };
            let (cursor, total) =
                (json!({ "after": (&last.id, last.how) }), Some(known.entries.len() as u64));
            let requests: Vec<_> =
                batches.into_iter().map(|batch| self.fetch(&known.collection, batch)).collect();
            let fetched: Vec<Vec<Fetched>> =
                stream::iter(requests).buffered(self.parallel).try_collect().await?;
            let documents = fetched.concat();
            if let Some(known) = &mut self.known {
                known.next += taken;
            }
            self.http.news();
            // All of them may have been deleted since they were listed.
            if !documents.is_empty() {
                return Ok(Some(Page { documents, cursor, keys: None, total }));
            }
        }
    }

    /// Chroma does not tell when a chunk changed.
    fn state(&self) -> Option<Value> {
        None
    }
}

/// The next entries, of about `page` chunks together, shared out to the requests that go at once.
fn batches(entries: &[Entry], page: usize, parallel: usize) -> Vec<&[Entry]> {
    let most = (page / parallel).max(1);
    let (mut batches, mut rest, mut left) = (Vec::new(), entries, page);
    while !rest.is_empty() && left > 0 && batches.len() < parallel {
        let (mut count, mut chunks) = (0, 0);
        for entry in rest {
            if count > 0
                && (chunks + entry.chunks > most
                    || entry.how.is_by_record() != rest.first().is_some_and(|first| first.how.is_by_record()))
            {
                break;
            }
            (count, chunks) = (count + 1, chunks + entry.chunks);
        }
        let (batch, others) = rest.split_at(count);
        batches.push(batch);
        (rest, left) = (others, left.saturating_sub(chunks));
    }
    batches
}
