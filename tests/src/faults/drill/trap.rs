//! Labelled points at which a process dies or stands still.

use std::{
    fmt,
    future::Future,
    io,
    path::Path,
    pin::pin,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clara_lifecycle::{stage::Stage, statistics::SplitMix64};
use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use super::notes::{Note, Notebook};

/// How long after it began a call may be cut off.
const WITHIN: Duration = Duration::from_millis(15);

/// A point of the work of a worker or of a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    /// A worker has a task and did not claim it yet.
    Received,
    /// Its claim was granted.
    Claimed,
    /// The task is acknowledged.
    Acked,
    /// The handler begins.
    Started,
    /// The handler did some steps.
    MidStage,
    /// Some of a checkpoint's files are stored.
    CheckpointHalfWritten,
    /// The artifacts of the result are stored.
    ArtifactWritten,
    /// The result was not sent yet.
    BeforeCommit,
    /// The result was sent, and there is no answer yet.
    ResultSent,
    /// A coordinator committed a task and did not publish it yet.
    TaskCommitted,
    /// It publishes a task, and there is no confirm yet.
    Publishing,
    /// The task is confirmed and not settled yet.
    Published,
    /// It committed a result and did not answer yet.
    ResultCommitted,
}

impl Point {
    /// The points of a worker.
    pub const OF_WORKER: [Self; 9] = [
        Self::Received,
        Self::Claimed,
        Self::Acked,
        Self::Started,
        Self::MidStage,
        Self::CheckpointHalfWritten,
        Self::ArtifactWritten,
        Self::BeforeCommit,
        Self::ResultSent,
    ];
    /// The points of a coordinator.
    pub const OF_COORDINATOR: [Self; 4] =
        [Self::TaskCommitted, Self::Publishing, Self::Published, Self::ResultCommitted];
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
}

/// What a trap waits for: the first time that a point is reached, in a stage or in any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snare {
    /// What happens.
    pub action: Action,
    /// Where.
    pub point: Point,
    /// In which stage; any without one.
    pub stage: Option<Stage>,
}

impl fmt::Display for Snare {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |value: Result<serde_json::Value, serde_json::Error>| {
            value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
        };
        let (action, point) = (serde_json::to_value(self.action), serde_json::to_value(self.point));
        write!(formatter, "{}@{}", word(action), word(point))?;
        self.stage.map_or(Ok(()), |stage| write!(formatter, ":{stage}"))
    }
}

impl FromStr for Snare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no trap; expected e.g. kill@acked or stop@mid-stage:train");
        let (action, place) = text.split_once('@').ok_or_else(wrong)?;
        let (point, stage) =
            place.split_once(':').map_or((place, None), |(point, stage)| (point, Some(stage)));
        let stage = stage.map(str::parse).transpose().map_err(|_| wrong())?;
        let action = serde_json::from_value(action.into()).map_err(|_| wrong())?;
        let point = serde_json::from_value(point.into()).map_err(|_| wrong())?;
        Ok(Self { action, point, stage })
    }
}

/// A trap of a process, or none; clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Trap {
    snare: Option<Snare>,
    sprung: Arc<AtomicBool>,
    dice: Arc<Mutex<SplitMix64>>,
    pub(super) notes: Notebook,
}

impl Trap {
    pub(super) fn new(process: &str, notes: &Path, snare: Option<Snare>, seed: u64) -> io::Result<Self> {
        let notes = Notebook::open(process, notes)?;
        let dice = Arc::new(Mutex::new(SplitMix64::new(seed)));
        Ok(Self { snare, sprung: Arc::default(), dice, notes })
    }

    /// Whether the trap waits here.
    pub(super) fn waits_at(&self, point: Point, stage: Stage) -> bool {
        let here =
            |snare: Snare| snare.point == point && snare.stage.is_none_or(|expected| expected == stage);
        self.snare.is_some_and(here) && !self.sprung.load(Ordering::Relaxed)
    }

    /// A point is reached: the process dies or stands still if the trap waits here.
    pub(super) async fn reach(&self, point: Point, stage: Stage) {
        if !self.waits_at(point, stage) || self.sprung.swap(true, Ordering::Relaxed) {
            return;
        }
        self.notes.write(Note::Trapped { point });
        if self.snare.is_some_and(|snare| snare.action == Action::Stop) {
            signal(Signal::STOP);
        } else {
            self.die();
            std::future::pending::<()>().await;
        }
    }

    /// `kill -9` of this process.
    pub(super) fn die(&self) {
        self.notes.write(Note::Interrupted { is_over: true });
        signal(Signal::KILL);
    }

    /// The point lies somewhere between the beginning of `work` and its end.
    pub(super) async fn during<T>(&self, point: Point, stage: Stage, work: impl Future<Output = T>) -> T {
        if !self.waits_at(point, stage) {
            return work.await;
        }
        let mut work = pin!(work);
        let moment = WITHIN.mul_f64(self.dice.lock().unit());
        let done = tokio::time::timeout(moment, &mut work).await;
        self.reach(point, stage).await;
        match done {
            Ok(done) => done,
            Err(_) => work.await,
        }
    }
}

fn signal(signal: Signal) {
    if let Err(error) = kill_process(getpid(), signal) {
        eprintln!("this process cannot be given {signal:?}: {error}");
    }
}
