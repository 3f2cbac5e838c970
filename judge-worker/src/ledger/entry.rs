//! One line of the ledger: a reply, what it took, and the name under which it is stored.

use std::{fmt, str::FromStr};

use clara_lifecycle::digest::Digest;
use serde::{Deserialize, Serialize};

use super::Paid;
use crate::client::Reply;

/// Tokens of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tokens {
    /// Read.
    pub(crate) prompt: u64,
    /// Written.
    pub(crate) reply: u64,
    /// Whether they are estimated, because the endpoint tells none.
    pub(crate) is_estimated: bool,
}

/// A reply and what it took.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Layout; now 1.
    format: u32,
    /// Digest of the question.
    pub(super) key: Digest,
    pub(super) is_readable: bool,
    pub(super) retries: u32,
    pub(super) tokens: Tokens,
    pub(super) reply: Reply,
}

impl Entry {
    pub(super) fn new(key: &Digest, reply: &Reply, paid: Paid) -> Self {
        let Paid { tokens, retries, is_readable } = paid;
        Self { format: 1, key: key.clone(), is_readable, retries, tokens, reply: reply.clone() }
    }
}

/// A reply as other jobs find it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CachedReply {
    /// Layout; now 1.
    format: u32,
    pub(super) reply: Reply,
}

impl CachedReply {
    pub(super) fn new(reply: &Reply) -> Self {
        Self { format: 1, reply: reply.clone() }
    }
}

/// Name of what lies in a job's ledger: an entry, or the mark that a judging gave its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Entry { fence: u64, number: u64 },
    Finish { fence: u64 },
}

impl Name {
    pub(super) fn entry(fence: u64, number: u64) -> Self {
        Self::Entry { fence, number }
    }

    pub(super) fn finish(fence: u64) -> Self {
        Self::Finish { fence }
    }

    /// The claim of the attempt that wrote it.
    pub(super) fn fence(self) -> u64 {
        match self {
            Self::Entry { fence, .. } | Self::Finish { fence } => fence,
        }
    }

    /// The claim whose judging gave its result, if it says so.
    pub(super) fn finished(&self) -> Option<u64> {
        match self {
            Self::Finish { fence } => Some(*fence),
            Self::Entry { .. } => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { fence, number } => write!(formatter, "{fence:010}-{number:06}.json"),
            Self::Finish { fence } => write!(formatter, "{fence:010}-finished"),
        }
    }
}

/// A name that is none of ours.
#[derive(Debug)]
pub(super) struct Foreign;

impl FromStr for Name {
    type Err = Foreign;

    fn from_str(text: &str) -> Result<Self, Foreign> {
        let (fence, rest) = text.split_once('-').ok_or(Foreign)?;
        let fence = fence.parse().map_err(|_| Foreign)?;
        if rest == "finished" {
            return Ok(Self::Finish { fence });
        }
        let number = rest.strip_suffix(".json").and_then(|number| number.parse().ok()).ok_or(Foreign)?;
        Ok(Self::Entry { fence, number })
    }
}
