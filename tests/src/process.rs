//! A program that runs beside a test and logs to a file.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::until::until;

/// A program that runs; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it says on standard error goes to the file `log`.
    ///
    /// # Errors
    /// When it cannot be started; `scripts/setup.sh test` installs what tests need.
    pub fn start(command: &mut Command, log: PathBuf) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let said = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}; run scripts/setup.sh test if it is missing"))?;
        Ok(Self { name, child, log })
    }

    /// Waits until a line of the log has `text`; answers the word that follows it, nothing at the end of a line.
    ///
    /// # Errors
    /// When it ends or says no such thing; with its log.
    pub fn says(&mut self, text: &str) -> Result<String> {
        until(&format!("`{text}` in the log of {}", self.name), || {
            let log = fs::read_to_string(&self.log)?;
            // The last line may be half written.
            let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some((_, rest)) = whole.lines().find_map(|line| line.split_once(text)) {
                return Ok(Some(rest.split_whitespace().next().unwrap_or_default().to_owned()));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{log}", self.name);
            }
            Ok(None)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
