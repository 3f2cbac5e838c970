//! One pass over a double, as the driver makes it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use clara_ingest_worker::fetch::{FetchError, Fetched, Page, Remote as _, RemoteRequest, themis::ThemisDb};
use clara_runtime::config::{RemoteKind, RemoteSettings, Secret, ThemisRoute};
use serde_json::{Map, Value};

use crate::double::Double;

/// A request to read all of a double's documents.
pub(crate) fn request(double: &Double, route: ThemisRoute) -> Result<RemoteRequest> {
    let mut settings = RemoteSettings {
        kind: Some(RemoteKind::ThemisDb),
        url: Some(Secret::new(double.url.as_str())),
        table: Some("documents".to_owned()),
        route,
        page: 7,
        parallel: 4,
        ..RemoteSettings::default()
    };
    settings.patience.0 = Duration::from_secs(20);
    settings.timeout.0 = Duration::from_secs(5);
    Ok(RemoteRequest {
        source: "@gesetze".to_owned(),
        settings,
        domain: "verwaltungsrecht".parse()?,
        query: None,
        top_k: None,
        since: None,
    })
}

/// What a whole pass gave.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) records: BTreeMap<String, Map<String, Value>>,
    /// Ids in the order of the server.
    pub(crate) order: Vec<String>,
    pub(crate) broken: BTreeMap<String, String>,
    pub(crate) state: Option<Value>,
    pub(crate) total: Option<u64>,
}

impl Given {
    /// Takes a page.
    ///
    /// # Errors
    /// A document was given before.
    pub(crate) fn take(&mut self, page: Page) -> Result<()> {
        if page.documents.is_empty() {
            bail!("a page holds no document");
        }
        self.total = page.total;
        for document in page.documents {
            let (id, is_new) = match document {
                Fetched::Record(record) => {
                    let id =
                        record.get("id").and_then(Value::as_str).context("a record has no id")?.to_owned();
                    (id.clone(), self.records.insert(id, record).is_none())
                }
                Fetched::Broken { id, problem } => (id.clone(), self.broken.insert(id, problem).is_none()),
            };
            if !is_new {
                bail!("document {id} was given twice");
            }
            self.order.push(id);
        }
        Ok(())
    }

    /// Ids of the documents that the pipeline would rank: those of the domain or of none that hold one of the words.
    pub(crate) fn matching(&self, query: &[&str]) -> Vec<String> {
        let is_match = |record: &Map<String, Value>| {
            let domain = record.get("domain").and_then(Value::as_str).unwrap_or("verwaltungsrecht");
            let text = record.get("text").and_then(Value::as_str).unwrap_or_default();
            let has = |word: &&str| {
                text.split(|letter: char| !letter.is_alphanumeric()).any(|found| found == *word)
            };
            domain == "verwaltungsrecht" && query.iter().any(has)
        };
        self.records.iter().filter(|(_, record)| is_match(record)).map(|(id, _)| id.clone()).collect()
    }
}

/// Reads everything.
///
/// # Errors
/// As [`ThemisDb::next_page`], and when a document is given twice.
pub(crate) async fn read(request: RemoteRequest) -> Result<Given> {
    let mut themis = ThemisDb::open(request, None)?;
    let mut given = Given::default();
    while let Some(page) = themis.next_page().await? {
        given.take(page)?;
    }
    given.state = themis.state();
    Ok(given)
}

/// Reads until it fails, and tells whether a repetition may help, and the message.
///
/// # Errors
/// It does not fail, or fails otherwise.
pub(crate) async fn failure(request: RemoteRequest) -> Result<(bool, String)> {
    match read(request).await {
        Ok(given) => bail!("{} documents were read and nothing failed", given.order.len()),
        Err(error) => {
            let error = error.downcast::<FetchError>()?;
            Ok((error.is_retryable(), error.to_string()))
        }
    }
}
