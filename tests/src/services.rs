//! A private RabbitMQ and Redis for one test.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// A RabbitMQ and a Redis of one test, ended and removed when dropped.
#[derive(Debug)]
pub struct Services {
    folder: tempfile::TempDir,
    /// Where RabbitMQ is.
    pub amqp_url: String,
    /// Where Redis is.
    pub redis_url: String,
}

impl Services {
    /// Starts both; takes some seconds.
    ///
    /// # Errors
    /// When they cannot be started; `scripts/setup.sh test` installs them.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let said = script("start", folder.path())?;
        let value = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_owned).with_context(|| format!("{name} is missing in:\n{said}"))
        };
        let (amqp_url, redis_url) = (value("AMQP_URL")?, value("REDIS_URL")?);
        Ok(Self { folder, amqp_url, redis_url })
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Err(error) = script("wipe", self.folder.path()) {
            eprintln!("{error}");
        }
    }
}

fn script(verb: &str, folder: &Path) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services.sh");
    let output = Command::new(script).arg(verb).arg(folder.join("services")).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "services.sh {verb} failed: {said}");
    Ok(String::from_utf8(output.stdout)?)
}
