//! A daemon as a process of its own: its log, its health, its metrics and its end.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::sandbox::Sandbox;

/// How long a daemon may take for anything; much, since tests share few cores.
const WITHIN: Duration = Duration::from_secs(90);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: NamedTempFile,
}

impl Daemon {
    /// Starts a program, e.g. `gpu-worker run`, in the sandbox's home with settings as environment variables.
    ///
    /// # Errors
    /// When it is not built.
    pub fn start(sandbox: &Sandbox, words: &[&str], settings: &[(&str, &str)]) -> Result<Self> {
        let (name, args) = words.split_first().context("no program is named")?;
        let log = NamedTempFile::new()?;
        let mut command = sandbox.program(name, args)?;
        command.envs(settings.iter().copied());
        if !args.contains(&"--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        let child = command.stdout(Stdio::null()).stderr(log.reopen()?).spawn()?;
        Ok(Self { name: (*name).to_owned(), child, log })
    }

    /// Everything it logged so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.log.path())?)
    }

    /// How many lines of the log hold `text`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn times_logged(&self, text: &str) -> Result<usize> {
        Ok(self.log()?.lines().filter(|line| line.contains(text)).count())
    }

    /// Waits until it logged `text`.
    ///
    /// # Errors
    /// When it did not in time.
    pub fn until_logged(&self, text: &str) -> Result<()> {
        self.until(&format!("it logs `{text}`"), || Ok(self.log()?.contains(text)))
    }

    /// Where its listener for health, metrics and pages is.
    ///
    /// # Errors
    /// When it does not listen yet.
    pub fn url(&self) -> Result<String> {
        let log = self.log()?;
        let address = log.lines().find_map(|line| line.split_once("answers /livez")?.1.split_once("http://"));
        let (_, address) = address.context("it does not listen yet")?;
        Ok(format!("http://{}", address.trim()))
    }

    /// The status and the body at `path` of its listener for health and metrics.
    ///
    /// # Errors
    /// When nothing is answered.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let url = self.url()?;
        let address = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn until_ready(&self) -> Result<()> {
        self.until("it is ready", || Ok(self.get("/readyz").is_ok_and(|(status, _)| status == 200)))
    }

    /// Waits until `/readyz` answers 503 with `reason`, and finds the process alive then.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn until_not_ready(&self, reason: &str) -> Result<()> {
        self.until(&format!("it is not ready: {reason}"), || {
            Ok(self.get("/readyz").is_ok_and(|(status, body)| status == 503 && body.contains(reason)))
        })?;
        let (status, body) = self.get("/livez")?;
        ensure!(status == 200, "/livez of {} answers {status}: {body}", self.name);
        Ok(())
    }

    /// Waits until `/metrics` has a line that begins with `sample`, e.g. `clara_train_loss 0`.
    ///
    /// # Errors
    /// When it has not in time.
    pub fn until_measured(&self, sample: &str) -> Result<()> {
        self.until(&format!("it shows {sample}"), || {
            let page = self.get("/metrics");
            Ok(page.is_ok_and(|(_, page)| page.lines().any(|line| line.starts_with(sample))))
        })
    }

    fn until(&self, what: &str, holds: impl FnMut() -> Result<bool>) -> Result<()> {
        if until(WITHIN, holds)? {
            return Ok(());
        }
        bail!("{} was not seen so that {what}:\n{:?}\n{}", self.name, self.get("/readyz"), self.log()?)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the process has no id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Holds it to an end with `code` within a time; answers its log.
    ///
    /// # Errors
    /// When it ends otherwise, or not in time.
    pub fn ends(mut self, code: i32, within: Duration) -> Result<String> {
        let mut found = None;
        until(within, || {
            found = self.child.try_wait()?;
            Ok(found.is_some())
        })?;
        let log = self.log()?;
        let found = found.with_context(|| format!("{} did not end within {within:?}:\n{log}", self.name))?;
        ensure!(found.code() == Some(code), "{} ended with {found}, expected {code}:\n{log}", self.name);
        Ok(log)
    }

    /// Holds it to a refused start: exit code 1, every one of `parts` in its log, and never `secret`.
    ///
    /// # Errors
    /// When it starts, or says something else.
    pub fn refuses_to_start(self, parts: &[&str], secret: &str) -> Result<()> {
        let log = self.ends(1, WITHIN)?;
        for part in parts {
            ensure!(log.contains(part), "`{part}` is missing in:\n{log}");
        }
        ensure!(!log.contains(secret), "`{secret}` is shown in:\n{log}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(within: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + within;
    while !holds()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(true)
}
