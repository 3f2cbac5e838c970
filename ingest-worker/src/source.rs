//! Where documents come from: files of many kinds, read one document at a time.

mod arrow;
mod caught;
mod delimited;
mod discover;
mod fetched;
#[cfg(test)]
mod fixtures;
mod flow;
mod html;
mod input;
mod json;
mod jsonl;
mod kind;
mod markdown;
mod parquet;
mod pdf;
mod record;
mod statutes;
mod table;
mod whole;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    path::PathBuf,
    sync::Arc,
};

use crate::{error::IngestError, hashing::hash_bytes};
use clara_lifecycle::{
    dataset::{SourceFileEntry, TrainingContent},
    digest::Digest,
};

pub(crate) use self::pdf::PAGE_BREAK;
pub use self::{
    discover::{Found, SourceFile, discover},
    kind::{FileKind, KNOWN_KINDS},
};

/// The longest document in bytes, a line, row, section or whole file; longer ones count as broken, so that one bad file
/// cannot fill the memory.
pub const MOST_DOCUMENT_BYTES: u64 = 64 << 20;

/// One document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Unique within the sources.
    pub id: String,
    /// Where it was read.
    pub origin: Origin,
    /// The domain that it names, if any.
    pub domain: Option<String>,
    /// The licence that it names, if any.
    pub licence: Option<String>,
    /// The classification that it names, such as `public`, if any.
    pub classification: Option<String>,
    /// What it teaches.
    pub content: TrainingContent,
    /// Its other texts by field name, such as a heading; searched by the query, never trained on.
    pub metadata: BTreeMap<String, String>,
}

/// A document that could not be understood: a line, a row, a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Where it was read.
    pub origin: Origin,
    /// What is wrong with it, without its content.
    pub problem: String,
}

/// What a source yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceItem {
    /// A document.
    Document(Document),
    /// A broken document.
    Broken(Broken),
}

/// A place in a source, shown as `file:line`, or `file` where the file is one document. Rows of tables, elements of lists
/// and sections of statutes count as lines do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    file: Arc<str>,
    line: Option<u64>,
}

/// A file that yields documents. A new kind of file implements this and gets a line in [`FileKind`].
pub trait Source {
    /// The next document, whole or broken, `None` at the end.
    ///
    /// # Errors
    /// [`IngestError::Read`] when the file cannot be read any further.
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError>;

    /// Size and digest of what was read; of the whole file, once it is at its end.
    fn read_so_far(&self) -> (u64, Digest);
}

/// All files of a job, one after the other.
pub struct SourceReader<'a> {
    files: std::slice::Iter<'a, SourceFile>,
    current: Option<(&'a SourceFile, Box<dyn Source>)>,
    ids: HashSet<u64>,
    entries: Vec<SourceFileEntry>,
    shown: BTreeMap<PathBuf, Arc<str>>,
}

impl Document {
    /// Content and metadata as one text to search in.
    pub fn searchable_text(&self) -> String {
        let texts = self.content.texts().into_iter();
        texts.chain(self.metadata.values().map(String::as_str)).collect::<Vec<_>>().join("\n")
    }
}

impl Origin {
    /// A line, row, element or section of a file, counted from 1.
    pub fn line(file: impl Into<Arc<str>>, line: u64) -> Self {
        Self { file: file.into(), line: Some(line) }
    }

    /// A whole file.
    pub fn file(file: impl Into<Arc<str>>) -> Self {
        Self { file: file.into(), line: None }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}", self.file),
            None => formatter.write_str(&self.file),
        }
    }
}

impl SourceItem {
    /// Where it was read.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Document(document) => &document.origin,
            Self::Broken(broken) => &broken.origin,
        }
    }

    fn show_at(&mut self, file: &Arc<str>) {
        let origin = match self {
            Self::Document(document) => &mut document.origin,
            Self::Broken(broken) => &mut broken.origin,
        };
        origin.file = Arc::clone(file);
    }
}

impl fmt::Debug for SourceReader<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SourceReader").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<'a> SourceReader<'a> {
    /// A reader at the start of the first file.
    pub fn new(files: &'a [SourceFile]) -> Self {
        Self {
            files: files.iter(),
            current: None,
            ids: HashSet::new(),
            entries: Vec::new(),
            shown: BTreeMap::new(),
        }
    }

    /// The same, with other places than their own for some files, by their paths.
    #[must_use]
    pub fn showing(mut self, shown: BTreeMap<PathBuf, Arc<str>>) -> Self {
        self.shown = shown;
        self
    }

    /// The next document of any file, whole or broken, `None` at the end of the last.
    ///
    /// A document with the id of an earlier one gets `id@file:line`, so that ids stay unique.
    ///
    /// # Errors
    /// [`IngestError::Read`] when a file cannot be opened or read.
    pub fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        loop {
            let Some((file, source)) = &mut self.current else {
                let Some(file) = self.files.next() else { return Ok(None) };
                self.current = Some((file, file.open()?));
                continue;
            };
            if let Some(mut item) = source.next_item()? {
                if let SourceItem::Document(document) = &mut item {
                    make_unique(&mut self.ids, document, &file.name);
                }
                if let Some(shown) = self.shown.get(&file.path) {
                    item.show_at(shown);
                }
                return Ok(Some(item));
            }
            let (size_bytes, digest) = source.read_so_far();
            self.entries.push(SourceFileEntry { name: file.name.clone(), size_bytes, digest });
            self.current = None;
        }
    }

    /// The source, as given, of the last item.
    pub fn source(&self) -> Option<&'a str> {
        self.current.as_ref().map(|(file, _)| &*file.source)
    }

    /// The files that were read to their ends.
    pub fn into_entries(self) -> Vec<SourceFileEntry> {
        self.entries
    }
}

/// The main text of an HTML page.
///
/// # Errors
/// What is wrong with it, without its content.
pub(crate) fn text_of_html(bytes: &[u8]) -> Result<String, String> {
    html::understand(bytes).map(|understood| understood.text)
}

/// The text of all pages of a PDF file.
///
/// # Errors
/// What is wrong with it, e.g. that it is encrypted or that its pages are pictures.
pub(crate) fn text_of_pdf(bytes: &[u8]) -> Result<String, String> {
    pdf::understand(bytes).map(|understood| understood.text)
}

/// One digest over names and contents of files, in their order.
pub fn source_digest(entries: &[SourceFileEntry]) -> Digest {
    Digest::of_parts(entries.iter().map(|entry| (entry.name.as_str(), entry.digest.as_str().as_bytes())))
}

/// Adds `@file:line` to an id that was met before; the path of the source does not matter.
fn make_unique(ids: &mut HashSet<u64>, document: &mut Document, file_name: &str) {
    while !ids.insert(hash_bytes(document.id.as_bytes())) {
        let place = match document.origin.line {
            Some(line) => format!("@{file_name}:{line}"),
            None => format!("@{file_name}"),
        };
        document.id.push_str(&place);
    }
}
