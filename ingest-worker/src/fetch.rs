//! Documents of servers: read page by page into files of this machine, so that everything after works on files alone.

mod chroma;
mod collect;
mod collected;
mod couch;
mod error;
mod http;
mod mapping;
mod objects;
mod open;
mod patience;
mod pem;
mod place;
mod postgres;
#[cfg(test)]
mod reading;
mod saved;
mod spool;
#[cfg(test)]
pub(crate) mod testing;
pub mod themis;
mod waiting;

use async_trait::async_trait;
use clara_lifecycle::id::Domain;
use clara_runtime::config::RemoteSettings;
use serde_json::{Map, Value};

pub use chroma::Chroma;
pub use collect::{
    CHECKPOINT_EVERY, CollectObserver, CollectRequest, FetchProgress, OpenByKind, OpenRemote, collect,
};
pub use collected::Collected;
pub use couch::CouchDb;
pub use error::FetchError;
pub use objects::{URL_PATIENCE, check_url};
pub use open::{Servers, open, settings_of};
pub use place::Place;
pub use postgres::Postgres;
pub use saved::{Saved, SavedFile, SavedSource};
pub(crate) use spool::{BrokenLine, is_broken};
pub use waiting::Waiting;

/// What a server is asked for.
#[derive(Debug, Clone)]
pub struct RemoteRequest {
    /// The source as the job names it, e.g. `@gesetze`.
    pub source: String,
    /// The server.
    pub settings: RemoteSettings,
    /// The job's domain; servers may narrow by it, the filter of the pipeline decides.
    pub domain: Domain,
    /// The job's query, if any.
    pub query: Option<String>,
    /// Most documents by relevance, if the job limits them.
    pub top_k: Option<u32>,
    /// Where the newest dataset of the family left off: only what changed since is wanted.
    pub since: Option<Value>,
}

/// A server that gives documents page by page. A new kind of server implements this and gets a line in `open`.
#[async_trait]
pub trait Remote: Send + std::fmt::Debug {
    /// The next page, `None` at the end. Pauses that the server asks for, and repetitions, happen within.
    ///
    /// Cancellation-safe in this sense: a page that was not returned is read again.
    ///
    /// # Errors
    /// [`FetchError`] when the server refuses, or gives nothing for as long as the settings allow.
    async fn next_page(&mut self) -> Result<Option<Page>, FetchError>;

    /// The state of the server up to which this pass saw everything, for a later `since`; `None` where the server cannot tell.
    fn state(&self) -> Option<Value>;
}

/// Some documents, and where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// In the server's order.
    pub documents: Vec<Fetched>,
    /// What a later pass needs to go on after this page, beside `keys`.
    pub cursor: Value,
    /// The keys of all documents, when they were listed just before this page: they are given once, so that cursors stay small.
    pub keys: Option<Vec<String>>,
    /// Documents of the whole pass, where the server tells.
    pub total: Option<u64>,
}

/// Where an earlier pass left off.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// That of the newest page.
    pub cursor: Value,
    /// Those of the newest page that gave any; none for most servers.
    pub keys: Vec<String>,
}

/// A document, or what is wrong with one.
#[derive(Debug, Clone, PartialEq)]
pub enum Fetched {
    /// A record in the default names of `ingest.fields`, with `id`; other fields are metadata.
    Record(Map<String, Value>),
    /// A document that could not be understood: its id or key, and what is wrong, without its content.
    Broken {
        /// Id or key at the server.
        id: String,
        /// What is wrong.
        problem: String,
    },
}

/// Refuses settings that a kind of server has no use for.
fn unused(kind: &str, given: &[(&str, bool)]) -> Result<(), String> {
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(format!("`{name}` means nothing to a source of kind {kind}; leave it out")),
        None => Ok(()),
    }
}
