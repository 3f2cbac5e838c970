//! Servers that documents come from: the tables `[sources.NAME]`, which jobs name as `@NAME`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{HumanDuration, Secret};

/// One server that documents come from. A field that a kind has no use for is refused by that kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteSettings {
    /// What the server is. Required.
    pub kind: Option<RemoteKind>,
    /// Base URL, e.g. `https://themis:8765`, or `postgres://user@host/database`. Required.
    pub url: Option<Secret>,
    /// Table, collection or database with the documents. Required but for `postgres` with `query`.
    pub table: Option<String>,
    /// `postgres`: the query that yields the documents, in place of `table`; must give the column `key`.
    pub query: Option<String>,
    /// `postgres`, `themisdb`: column that orders the rows and never repeats, such as the primary key. Default: the column of `id`.
    pub key: Option<String>,
    /// Names of the fields or columns: `text`, `id`, `domain` and every other name of `ingest.fields`. Default: as the kind has them.
    pub fields: BTreeMap<String, String>,
    /// Fields that become metadata, dots lead into objects. Default: all texts.
    pub metadata: Vec<String>,
    /// A condition of the server's own language that narrows what is read. Default: none.
    pub filter: Option<String>,
    /// `chroma`: the tenant. Default `default_tenant`.
    pub tenant: Option<String>,
    /// `chroma`: the database. Default `default_database`.
    pub database: Option<String>,
    /// `themisdb`: how documents are found. Default `auto`.
    pub route: ThemisRoute,
    /// Environment variable with the bearer token or password. Default: none.
    pub token_env: Option<String>,
    /// `couchdb`: the user. Default: none.
    pub user: Option<String>,
    /// The authority that signed the server's certificate, in PEM. Default: the system's authorities.
    pub ca_certificate: Option<PathBuf>,
    /// Certificate that proves who we are, in PEM; with `client_key`. Default: none.
    pub client_certificate: Option<PathBuf>,
    /// Its private key, in PEM. Default: none.
    pub client_key: Option<PathBuf>,
    /// Documents asked for at once. Default 500, 1 to 10000.
    pub page: usize,
    /// Requests in flight. Default 8, 1 to 64.
    pub parallel: usize,
    /// Longest wait for one answer. Default `60s`, 1s to 1h.
    pub timeout: HumanDuration,
    /// Longest time without a new document, retries included, after which the stage fails. Default `10min`, 1s to 24h.
    pub patience: HumanDuration,
}

/// What a server of documents is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteKind {
    /// ThemisDB.
    #[serde(rename = "themisdb")]
    ThemisDb,
    /// Chroma, where UDS3 keeps texts.
    Chroma,
    /// PostgreSQL, with any of the UDS3 schemas or a query.
    Postgres,
    /// `CouchDB`, where UDS3 keeps files.
    #[serde(rename = "couchdb")]
    CouchDb,
}

/// How documents of a ThemisDB are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThemisRoute {
    /// Full-text search when the job wants the best few of a query (`top_k`), else AQL.
    #[default]
    Auto,
    /// `POST /search/fulltext`, then each document by its key.
    Fulltext,
    /// AQL, then each document by its key.
    Aql,
    /// `POST /api/export/jsonl_llm`.
    Export,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self {
            kind: None,
            url: None,
            table: None,
            query: None,
            key: None,
            fields: BTreeMap::new(),
            metadata: Vec::new(),
            filter: None,
            tenant: None,
            database: None,
            route: ThemisRoute::default(),
            token_env: None,
            user: None,
            ca_certificate: None,
            client_certificate: None,
            client_key: None,
            page: 500,
            parallel: 8,
            timeout: HumanDuration(Duration::from_mins(1)),
            patience: HumanDuration(Duration::from_mins(10)),
        }
    }
}

impl RemoteSettings {
    /// The fields that are wrong, and what is expected of them.
    pub(super) fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let within = |HumanDuration(given): HumanDuration, most: Duration| {
            (Duration::from_secs(1)..=most).contains(&given)
        };
        let is_postgres = self.kind == Some(RemoteKind::Postgres);
        let checks = [
            ("kind", self.kind.is_some(), "one of themisdb, chroma, postgres, couchdb"),
            ("url", self.url.is_some(), "the base URL of the server"),
            (
                "table",
                self.table.is_some() || (is_postgres && self.query.is_some()),
                "the table, collection or database with the documents",
            ),
            ("query", is_postgres || self.query.is_none(), "nothing: only postgres takes a query"),
            ("client_key", self.client_certificate.is_some() == self.client_key.is_some(), "both or neither"),
            ("page", (1..=10_000).contains(&self.page), "1 to 10000"),
            ("parallel", (1..=64).contains(&self.parallel), "1 to 64"),
            ("timeout", within(self.timeout, Duration::from_hours(1)), "1s to 1h"),
            ("patience", within(self.patience, Duration::from_hours(24)), "1s to 24h"),
        ];
        checks
            .into_iter()
            .filter(|(_, holds, _)| !holds)
            .map(|(field, _, allowed)| (field, allowed))
            .collect()
    }
}
