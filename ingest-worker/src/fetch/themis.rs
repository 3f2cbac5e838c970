//! Reads documents of a ThemisDB, as of November 2025 and of 2026: by full text, AQL, export or changefeed.

mod changes;
mod cursor;
mod entities;
mod export;
mod fulltext;
mod record;
mod rows;
mod server;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use clara_runtime::config::ThemisRoute;
use serde_json::{Value, json};
use tracing::warn;

use super::{FetchError, Fetched, Page, Reached, Remote, RemoteRequest};
use crate::filter;
use cursor::{At, Cursor};
use export::Export;
use server::Server;

/// So many documents of the job's domain are read for each that `top_k` asks for, since the pipeline ranks and drops
/// by its own measures.
const CANDIDATES: u64 = 4;
/// After so many documents without any text the settings are taken to be wrong.
const MOST_WITHOUT_TEXT: u64 = 20;

/// A ThemisDB as a source of documents.
#[derive(Debug)]
pub struct ThemisDb {
    server: Server,
    request: RemoteRequest,
    /// `None` until the first page asks the server where to begin.
    cursor: Option<Cursor>,
    /// What [`At::Keys`] counts in.
    keys: Vec<String>,
    /// Whether no page has given the keys yet.
    are_keys_new: bool,
    export: Option<Export>,
    without_text: u64,
    has_text: bool,
}

/// What one step along a route gave.
struct Step {
    documents: Vec<Fetched>,
    next: At,
}

impl ThemisDb {
    /// A reader at the beginning, or from where an earlier pass left off; nothing is asked yet.
    ///
    /// # Errors
    /// [`FetchError::Refused`] when the settings, the token or the cursor cannot be used.
    pub fn open(request: RemoteRequest, reached: Option<Reached>) -> Result<Self, FetchError> {
        let server = Server::new(&request)?;
        let (cursor, keys) = match reached {
            None => (None, Vec::new()),
            Some(Reached { cursor, keys }) => {
                let cursor = Cursor::read(cursor, &keys).map_err(|problem| server.http.refused(problem))?;
                (Some(cursor), keys)
            }
        };
        let (are_keys_new, export, has_text) = (false, None, false);
        Ok(Self { server, request, cursor, keys, are_keys_new, export, without_text: 0, has_text })
    }

    /// Asks the server where to begin; the keys are those that the cursor counts in.
    async fn begin(&self) -> Result<(Cursor, Vec<String>), FetchError> {
        let server = &self.server;
        if let Some(since) = &self.request.since {
            let (keys, sequence) = changes::since(server, since).await?;
            return Ok((Cursor { at: At::keys(&keys), sequence: Some(sequence), left: None }, keys));
        }
        let sequence = changes::latest(server).await;
        // The index of the server knows no compounds, so a search that asks for all there is reads all and searches here.
        let wants_all = self.request.top_k.is_none();
        let query = self.request.query.as_deref();
        let (at, keys) = match (self.request.settings.route, query) {
            (ThemisRoute::Export, _) => (At::export(), Vec::new()),
            (ThemisRoute::Aql, _) | (ThemisRoute::Auto, None) => (At::rows(), Vec::new()),
            (ThemisRoute::Auto, Some(_)) if wants_all => (At::rows(), Vec::new()),
            (ThemisRoute::Auto | ThemisRoute::Fulltext, Some(query)) => self.ranked(query).await?,
            (ThemisRoute::Fulltext, None) => {
                return Err(server.http.refused(format!(
                    "full-text search needs a query; give the job one, or set {}.route to \"aql\"",
                    server.http.section()
                )));
            }
        };
        let is_ranked = matches!(at, At::Keys { .. });
        let left = self.request.top_k.filter(|_| is_ranked).map(|top_k| u64::from(top_k) * CANDIDATES);
        Ok((Cursor { at, sequence, left }, keys))
    }

    /// The documents that hold a word of the query; all of them when none is found and the settings leave the route open.
    async fn ranked(&self, query: &str) -> Result<(At, Vec<String>), FetchError> {
        let keys = fulltext::search(&self.server, query).await?;
        if !keys.is_empty() {
            return Ok((At::keys(&keys), keys));
        }
        if self.request.settings.route == ThemisRoute::Fulltext {
            warn!(
                "{} finds no word of the query in its full-text index, which knows no compounds",
                self.request.source
            );
            return Ok((At::End, keys));
        }
        warn!(
            "{} finds no word of the query in its full-text index, which knows no compounds; all documents are read and \
             searched here",
            self.request.source
        );
        Ok((At::rows(), keys))
    }

