//! A real Prometheus with the files of `deploy/prometheus`, over the daemons of one test.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{process::Process, until::until};

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A Prometheus that reads and evaluates every second; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    _folder: tempfile::TempDir,
    address: String,
}

impl Prometheus {
    /// Where its files are.
    pub fn files() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
    }

    /// Starts on a free port, over targets of which each is a value for the label `job` and an address.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(targets: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (files, here) = (Self::files(), folder.path());
        let example = fs::read_to_string(files.join("prometheus.yaml"))?;
        let quick = example.replace("_interval: 15s", "_interval: 1s");
        ensure!(quick != example, "the intervals of prometheus.yaml are not the expected 15 s");
        fs::write(here.join("prometheus.yaml"), quick)?;
        fs::copy(files.join("clara.rules.yaml"), here.join("clara.rules.yaml"))?;
        let target =
            |(job, address): &(&str, &str)| json!({ "labels": { "job": job }, "targets": [address] });
        let targets: Vec<Value> = targets.iter().map(target).collect();
        // JSON is YAML too.
        fs::write(here.join("targets.yaml"), Value::from(targets).to_string())?;
        let mut command = Command::new("prometheus");
        command.current_dir(here).arg("--web.listen-address=127.0.0.1:0");
        command.args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"]);
        let mut process = Process::start(&mut command, here.join("log"))?;
        let address = process.says("msg=\"Listening on\" address=")?;
        process.says("msg=\"Server is ready to receive web requests.\"")?;
        Ok(Self { _process: process, _folder: folder, address })
    }

    /// What its API says at a path, e.g. `rules`.
    ///
    /// # Errors
    /// When it says an error, or nothing.
    pub fn api(&self, path: &str) -> Result<Value> {
        let said = fetch(&self.address, &format!("/api/v1/{path}"))?;
        let mut answer: Value = serde_json::from_str(&said).with_context(|| format!("no JSON: {said}"))?;
        let ok = answer.get("status").is_some_and(|status| status == "success");
        ensure!(ok, "Prometheus refuses {path}: {said}");
        answer.get_mut("data").map(Value::take).with_context(|| format!("no data: {said}"))
    }

    /// The series that an expression has now.
    ///
    /// # Errors
    /// When the expression is wrong or cannot be evaluated.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let mut path = "query?query=".to_owned();
        for byte in expression.bytes() {
            write!(path, "%{byte:02X}")?;
        }
        let mut data = self.api(&path).context(expression.to_owned())?;
        match data.get_mut("result").map(Value::take) {
            Some(Value::Array(series)) => Ok(series),
            other => bail!("expected series of {expression}, found {other:?}"),
        }
    }

    /// Waits until an expression has series.
    ///
    /// # Errors
    /// When it has none for long, or cannot be evaluated.
    pub fn until_shown(&self, expression: &str) -> Result<Vec<Value>> {
        until(expression, || {
            let series = self.query(expression)?;
            Ok((!series.is_empty()).then_some(series))
        })
    }
}

/// The body at a path of a server nearby, whatever its status.
///
/// # Errors
/// When there is no answer.
pub fn fetch(address: &str, path: &str) -> Result<String> {
    let mut connection = TcpStream::connect(address).with_context(|| format!("nobody is at {address}"))?;
    connection.set_read_timeout(Some(ANSWER_WITHIN))?;
    // HTTP/1.0 ends with the connection and has no chunks.
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer}"))?;
    Ok(body.to_owned())
}
