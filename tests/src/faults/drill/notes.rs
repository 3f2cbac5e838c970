//! What the processes of a trial note: one line of JSON each, appended at once, so that a kill loses nothing.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use clara_lifecycle::{
    id::{Attempt, Fence, JobId},
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::clock::{Clock as _, SystemClock};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::Point;

/// A note and where it comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Noted {
    /// When, by the clock of the machine.
    pub at: Timestamp,
    /// The process.
    pub process: String,
    /// How far ahead the wall clock of the process is, in milliseconds.
    pub ahead_ms: i64,
    /// What.
    pub note: Note,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// A handler began.
    Began {
        /// Counts the handlers of the process.
        number: usize,
        /// The job.
        job: JobId,
        /// The stage.
        stage: Stage,
        /// The attempt.
        attempt: Attempt,
        /// The fence of its claim.
        fence: Fence,
        /// Steps that its checkpoint holds.
        first_step: u64,
    },
    /// A handler did a step.
    Step {
        /// The handler.
        number: usize,
        /// The step.
        step: u64,
    },
    /// A handler ended.
    Ended {
        /// The handler.
        number: usize,
    },
    /// The process is about to die or to stand still.
    Trapped {
        /// Where.
        point: Point,
    },
    /// From outside something happened to the process.
    Interrupted {
        /// Whether it is over with everything that it carried out.
        is_over: bool,
    },
}

impl Noted {
    /// Whether the wall clock of the process was set ahead or back by so much.
    pub fn is_ahead_by(&self, least: Duration) -> bool {
        u128::from(self.ahead_ms.unsigned_abs()) >= least.as_millis()
    }
}

/// Writes the notes of one process; clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct Notebook {
    process: String,
    file: Arc<Mutex<File>>,
}

impl Notebook {
    pub(crate) fn open(process: &str, path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { process: process.to_owned(), file: Arc::new(Mutex::new(file)) })
    }

    pub(crate) fn write(&self, note: Note) {
        self.write_of(&self.process, note);
    }

    /// Notes something about another process.
    pub(crate) fn write_of(&self, process: &str, note: Note) {
        let at = now();
        let ahead_ms = SystemClock.now().0 - at.0;
        let noted = Noted { at, process: process.to_owned(), ahead_ms, note };
        let written = serde_json::to_string(&noted).map_err(io::Error::from).and_then(|mut line| {
            line.push('\n');
            self.file.lock().write_all(line.as_bytes())
        });
        if let Err(error) = written {
            eprintln!("a note of {process} is lost: {error}");
        }
    }
}

/// The clock of the machine, asked in a way that no library put in front of it changes.
fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Realtime);
    Timestamp(time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}

/// All notes of a file, in the order in which they were written. A line that a kill cut off is left out.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn read_notes(path: &Path) -> Result<Vec<Noted>> {
    let text = std::fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    let read = |line: &str| serde_json::from_str(line).with_context(|| format!("not a note: {line}"));
    whole.lines().map(read).collect()
}