    /// One step along the route.
    async fn step(&mut self, at: &At) -> Result<Step, FetchError> {
        match at {
            At::Keys { read, gone } => {
                let end = self.keys.len().min(read + self.server.page);
                let found =
                    entities::fetch(&self.server, self.keys.get(*read..end).unwrap_or_default()).await?;
                let (read, gone) = (read + found.read, gone + found.gone);
                let is_end = read >= self.keys.len();
                if is_end && gone > 0 && gone >= self.keys.len() as u64 {
                    return Err(self.server.all_gone(gone));
                }
                let next = if is_end { At::End } else { At::Keys { read, gone } };
                Ok(Step { documents: found.documents, next })
            }
            At::Rows { last, token } => {
                let rows = rows::page(&self.server, last.as_ref(), token.as_deref()).await?;
                let Some(end) = rows.keys.len().checked_sub(1) else {
                    return Ok(Step { documents: Vec::new(), next: At::End });
                };
                let keys: Vec<String> = rows.keys.iter().map(rows::key_text).collect();
                let found = entities::fetch(&self.server, &keys).await?;
                // The token leads behind the whole page; without it, keys lead behind what was read of it.
                let is_whole = found.read > end;
                let last = rows.keys.get(found.read.saturating_sub(1)).cloned().or_else(|| last.clone());
                let next = At::Rows { last, token: rows.token.filter(|_| is_whole) };
                Ok(Step { documents: found.documents, next })
            }
            At::Export { seen } => {
                let Some(documents) = Export::page(&mut self.export, &self.server, seen).await? else {
                    warn!(
                        "{} has no export, as ThemisDB of 2025 has none; its documents are read by AQL",
                        self.request.source
                    );
                    return Ok(Step { documents: Vec::new(), next: At::rows() });
                };
                let mut seen = seen.clone();
                seen.extend(documents.iter().map(|(hash, _)| *hash));
                let next = if documents.is_empty() { At::End } else { At::Export { seen } };
                Ok(Step { documents: documents.into_iter().map(|(_, document)| document).collect(), next })
            }
            At::End => Ok(Step { documents: Vec::new(), next: At::End }),
        }
    }

    /// Counts down the documents that are still wanted: those that may be of the job's domain.
    fn left(&self, left: Option<u64>, documents: &[Fetched]) -> Option<u64> {
        let is_wanted = |document: &&Fetched| match document {
            Fetched::Broken { .. } => false,
            Fetched::Record(record) => {
                let domain = record.get("domain").and_then(Value::as_str);
                filter::domain(domain, &self.request.domain).is_none()
            }
        };
        left.map(|left| left.saturating_sub(documents.iter().filter(is_wanted).count() as u64))
    }

    /// Refuses settings under which no document has a text.
    fn check_text(&mut self, documents: &[Fetched], is_end: bool) -> Result<(), FetchError> {
        if self.has_text || self.request.since.is_some() {
            return Ok(());
        }
        for document in documents {
            let Fetched::Broken { problem, .. } = document else {
                self.has_text = true;
                return Ok(());
            };
            self.without_text += 1;
            let is_enough = is_end || self.without_text >= MOST_WITHOUT_TEXT;
            if problem.starts_with(record::NO_TEXT) && is_enough {
                return Err(self.server.no_text(self.without_text, problem));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Remote for ThemisDb {
    async fn next_page(&mut self) -> Result<Option<Page>, FetchError> {
        self.server.http.news();
        loop {
            let Some(cursor) = self.cursor.clone() else {
                let (cursor, keys) = self.begin().await?;
                self.are_keys_new = !keys.is_empty();
                (self.cursor, self.keys) = (Some(cursor), keys);
                continue;
            };
            if matches!(cursor.at, At::End) || cursor.left == Some(0) {
                return Ok(None);
            }
            let total = matches!(cursor.at, At::Keys { .. }).then_some(self.keys.len() as u64);
            let Step { documents, next } = self.step(&cursor.at).await?;
            let left = self.left(cursor.left, &documents);
            self.check_text(&documents, matches!(next, At::End))?;
            let cursor = Cursor { at: next, left, ..cursor };
            if documents.is_empty() {
                self.cursor = Some(cursor);
                self.server.http.check_patience("its pages hold no document")?;
                continue;
            }
            let value = cursor.value().map_err(|problem| self.server.http.refused(problem))?;
            self.cursor = Some(cursor);
            let keys = std::mem::take(&mut self.are_keys_new).then(|| self.keys.clone());
            return Ok(Some(Page { documents, cursor: value, keys, total }));
        }
    }

    fn state(&self) -> Option<Value> {
        let sequence = self.cursor.as_ref()?.sequence?;
        Some(json!({ "sequence": sequence }))
    }
}
