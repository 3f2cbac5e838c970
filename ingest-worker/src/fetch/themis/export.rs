//! Reads the export of training records line by line; the server cannot go on in the middle, so lines that were read are known
//! by their hashes.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{cursor::Seen, server::Server};
use crate::fetch::{
    FetchError, Fetched,
    http::{Ask, MOST_DOCUMENT_BYTES},
};

/// Where the export may be.
const PATH: &str = "api/export/jsonl_llm";
/// Pause before an export that was cut is asked for again.
const PAUSE: Duration = Duration::from_millis(200);
/// Fields of a record that may name it, first those at the server's choice.
const IDS: [&str; 5] = ["id", "document_id", "_key", "pk", "key"];

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct Export {
    response: Response,
    /// Bytes behind the last whole line.
    rest: Vec<u8>,
    /// So many of them hold no line break.
    searched: usize,
    /// A line that is too long is being passed over.
    is_skipping: bool,
    is_done: bool,
}

/// A line, or what it holds instead.
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Export {
    /// Documents of the next lines that are not in `seen`, with the hashes of their lines; none at the end. `None` when the server
    /// has no export. `open` is the answer so far; it is lost when this is cancelled, and asked for again.
    ///
    /// # Errors
    /// As [`crate::fetch::http::Http::ask`].
    pub(super) async fn page(
        open: &mut Option<Self>,
        server: &Server,
        seen: &Seen,
    ) -> Result<Option<Vec<(u64, Fetched)>>, FetchError> {
        let mut pause = PAUSE;
        let mut met = Seen::default();
        let mut documents = Vec::new();
        let mut export = match open.take() {
            Some(export) => export,
            None => match Self::begin(server).await? {
                Some(export) => export,
                None => return Ok(None),
            },
        };
        while documents.len() < server.page {
            match export.next_line(server).await {
                Ok(None) => break,
                Ok(Some(line)) => {
                    let (hash, document) = line.document(server);
                    if seen.contains(hash) || met.contains(hash) {
                        continue;
                    }
                    met.extend(std::iter::once(hash));
                    server.http.news();
                    documents.push((hash, document));
                }
                Err(problem) => {
                    server.http.rest(&problem, None, &mut pause).await?;
                    match Self::begin(server).await? {
                        Some(again) => export = again,
                        None => return Err(server.http.refused("its export is gone; repeat the stage")),
                    }
                }
            }
        }
        *open = Some(export);
        Ok(Some(documents))
    }

    async fn begin(server: &Server) -> Result<Option<Self>, FetchError> {
        let text = server.mapping.text();
        let body = json!({
            "domain": server.domain,
            "format": "text_completion",
            "field_mapping": { "text_field": text },
            "quality_filters": { "min_output_length": 0, "remove_duplicates": false },
        });
        match server.http.begin(&Ask::post(PATH, body)).await? {
            Ok(response) => {
                Ok(Some(Self { response, rest: Vec::new(), searched: 0, is_skipping: false, is_done: false }))
            }
            Err(crate::fetch::http::Answer::Refused { status: 404 | 405 | 501, .. }) => Ok(None),
            Err(answer) => {
                Err(server.not_served("the export", &answer, "set route to \"auto\" in the settings"))
            }
        }
    }

    /// The next line that is not blank, `None` at the end.
    async fn next_line(&mut self, server: &Server) -> Result<Option<Line>, String> {
        loop {
            let unsearched = self.rest.get(self.searched..).unwrap_or_default();
            if let Some(place) = unsearched.iter().position(|byte| *byte == b'\n') {
                let end = self.searched + place;
                self.searched = 0;
                let tail = self.rest.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.rest, tail);
                line.pop();
                if std::mem::take(&mut self.is_skipping) {
                    return Ok(Some(Line::TooLong));
                }
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(Line::Whole(line)));
            }
            if self.is_done {
                let line = std::mem::take(&mut self.rest);
                if std::mem::take(&mut self.is_skipping) {
                    return Ok(Some(Line::TooLong));
                }
                let is_blank = line.iter().all(u8::is_ascii_whitespace);
                return Ok((!is_blank).then_some(Line::Whole(line)));
            }
            if self.rest.len() > MOST_DOCUMENT_BYTES {
                self.is_skipping = true;
                self.rest.clear();
            }
            self.searched = self.rest.len();
            match server.http.next_bytes(&mut self.response).await? {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None => self.is_done = true,
            }
        }
    }
}

impl Line {
    /// Hash of the line and its document.
    fn document(self, server: &Server) -> (u64, Fetched) {
        let broken = |id: String, problem: &str| Fetched::Broken { id, problem: problem.to_owned() };
        let line = match self {
            Self::TooLong => return (0, broken("export".to_owned(), "a line is longer than 64 MiB")),
            Self::Whole(line) => line,
        };
        let hash = hash(&line);
        let name = format!("export-{hash:016x}");
        let Ok(text) = std::str::from_utf8(&line) else {
            return (hash, broken(name, "it is no UTF-8"));
        };
        let Ok(Value::Object(record)) = serde_json::from_str(text) else {
            return (hash, broken(name, "it is no JSON object"));
        };
        let flat = flatten(record);
        let id = IDS.iter().find_map(|field| match flat.get(*field)? {
            Value::String(id) if !id.trim().is_empty() => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        });
        let id = id.unwrap_or(name);
        let document = match server.mapping.exported(&id, &flat) {
            Ok(record) => Fetched::Record(record),
            Err(problem) => Fetched::Broken { id, problem },
        };
        (hash, document)
    }
}

/// The fields of the record and, below them, those of its metadata; weights are left out.
fn flatten(mut record: Map<String, Value>) -> Map<String, Value> {
    record.remove("weight");
    if let Some(Value::Object(metadata)) = record.remove("metadata") {
        for (name, value) in metadata {
            record.entry(name).or_insert(value);
        }
    }
    record
}

fn hash(line: &[u8]) -> u64 {
    let digest = Sha256::digest(line);
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}
