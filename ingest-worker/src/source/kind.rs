//! What a file holds, told by the end of its name.

#[cfg(test)]
mod tests;

use std::path::Path;

use super::{
    Source, SourceFile, arrow,
    delimited::DelimitedSource,
    fetched::FetchedSource,
    html,
    json::JsonSource,
    jsonl::JsonlSource,
    markdown, parquet, pdf,
    statutes::StatutesSource,
    whole::{WholeSource, plain},
};
use crate::error::IngestError;

/// The endings of the files that are read, for people.
pub const KNOWN_KINDS: &str = ".jsonl, .json, .csv, .tsv, .md, .txt, .html or .xml, each also with .gz or .zst, .parquet, .arrow, \
                               .feather or .pdf";

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `.jsonl`, `.ndjson`: one record per line.
    Jsonl,
    /// `.json`: a list of records, or records one after the other.
    Json,
    /// `.csv`, `.tsv`: a table with a header; each row is a record.
    Delimited,
    /// `.parquet`: each row is a record.
    Parquet,
    /// `.arrow`, `.feather`: each row is a record.
    Arrow,
    /// `.md`: the file is one document, its front matter aside.
    Markdown,
    /// `.txt`: the file is one document.
    Plain,
    /// `.html`, `.htm`: the main text is one document.
    Html,
    /// `.pdf`: its pages are one document.
    Pdf,
    /// `.xml`: a statute, each section of which is a document.
    Statutes,
    /// What a server gave: one document per line; no file of a source is of this kind.
    Fetched,
}

impl FileKind {
    /// The kind of a file by its name, upper and lower case alike; an ending of packed text does not matter.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_lowercase();
        let unpacked = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
        let kind = match Path::new(unpacked.unwrap_or(&name)).extension()?.to_str()? {
            "jsonl" | "ndjson" => Self::Jsonl,
            "json" => Self::Json,
            "csv" | "tsv" => Self::Delimited,
            "parquet" => Self::Parquet,
            "arrow" | "feather" => Self::Arrow,
            "md" => Self::Markdown,
            "txt" => Self::Plain,
            "html" | "htm" => Self::Html,
            "pdf" => Self::Pdf,
            "xml" => Self::Statutes,
            _ => return None,
        };
        (unpacked.is_none() || kind.is_text()).then_some(kind)
    }

    /// Whether a file of the kind may be packed.
    fn is_text(self) -> bool {
        match self {
            Self::Jsonl
            | Self::Json
            | Self::Delimited
            | Self::Markdown
            | Self::Plain
            | Self::Html
            | Self::Statutes => true,
            Self::Parquet | Self::Arrow | Self::Pdf | Self::Fetched => false,
        }
    }
}

impl SourceFile {
    /// Opens the file at its start.
    pub(super) fn open(&self) -> Result<Box<dyn Source>, IngestError> {
        Ok(match self.kind {
            FileKind::Jsonl => Box::new(JsonlSource::open(self)?),
            FileKind::Json => Box::new(JsonSource::open(self)?),
            FileKind::Delimited => Box::new(DelimitedSource::open(self)?),
            FileKind::Parquet => Box::new(parquet::open(self)?),
            FileKind::Arrow => Box::new(arrow::open(self)?),
            FileKind::Markdown => Box::new(WholeSource::open(self, markdown::understand)?),
            FileKind::Plain => Box::new(WholeSource::open(self, plain)?),
            FileKind::Html => Box::new(WholeSource::open(self, html::understand)?),
            FileKind::Pdf => Box::new(WholeSource::open(self, pdf::understand)?),
            FileKind::Statutes => Box::new(StatutesSource::open(self)?),
            FileKind::Fetched => Box::new(FetchedSource::open(self)?),
        })
    }
}
