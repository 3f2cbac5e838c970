//! What every daemon is made of: flags, settings, logs, health, metrics, and an orderly end.

use std::{
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use clara_lifecycle::{id::ClassName, stage::Stage};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, QueueName},
    config::{self, Layers, Settings},
    daemon,
    health::Health,
    http, metrics,
    state::StateStore,
    task::Tasks,
    telemetry,
};

pub use worker::{
    Equipment, WorkerArgs, WorkerLoops, WorkerPorts, join_workers, run_workers, run_workers_over,
    spawn_workers,
};

mod worker;

/// How often a daemon looks whether what it needs is there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// How long what serves the workers may take to end after them.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What distinguishes a daemon.
#[derive(Debug, Clone, Copy)]
pub struct Daemon {
    /// Its name.
    pub name: &'static str,
    /// What must be there before it is ready; its work sets these checks.
    pub checks: &'static [&'static str],
    /// Where health and metrics are answered unless the settings say otherwise.
    pub http: fn(&Settings) -> SocketAddr,
}

/// The error of a daemon, for its last line in the log.
pub type ServiceError = Box<dyn std::error::Error + Send + Sync>;

/// Flags that every daemon has.
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    /// TOML file with settings; `--print-settings` shows all of them
    #[arg(long, value_name = "FILE", env = "CLARA_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder of the artifacts, which all daemons share, and of scratch files [default: .clara]
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Where `/livez`, `/readyz`, `/metrics` and gRPC health are answered; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// Show every setting with its value and where that comes from, then end
    #[arg(long)]
    pub print_settings: bool,
}

impl ServiceArgs {
    /// The file, the environment and these flags.
    pub fn layers(&self) -> Layers {
        let mut layers = Layers::of_process(self.config.clone());
        if let Some(home) = &self.home {
            layers = layers.with_flag("home", home.display(), "--home");
        }
        if let Some(address) = self.http {
            layers = layers.with_flag("telemetry.metrics_address", address, "--http");
        }
        layers
    }
}

/// What a running daemon shares with its parts.
#[derive(Debug, Clone)]
pub struct Service {
    /// The validated settings.
    pub settings: Settings,
    /// What it needs in order to work.
    pub health: Health,
    /// Pages that it shows beside health and metrics, if it has any.
    pub pages: http::Mount,
    /// Tasks that outlive the workers: they end last.
    pub tasks: Tasks,
    /// Cancelled when the daemon shall take nothing new, save its work and end.
    pub drain: CancellationToken,
}

impl Service {
    /// Looks again and again whether `check` passes, and shows it as a check of `/readyz`.
    pub fn watch<F, Fut>(&self, check: &'static str, look: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), String>> + Send,
    {
        let health = self.health.clone();
        self.tasks.spawn_until_shutdown("service.watch", async move {
            let mut turn = tokio::time::interval(LOOK_EVERY);
            let mut failed = false;
            loop {
                turn.tick().await;
                let seen = tokio::time::timeout(LOOK_WITHIN, look()).await;
                let seen = seen.unwrap_or_else(|_| Err("it gives no answer".to_owned()));
                match &seen {
                    Err(reason) if !failed => tracing::warn!("not ready, {check}: {reason}"),
                    Ok(()) if failed => tracing::info!("{check} is well again"),
                    Ok(()) | Err(_) => {}
                }
                failed = seen.is_err();
                health.set(check, seen);
            }
        });
    }

    /// Shows as the check `broker` whether the broker answers a question and takes tasks.
    pub fn watch_broker(&self, broker: &Arc<dyn Broker>) {
        let broker = Arc::clone(broker);
        let queue = QueueName::served(Stage::Gate, &[ClassName::default()]).into_iter().next();
        self.watch("broker", move || {
            let (broker, queue) = (Arc::clone(&broker), queue.clone());
            async move {
                let Some(queue) = queue else { return Ok(()) };
                let looked = match broker.blocked() {
                    Some(blocked) => Err(blocked),
                    None => broker.depth(&queue).await.map(drop),
                };
                looked.map_err(|error| error.to_string())
            }
        });
    }

    /// Shows as the check `state` whether the state store answers a question.
    pub fn watch_state(&self, state: &Arc<dyn StateStore>) {
        let state = Arc::clone(state);
        self.watch("state", move || {
            let state = Arc::clone(&state);
            async move { state.sizes(&[]).await.map(drop).map_err(|error| error.to_string()) }
        });
    }
}

/// Runs a daemon: reads its settings, sets up logs and metrics, answers health, carries out `work` until that ends
/// or a signal comes, then ends what served it.
pub fn run<F, Fut>(daemon: Daemon, layers: &Layers, print: bool, work: F) -> ExitCode
where
    F: FnOnce(Service) -> Fut,
    Fut: Future<Output = Result<(), ServiceError>>,
{
    let Daemon { name, checks, http } = daemon;
    let loaded = match config::load::<Settings>(layers) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(name, &problems),
    };
    if print {
        return print_settings(&loaded.origins());
    }
    let mut settings = loaded.value;
    match std::path::absolute(&settings.home) {
        Ok(home) => settings.home = home,
        Err(error) => {
            return refuse(name, &format!("the folder {} cannot be used: {error}", settings.home.display()));
        }
    }
    if let Err(error) = telemetry::install(&settings.telemetry) {
        return refuse(name, &error);
    }
    daemon::run(name, |drain| async move {
        let address = settings.telemetry.metrics_address.unwrap_or_else(|| http(&settings));
        let (tasks, health) = (Tasks::new(CancellationToken::new()), Health::expecting(checks));
        let pages = http::Mount::default();
        let service = Service { settings, health, pages, tasks: tasks.clone(), drain };
        answer(name, address, &service).await?;
        let ended = work(service).await;
        tasks.finish(END_WITHIN).await;
        ended
    })
}

/// Opens the listener for health and metrics.
async fn answer(name: &str, address: SocketAddr, service: &Service) -> Result<(), ServiceError> {
    let page = metrics::install()?;
    let shutdown = service.tasks.shutdown().clone();
    let (address, serving) =
        http::serve(address, page, service.health.clone(), service.pages.clone(), shutdown).await.map_err(
            |error| format!("cannot listen at {address}: {error}; choose another address with --http"),
        )?;
    service.tasks.spawn("service.http", serving);
    tracing::info!("{name} answers /livez, /readyz and /metrics at http://{address}");
    Ok(())
}

/// Says why the daemon does not start. There are no logs yet.
fn refuse(name: &str, reason: &dyn std::fmt::Display) -> ExitCode {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "{name}: {reason}");
    ExitCode::FAILURE
}

fn print_settings(settings: &[config::Setting]) -> ExitCode {
    let mut out = io::stdout().lock();
    for config::Setting { key, value, origin } in settings {
        if writeln!(out, "{key} = {value}  # {origin}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests;
