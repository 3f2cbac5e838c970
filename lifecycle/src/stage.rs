//! The stages of a job, in order, and the steps under which people know them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One stage of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Source, query and domain become a dataset.
    Ingest,
    /// Dataset and base model become an adapter.
    Train,
    /// The adapter answers the golden dataset.
    Generate,
    /// A judge scores the answers.
    Judge,
    /// The scores become a decision.
    Gate,
    /// The approved adapter becomes the champion and reaches its rollout targets.
    Rollout,
}

impl Stage {
    /// All stages in the order in which a job passes them.
    pub const ALL: [Self; 6] =
        [Self::Ingest, Self::Train, Self::Generate, Self::Judge, Self::Gate, Self::Rollout];

    /// The stage after this one.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Ingest => Some(Self::Train),
            Self::Train => Some(Self::Generate),
            Self::Generate => Some(Self::Judge),
            Self::Judge => Some(Self::Gate),
            Self::Gate => Some(Self::Rollout),
            Self::Rollout => None,
        }
    }

    /// The name on the wire, in metrics and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Train => "train",
            Self::Generate => "generate",
            Self::Judge => "judge",
            Self::Gate => "gate",
            Self::Rollout => "rollout",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A text that names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a stage; expected one of ingest, train, generate, judge, gate, rollout")]
pub struct UnknownStage {
    /// The text as given.
    pub found: String,
}

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| UnknownStage { found: text.to_owned() })
    }
}
