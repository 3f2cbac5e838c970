//! A private RabbitMQ and Redis for one test.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// A RabbitMQ and a Redis of one test, or one of them; ended and removed when dropped.
#[derive(Debug)]
pub struct Services {
    folder: tempfile::TempDir,
    settings: Vec<(&'static str, &'static str)>,
    /// Where RabbitMQ is; empty without one.
    pub amqp_url: String,
    /// Where Redis is; empty without one.
    pub redis_url: String,
}

impl Services {
    /// Starts both; takes some seconds.
    ///
    /// # Errors
    /// When they cannot be started; `scripts/setup.sh test` installs them.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts what the settings of `scripts/services.sh` say.
    ///
    /// # Errors
    /// As [`Services::start`].
    pub fn start_with(settings: &[(&'static str, &'static str)]) -> Result<Self> {
        let (folder, settings) = (tempfile::tempdir()?, settings.to_vec());
        let (amqp_url, redis_url) = (String::new(), String::new());
        let mut services = Self { folder, settings, amqp_url, redis_url };
        let said = services.start_again()?;
        let value = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_owned).with_context(|| format!("{name} is missing in:\n{said}"))
        };
        let only = services.settings.iter().find(|(name, _)| *name == "SERVICES_ONLY").map(|(_, only)| *only);
        if only != Some("redis") {
            services.amqp_url = value("AMQP_URL")?;
        }
        if only != Some("rabbitmq") {
            services.redis_url = value("REDIS_URL")?;
        }
        Ok(services)
    }

    /// `kill -9` of `rabbitmq` or `redis`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, server: &str) -> Result<()> {
        self.script("kill", &[server]).map(drop)
    }

    /// Starts what was killed, at its place and with its data. Answers what the script said.
    ///
    /// # Errors
    /// As [`Services::start`].
    pub fn start_again(&self) -> Result<String> {
        self.script("start", &[])
    }

    /// Starts `rabbitmq` or `redis` alone.
    ///
    /// # Errors
    /// As [`Services::start`].
    pub fn start_only(&self, server: &str) -> Result<()> {
        let mut command = self.command("start", &[]);
        output(command.env("SERVICES_ONLY", server)).map(drop)
    }

    /// Sends a command to Redis.
    ///
    /// # Errors
    /// When it is not carried out.
    pub fn redis(&self, words: &[&str]) -> Result<()> {
        // It takes a URL without a user for one whose user has no name.
        let url = self.redis_url.replace("redis://:", "redis://default:");
        let mut command = Command::new("redis-cli");
        output(command.args(["-e", "--no-auth-warning", "-u", &url]).args(words)).map(drop)
    }

    /// `rabbitmqctl`.
    ///
    /// # Errors
    /// When it fails.
    pub fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        self.script("ctl", arguments)
    }

    /// Where Redis keeps its data.
    pub fn redis_folder(&self) -> PathBuf {
        self.folder.path().join("services/redis")
    }

    fn script(&self, verb: &str, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(verb, arguments))
    }

    fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services.sh");
        let mut command = Command::new(script);
        command.arg(verb).arg(self.folder.path().join("services")).args(arguments);
        command.envs(self.settings.iter().copied());
        command
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Err(error) = self.script("wipe", &[]) {
            eprintln!("{error}");
        }
    }
}

/// What a command says that must succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "{command:?} failed: {} {}", said.0, said.1);
    Ok(String::from_utf8(output.stdout)?)
}
