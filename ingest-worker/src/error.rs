//! What can go wrong when a dataset is made, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use clara_runtime::{artifacts::ArtifactError, stop::StopReason};

use crate::fetch::FetchError;

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
        "cannot find source {path}: expected a file (.jsonl, .md, .txt) or a folder on the machine of the \
         ingest-worker; correct the path"
    )]
    MissingSource {
        /// The source as given.
        path: String,
    },
    /// A source is of a kind that nothing reads.
    #[error("cannot read source {path}: files of kind `{found}` are not known; expected .jsonl, .md or .txt")]
    UnknownKind {
        /// The source as given.
        path: String,
        /// What its name ends with.
        found: String,
    },
    /// The sources hold nothing.
    #[error(
        "the sources hold no document: looked into {sources}; expected .jsonl, .md or .txt files that are not \
         empty (found {skipped} files of other kinds); correct the path or add documents"
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
    #[error("cannot read {path}: {source}; check that the file is there and may be read")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What failed.
        source: io::Error,
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
    /// A source changed between the pass that ranks and the pass that selects.
    #[error("the sources changed while they were read; repeat the stage when nothing writes to {sources}")]
    SourcesChanged {
        /// The sources as given.
        sources: String,
    },
    /// More lines are broken than the job tolerates.
    #[error(
        "{broken} of {read} documents are broken, more than the limit of {limit} (share of all documents); first: {first}; \
         repair these lines or raise ingest.max_broken_share"
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
    /// The query holds no word that could be searched for.
    #[error(
        "the query `{query}` holds no word to search for; give at least one word, or leave the query out to take all documents"
    )]
    EmptyQuery {
        /// The query as given.
        query: String,
    },
    /// No document matches the query.
    #[error(
        "empty result: the query `{query}` matches none of {searched} documents; use words that occur in the \
         documents (stems and compounds match, synonyms do not), or leave the query out to take all of them"
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
            Self::Fetch(error) => error.is_retryable(),
            Self::Checkpoint { source } => source.is_retryable(),
            Self::Options { .. }
            | Self::MissingSource { .. }
            | Self::UnknownKind { .. }
            | Self::NoDocuments { .. }
            | Self::NothingNew { .. }
            | Self::TooManyBroken { .. }
            | Self::EmptyQuery { .. }
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
