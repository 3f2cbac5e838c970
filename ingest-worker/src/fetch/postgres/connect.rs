//! A connection to PostgreSQL that is driven only while something is asked, so that no task of its own is needed.

use std::{future::Future, pin::Pin, time::Duration};

use clara_runtime::config::RemoteSettings;
use tokio_postgres::{
    Client, Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{problem, problem::Trouble, tls};

/// How to reach the server; nothing is sent yet.
pub(super) struct Address {
    config: Config,
    tls: MakeRustlsConnect,
    timeout: Duration,
}

/// An open connection.
pub(super) struct Connection {
    client: Client,
    driver: Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>,
    timeout: Duration,
}

impl Address {
    /// Understands URL, password and certificates. A server elsewhere must speak TLS, unless the URL says `sslmode=disable` or `prefer`.
    pub(super) fn new(settings: &RemoteSettings, section: &str) -> Result<Self, String> {
        let url = settings.url.as_ref().map_or("", |url| url.reveal());
        // rustls always checks the server's certificate and its name, as libpq does for these two.
        let url = url
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let mut config: Config = url.parse().map_err(|error| {
            format!(
                "`url` cannot be used: {}; expected postgres://USER@HOST:PORT/DATABASE?sslmode=require, certificates as \
                 `ca_certificate`, `client_certificate` and `client_key`",
                problem::causes(&error)
            )
        })?;
        if let Some(variable) = &settings.token_env {
            let password = std::env::var(variable).map_err(|_| {
                format!("the environment variable {variable} with the password is not set; set it for the ingest-worker, or correct `token_env`")
            })?;
            config.password(password);
        }
        let is_here = config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
            #[cfg(unix)]
            Host::Unix(_) => true,
        });
        if settings.ca_certificate.is_some() || !(is_here || url.contains("sslmode=")) {
            config.ssl_mode(SslMode::Require);
        }
        if config.get_application_name().is_none() {
            config.application_name("clara-ingest");
        }
        let timeout = settings.timeout.0;
        config.connect_timeout(timeout.min(Duration::from_secs(30)));
        Ok(Self { config, tls: MakeRustlsConnect::new(tls::client_config(settings, section)?), timeout })
    }

    /// The user whom the server sees.
    pub(super) fn user(&self) -> &str {
        self.config.get_user().unwrap_or("the default user")
    }

    pub(super) async fn connect(&self) -> Result<Connection, Trouble> {
        let connecting = self.config.connect(self.tls.clone());
        let connected = tokio::time::timeout(self.timeout, connecting).await.map_err(|_| {
            Trouble::Passing(format!("the server did not take the connection within {:?}", self.timeout))
        })?;
        let (client, driver) = connected.map_err(|error| problem::connecting(&error, self.user()))?;
        Ok(Connection { client, driver: Box::pin(driver), timeout: self.timeout })
    }
}

impl Connection {
    /// Does `work` with the client while the connection is driven; the server's own timeout ends a query somewhat earlier than this one.
    pub(super) async fn run<'a, T, F>(&'a mut self, work: impl FnOnce(&'a Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let Self { client, driver, timeout } = self;
        let limit = *timeout + Duration::from_secs(5);
        let driven = async {
            tokio::select! {
                // What the server said about the query comes before the end of the connection.
                biased;
                done = work(client) => done,
                ended = driver => Err(match ended {
                    Ok(()) => Failure::Closed,
                    Err(error) => Failure::Server(error),
                }),
            }
        };
        match tokio::time::timeout(limit, driven).await {
            Ok(done) => done,
            Err(_) => Err(Failure::TimedOut(limit)),
        }
    }
}

/// Why something asked for over a connection failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server, or the way to it.
    Server(tokio_postgres::Error),
    /// The connection ended.
    Closed,
    /// No answer in time.
    TimedOut(Duration),
    /// What came cannot be used.
    Unusable(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}
