//! From the name that a job gives to the server behind it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_runtime::config::{RemoteKind, RemoteSettings};

use super::{Chroma, CouchDb, FetchError, Postgres, Reached, Remote, RemoteRequest, themis::ThemisDb};

/// The servers that documents come from, by the name that jobs give as `@NAME`.
pub type Servers = BTreeMap<String, RemoteSettings>;

/// Opens the server of a request, to be read on from where an earlier pass left off, if there was one.
///
/// Nothing is asked of the server before its first page is.
///
/// # Errors
/// [`FetchError::Refused`] when the settings cannot be used.
pub fn open(request: RemoteRequest, reached: Option<Reached>) -> Result<Box<dyn Remote>, FetchError> {
    let cursor = reached.as_ref().map(|reached| &reached.cursor);
    match request.settings.kind {
        Some(RemoteKind::ThemisDb) => Ok(Box::new(ThemisDb::open(request, reached)?)),
        Some(RemoteKind::Chroma) => Ok(Box::new(Chroma::open(&request, cursor)?)),
        Some(RemoteKind::Postgres) => Ok(Box::new(Postgres::open(&request, cursor)?)),
        Some(RemoteKind::CouchDb) => Ok(Box::new(CouchDb::open(&request, cursor)?)),
        None => Err(FetchError::Refused {
            source_name: request.source,
            problem: "its settings name no kind; give one of themisdb, chroma, postgres, couchdb".into(),
        }),
    }
}

/// The settings of the source that a job names as `@NAME`.
///
/// # Errors
/// [`FetchError::Unknown`] when the settings hold no such source.
pub fn settings_of<'a>(servers: &'a Servers, source: &str) -> Result<&'a RemoteSettings, FetchError> {
    let name = source.strip_prefix('@').unwrap_or(source);
    servers.get(name).ok_or_else(|| {
        let known: Vec<String> = servers.keys().map(|name| format!("@{name}")).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        FetchError::Unknown { source_name: source.to_owned(), known }
    })
}
