//! The documents of one server as lines of a file that only grows; what is not safe yet is cut off when it is opened again.

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Fetched, Page, SavedFile, SavedSource};
use crate::{error::IngestError, hashing::hash_bytes, source::MOST_DOCUMENT_BYTES};

/// Name of the file in the folder of its source.
const NAME: &str = "documents.jsonl";

/// A line for a document that the server gave broken; it holds this one field.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BrokenLine {
    /// Id and problem.
    #[serde(rename = "$broken")]
    pub(crate) broken: (String, String),
}

/// The growing file of one server.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    writer: BufWriter<File>,
    bytes: u64,
    /// Hashes of the ids that were met.
    seen: HashSet<u64>,
    saved: SavedSource,
}

impl Spool {
    /// Opens the file of a source below `folder` and goes on after what was saved of it.
    ///
    /// # Errors
    /// [`IngestError::Read`] when the file is shorter than what was saved, [`IngestError::Write`] when it cannot be written.
    pub(super) fn open(folder: &Path, mut saved: SavedSource) -> Result<Self, IngestError> {
        if saved.files.is_empty() {
            let path = format!("{}/{NAME}", saved.folder());
            saved.files.push(SavedFile { path, bytes: 0, entity: None });
        }
        let safe = saved.files.first().map_or(0, |file| file.bytes);
        let path = folder.join(saved.folder()).join(NAME);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(IngestError::write(parent))?;
        }
        let seen = if safe == 0 { HashSet::new() } else { ids(&path, safe)? };
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            if file.metadata()?.len() != safe {
                file.set_len(safe)?;
            }
            Ok(file)
        };
        let file = open().map_err(IngestError::write(&path))?;
        Ok(Self { writer: BufWriter::new(file), path, bytes: safe, seen, saved })
    }

    /// Adds what is new of a page and answers how many documents that is.
    pub(super) fn append(&mut self, page: Page) -> Result<u64, IngestError> {
        let mut new = 0;
        for document in page.documents {
            let (id, line) = match document {
                Fetched::Record(record) => self.record_line(&record)?,
                Fetched::Broken { id, problem } => (Some(id.clone()), self.broken_line(id, problem)?),
            };
            if id.is_some_and(|id| !self.seen.insert(hash_bytes(id.as_bytes()))) {
                self.saved.repeated += 1;
                continue;
            }
            self.saved.broken += u64::from(is_broken(&line));
            for bytes in [line.as_slice(), b"\n"] {
                self.writer.write_all(bytes).map_err(IngestError::write(&self.path))?;
                self.bytes += bytes.len() as u64;
            }
            new += 1;
        }
        self.saved.fetched += new;
        self.saved.cursor = Some(page.cursor);
        if let Some(keys) = page.keys {
            self.saved.keys = keys;
        }
        Ok(new)
    }

    /// Makes everything so far safe on the disk and answers what may be saved of it.
    pub(super) fn sync(&mut self) -> Result<&SavedSource, IngestError> {
        self.writer
            .flush()
            .and_then(|()| self.writer.get_ref().sync_data())
            .map_err(IngestError::write(&self.path))?;
        if let Some(file) = self.saved.files.first_mut() {
            file.bytes = self.bytes;
        }
        Ok(&self.saved)
    }

    /// Notes that the server has nothing more.
    pub(super) fn end(&mut self, state: Option<Value>) {
        self.saved.state = state;
        self.saved.finished = true;
    }

    /// How far it has come; its files say what is safe.
    pub(super) fn saved(&self) -> &SavedSource {
        &self.saved
    }

    /// Bytes of the file, those included that are not safe yet.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The line of a record and its id.
    fn record_line(&self, record: &Map<String, Value>) -> Result<(Option<String>, Vec<u8>), IngestError> {
        let id = match record.get("id") {
            Some(Value::String(id)) => Some(id.clone()),
            Some(Value::Number(id)) => Some(id.to_string()),
            Some(_) | None => None,
        };
        let line = self.json(record)?;
        if line.len() as u64 > MOST_DOCUMENT_BYTES {
            let problem = format!("the document is longer than {MOST_DOCUMENT_BYTES} bytes");
            let line = self.broken_line(id.clone().unwrap_or_default(), problem)?;
            return Ok((id, line));
        }
        Ok((id, line))
    }

    fn broken_line(&self, id: String, problem: String) -> Result<Vec<u8>, IngestError> {
        self.json(&BrokenLine { broken: (id, problem) })
    }

    fn json(&self, value: &impl Serialize) -> Result<Vec<u8>, IngestError> {
        serde_json::to_vec(value).map_err(|error| IngestError::write(&self.path)(error.into()))
    }
}

/// Whether a line is a [`BrokenLine`]; a record of that name has other fields too.
pub(crate) fn is_broken(line: &[u8]) -> bool {
    line.starts_with(br#"{"$broken":["#)
}

/// Hashes of the ids in the first `safe` bytes of a file.
fn ids(path: &Path, safe: u64) -> Result<HashSet<u64>, IngestError> {
    #[derive(Deserialize)]
    struct Id {
        id: Option<Value>,
        #[serde(rename = "$broken")]
        broken: Option<(String, String)>,
    }
    let file = File::open(path).map_err(IngestError::read(path))?;
    let found = file.metadata().map_err(IngestError::read(path))?.len();
    if found < safe {
        let problem = format!("it has {found} bytes, but {safe} were saved");
        return Err(IngestError::read(path)(std::io::Error::other(problem)));
    }
    let mut seen = HashSet::new();
    let mut reader = BufReader::new(file.take(safe));
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(IngestError::read(path))? == 0 {
            return Ok(seen);
        }
        let parsed: Id =
            serde_json::from_slice(&line).map_err(|error| IngestError::read(path)(error.into()))?;
        let id = match (parsed.id, parsed.broken) {
            (Some(Value::String(id)), _) | (None, Some((id, _))) => Some(id),
            (Some(Value::Number(id)), _) => Some(id.to_string()),
            (Some(_) | None, _) => None,
        };
        seen.extend(id.map(|id| hash_bytes(id.as_bytes())));
    }
}
