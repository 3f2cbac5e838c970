//! Why a call to a judge gave no reply.

use clara_runtime::stop::StopReason;

/// Why a call gave no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The attempt was told to stop.
    #[error("the attempt was stopped: {0:?}")]
    Stopped(StopReason),
    /// Nobody names a judge.
    #[error(
        "there is no judge: neither the job (--judge-url) nor this judge-worker (judge.url of its settings) names an \
         endpoint; set judge.url and retry the job"
    )]
    Unnamed,
    /// The endpoint cannot be called at all.
    #[error("cannot call a judge at {url}: {detail}; correct `judge.url`")]
    Setup {
        /// Base URL.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// The key cannot be read.
    #[error(
        "cannot call the judge at {url}: {detail}; name a variable in `judge.api_key_env` (--judge-api-key-env) that \
         the judge-worker has and whose name ends in _API_KEY"
    )]
    Key {
        /// Base URL.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// Nobody answers, or only with requests to come later.
    #[error(
        "the judge at {url} does not answer after {tries} tries: {detail}; check that it runs and that `judge.url` \
         is right, then resume the job from stage judge"
    )]
    Down {
        /// Base URL.
        url: String,
        /// How often it was called.
        tries: u32,
        /// What came of the last call.
        detail: String,
    },
    /// The endpoint fails for this request again and again.
    #[error(
        "the judge at {url} fails: {detail}; look at its log, or choose another endpoint with `judge.url`, then \
         resume the job from stage judge"
    )]
    ServerError {
        /// Base URL.
        url: String,
        /// What came of the last call.
        detail: String,
    },
    /// The account is used up; waiting does not help.
    #[error(
        "the quota at the judge {url} is used up: {detail}; top it up, then resume the job from stage judge"
    )]
    Quota {
        /// Base URL.
        url: String,
        /// What the endpoint says.
        detail: String,
    },
    /// The job may spend no more.
    #[error(
        "the budget of the judge is used up: {spent} are spent, the next call may cost {next}, and the job may spend \
         {most}; raise it and go on with `clara job retry JOB --judge-budget AMOUNT`: no reply is paid for twice"
    )]
    Budget {
        /// What is spent, with the currency.
        spent: String,
        /// What the call may cost.
        next: String,
        /// What may be spent.
        most: String,
    },
    /// A reply that was paid for cannot be written down.
    #[error("a reply of the judge cannot be written down, so no more is asked: {detail}")]
    Ledger {
        /// What failed.
        detail: String,
        /// Whether it may work later.
        retryable: bool,
    },
    /// The endpoint refuses every call: wrong key, model or URL.
    #[error(
        "the judge at {url} refuses the call with status {status}: {detail}; check `judge.url`, `judge.model` and \
         the key in the variable named by `judge.api_key_env`"
    )]
    Refused {
        /// Base URL.
        url: String,
        /// HTTP status.
        status: u16,
        /// What the endpoint says.
        detail: String,
    },
    /// The endpoint does not accept this one request.
    #[error("the judge does not accept the request (status {status}): {detail}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// What the endpoint says.
        detail: String,
        /// The whole answer.
        body: String,
    },
}

impl CallError {
    /// Whether the same call may succeed later without anyone's doing.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Down { .. } | Self::ServerError { .. } => true,
            Self::Ledger { retryable, .. } => *retryable,
            Self::Stopped(_)
            | Self::Unnamed
            | Self::Setup { .. }
            | Self::Key { .. }
            | Self::Quota { .. }
            | Self::Budget { .. }
            | Self::Refused { .. }
            | Self::Rejected { .. } => false,
        }
    }
}

impl CallError {
    /// Whether it concerns one question alone, so that others may still be asked.
    pub(crate) fn is_for_one_question(&self) -> bool {
        matches!(self, Self::Rejected { .. } | Self::ServerError { .. })
    }
}

/// An error with everything that it comes from, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}
