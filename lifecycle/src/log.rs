//! What an attempt says about itself while it runs, line by line.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Attempt, Fence},
    stage::Stage,
    time::Timestamp,
};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Something began, ended or was counted.
    Info,
    /// Degraded, but carrying on.
    Warn,
    /// Someone must act.
    Error,
}

impl LogLevel {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// One line of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its place in the log of its attempt, from 1; where lines had to be dropped, numbers are missing.
    pub number: u64,
    /// When it was said, on the worker's clock.
    pub at: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// The part of the program that said it, e.g. `clara_ingest_worker::ingest`.
    pub target: String,
    /// What was said, with its fields as `name=value` at the end.
    pub message: String,
}

/// Lines of one attempt, in order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPart {
    /// The attempt's stage.
    pub stage: Stage,
    /// The attempt.
    pub attempt: Attempt,
    /// The attempt's fence; a job's attempts in order of their fences are in order of their claims.
    pub fence: Fence,
    /// The lines.
    pub lines: Vec<LogLine>,
}

/// A line of a job's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogPosition {
    /// Fence of the line's attempt.
    pub fence: Fence,
    /// The line's number in that attempt.
    pub line: u64,
}
