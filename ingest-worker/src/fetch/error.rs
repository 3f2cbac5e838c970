//! What can go wrong between the ingest-worker and a server of documents.

/// Why a server gave no documents.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The job names a source that the worker's settings do not hold.
    #[error(
        "source {source_name} is not known to this ingest-worker, which knows {known}; add the table [sources.{name}] to its \
         settings, or correct the name", name = source_name.trim_start_matches('@')
    )]
    Unknown {
        /// As the job names it.
        source_name: String,
        /// Names in the settings.
        known: String,
    },
    /// The server, or the settings for it, cannot give what is asked for; no repetition helps.
    #[error("{source_name} cannot be read: {problem}")]
    Refused {
        /// As the job names it.
        source_name: String,
        /// What failed, what was found and what to do.
        problem: String,
    },
    /// The server cannot be reached, or fails; a repetition may help.
    #[error("{source_name} gave no answer: {problem}")]
    Unavailable {
        /// As the job names it.
        source_name: String,
        /// What failed, how long it was tried and what to do.
        problem: String,
    },
}

impl FetchError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Unknown { .. } | Self::Refused { .. } => false,
        }
    }
}
