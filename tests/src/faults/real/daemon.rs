//! One process of a trial.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a process may take to be up.
const UP_WITHIN: Duration = Duration::from_mins(1);

/// A process; killed when dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) name: String,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts a program whose log goes to a file in `folder`.
    pub(super) fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file: File = OpenOptions::new().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// What it logged so far.
    pub(super) fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.context("the process has no id")?, signal)?)
    }

    /// SIGTERM, as soon as the process listens for it; none to one that ended.
    pub(super) async fn terminate(&mut self) -> Result<()> {
        let give_up = Instant::now() + UP_WITHIN;
        while self.ended()?.is_none() && !self.log()?.contains("answers /livez") {
            ensure!(Instant::now() < give_up, "{} was not up within {UP_WITHIN:?}", self.name);
            tokio::time::sleep(LOOK).await;
        }
        if self.ended()?.is_none() { self.signal(Signal::TERM) } else { Ok(()) }
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub(super) async fn end(&mut self, within: Duration) -> Result<ExitStatus> {
        let give_up = Instant::now() + within;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            ensure!(Instant::now() < give_up, "{} did not end within {within:?}", self.name);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it stands still.
    pub(super) async fn stopped(&self, within: Duration) -> Result<()> {
        let give_up = Instant::now() + within;
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
            if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "{} did not stop within {within:?}", self.name);
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
