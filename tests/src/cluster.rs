//! Servers, a home and a port for a coordinator: what daemons that work together need.

use std::net::TcpListener;

use anyhow::{Context, Result};

use crate::{Daemon, Ended, Sandbox, Services};

/// A pair of servers, a home and a port for the coordinator.
#[derive(Debug)]
pub struct Cluster {
    /// RabbitMQ and Redis.
    pub services: Services,
    /// The home of all daemons.
    pub sandbox: Sandbox,
    listen: String,
    coordinator_url: String,
}

impl Cluster {
    /// Starts the servers with settings of theirs, and prepares a training that does not end by itself.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn new(settings: &[(&'static str, &'static str)]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let listen = format!("127.0.0.1:{port}");
        let coordinator_url = format!("http://{listen}");
        let (services, sandbox) = (Services::start_with(settings)?, Sandbox::new(1_000_000)?);
        Ok(Self { services, sandbox, listen, coordinator_url })
    }

    /// Starts a daemon; `settings` win over those that name the servers.
    ///
    /// # Errors
    /// When it is not built.
    pub fn start(&self, words: &[&str], settings: &[(&str, &str)]) -> Result<Daemon> {
        let usual = [
            ("CLARA_STATE__URL", self.services.redis_url.as_str()),
            ("CLARA_BROKER__URL", self.services.amqp_url.as_str()),
            ("CLARA_LEASE__TTL", "8s"),
        ];
        let coordinator = [("CLARA_COORDINATOR", self.coordinator_url.as_str())];
        let is_coordinator = words.contains(&"coordinator");
        let named: &[(&str, &str)] = if is_coordinator { &[] } else { &coordinator };
        Daemon::start(&self.sandbox, words, &[usual.as_slice(), named, settings].concat())
    }

    /// Starts the coordinator.
    ///
    /// # Errors
    /// When it is not built.
    pub fn coordinator(&self, settings: &[(&str, &str)]) -> Result<Daemon> {
        self.start(&["coordinator", "--listen", &self.listen], settings)
    }

    /// Runs `clara` beside this coordinator.
    ///
    /// # Errors
    /// When it is not built.
    pub fn clara(&self, args: &[&str]) -> Result<Ended> {
        let mut command = self.sandbox.command(args)?;
        Ended::of(command.args(["--coordinator", &self.coordinator_url]).output()?)
    }

    /// Submits a job with the flags of `clara run` for the sandbox's data, then `more`; answers its id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn submit(&self, more: &[&str]) -> Result<String> {
        let args = self.sandbox.run_args(more);
        let args = args.iter().map(String::as_str).skip(1);
        let args: Vec<&str> = ["job", "submit", "-o", "json"].into_iter().chain(args).collect();
        let submitted = self.clara(&args)?.expect(0)?.json()?;
        let id = submitted.get("id").and_then(serde_json::Value::as_str);
        Ok(id.with_context(|| format!("no id in {submitted}"))?.to_owned())
    }
}
