//! What can go wrong when a dataset is made, and what to do about it.

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use clara_lifecycle::{counted::counted, query::QueryError};
use clara_runtime::{artifacts::ArtifactError, stop::StopReason};

use crate::{fetch::FetchError, source::KNOWN_KINDS};

/// Why no dataset was made.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Options that contradict each other.
    #[error("ingest options cannot be used: {problem}")]
    Options {
        /// What is wrong and what to do.
        problem: String,
    },
    /// A source does not exist.
    #[error(
        "cannot find source {path}: expected a file, a folder or a pattern such as `laws/**/*.xml` on the machine of the \
         ingest-worker; correct the path"
    )]
    MissingSource {
        /// The source as given.
        path: String,
    },
    /// A source is of a kind that nothing reads.
    #[error("cannot read source {path}: {}; expected {KNOWN_KINDS}", unknown_kind(found))]
    UnknownKind {
        /// The source as given.
        path: String,
        /// What its name ends with; nothing where it has no ending.
        found: String,
    },
    /// The sources hold nothing.
    #[error(
        "the sources hold no document: looked into {sources}; expected files that are not \
         empty, of the kinds {KNOWN_KINDS} (found {} of other kinds); correct the path or add documents",
        counted(*skipped, "file")
    )]
    NoDocuments {
        /// The sources as given.
        sources: String,
        /// Files of unknown kinds.
        skipped: usize,
    },
    /// Servers gave nothing that is newer than an earlier dataset.
    #[error(
        "nothing has changed in {sources} since the newest dataset of the adapter's family; leave --since-last out to take \
         everything"
    )]
    NothingNew {
        /// The sources as given.
        sources: String,
    },
    /// A source could not be read.
    #[error("cannot read {path}: {source}; {}", advice(source))]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// A file holds many documents, and those after some place cannot be told from its content.
    #[error(
        "cannot read {path}: {problem}; an unknown number of its documents would be lost, so repair the file, fetch \
         it again or take it out of the sources"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without its content.
        problem: String,
    },
    /// The columns of a table hold no documents.
    #[error(
        "cannot take documents from the table {path}: {problem}; name its columns with `--field`, as in \
         `--field text=COLUMN` (`ingest.fields`), or take it out of the sources"
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// The columns that were expected and found.
        problem: String,
    },
    /// A pattern matches no file.
    #[error(
        "the pattern {pattern} matches no file on the machine of the ingest-worker; correct it (`*` stands for any part of a \
         name, `**` for any folders, hidden files do not count)"
    )]
    NoMatch {
        /// The source as given.
        pattern: String,
    },
    /// A file of the dataset could not be written.
    #[error(
        "cannot write {path}: {source}; check permissions and free space there, then repeat the stage: nothing \
         was published"
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The signatures of an earlier dataset cannot be used.
    #[error(
        "cannot use {path} to leave out documents of earlier datasets: {problem}; fetch the dataset again, or leave \
         out `--skip-known` (`ingest.clean.skip_known`)"
    )]
    EarlierSignatures {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        problem: String,
    },
    /// A source changed between the pass that ranks and the pass that selects.
    #[error("the sources changed while they were read; repeat the stage when nothing writes to {sources}")]
    SourcesChanged {
        /// The sources as given.
        sources: String,
    },
    /// More documents are broken than the job tolerates.
    #[error(
        "too many documents are broken: {broken} of {read}, more than the limit of {limit} (share of all documents); first: {first}; \
         repair them, name fields that are called otherwise with `--field text=NAME` (`ingest.fields`), or raise \
         `max_broken_share` under [ingest] in the file of --spec"
    )]
    TooManyBroken {
        /// Broken documents.
        broken: u64,
        /// Documents read.
        read: u64,
        /// `max_broken_share`.
        limit: f64,
        /// The first broken documents with their problems, without content.
        first: String,
    },
    /// The query holds no word, or is malformed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The server of embeddings refuses, or gives what is no embedding.
    #[error("cannot rank by the embeddings of {endpoint}: {problem}")]
    Embeddings {
        /// `ingest.rerank.endpoint`.
        endpoint: String,
        /// What failed, what was found and what to do.
        problem: String,
        /// Whether a repetition may help.
        is_retryable: bool,
    },
    /// No document matches the query.
    #[error(
        "empty result: the query `{query}` matches none of {}; use words that occur in the \
         documents (stems and compounds match, synonyms do not), or leave the query out to take all of them",
        counted(*searched, "document")
    )]
    NothingMatches {
        /// The query as given.
        query: String,
        /// Documents that were searched.
        searched: u64,
    },
    /// Every document was dropped.
    #[error(
        "no document is left of {read} ({dropped}); loosen the filter that drops most, or give other sources"
    )]
    NothingKept {
        /// Documents read.
        read: u64,
        /// Counts per drop reason, for people.
        dropped: String,
    },
    /// Documents could not be ranked.
    #[error("cannot rank documents in {path}: {source}; check free space there, then repeat the stage")]
    Ranking {
        /// Folder of the search index.
        path: PathBuf,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server or a file elsewhere gave no documents.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A checkpoint of what was fetched could not be stored or read.
    #[error("cannot keep a checkpoint of what was fetched: {source}")]
    Checkpoint {
        /// What failed.
        source: ArtifactError,
    },
    /// The attempt was told to stop.
    #[error("ingest was stopped: {0:?}")]
    Stopped(StopReason),
}

impl IngestError {
    /// Whether the same input may succeed when tried again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Write { .. } | Self::Ranking { .. } | Self::SourcesChanged { .. } => true,
            Self::Read { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
            }
            Self::Embeddings { is_retryable, .. } => *is_retryable,
            Self::Fetch(error) => error.is_retryable(),
            Self::Checkpoint { source } => source.is_retryable(),
            Self::Options { .. }
            | Self::MissingSource { .. }
            | Self::UnknownKind { .. }
            | Self::NoDocuments { .. }
            | Self::NothingNew { .. }
            | Self::EarlierSignatures { .. }
            | Self::Damaged { .. }
            | Self::Columns { .. }
            | Self::NoMatch { .. }
            | Self::TooManyBroken { .. }
            | Self::Query(_)
            | Self::NothingMatches { .. }
            | Self::NothingKept { .. }
            | Self::Stopped(_) => false,
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }
}

/// What to do about a file that could not be read.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            "its content is damaged: fetch or make it anew (`clara data lint DATASET` names what is damaged in a dataset)"
        }
        _ => "check that the file is there and may be read",
    }
}

fn unknown_kind(found: &str) -> String {
    match found.to_lowercase().as_str() {
        "" => "its name has no ending that tells what it holds, as in `law.jsonl`".to_owned(),
        packed @ ("gz" | "zst") => {
            format!("its name does not tell a kind of text that is read packed, as in `law.jsonl.{packed}`")
        }
        _ => format!("files of kind `{found}` are not known"),
    }
}
