//! What a command works with: settings, output, the way to a coordinator, and the user's interrupt.

use std::{env, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, bail};
use clara_runtime::{
    artifacts::ArtifactStore,
    config::{self, Layers, Loaded, Setting, Settings},
    telemetry,
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::GlobalArgs,
    client::Client,
    embedded::{Embedded, Workers},
    output::Output,
};

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) settings: Settings,
    /// Every setting with its origin.
    pub(crate) origins: Vec<Setting>,
    pub(crate) output: Output,
    /// The coordinator that the user named; without one it is started in this process.
    pub(crate) coordinator: Option<String>,
    /// Cancelled when the user wants the command to end.
    pub(crate) interrupt: CancellationToken,
}

/// A connection, and the coordinator behind it when it runs in this process.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    embedded: Option<Embedded>,
}

impl Session {
    /// Loads the settings and sets up the logs; `daemon` logs more.
    pub(crate) fn open(global: &GlobalArgs, daemon: bool, interrupt: CancellationToken) -> Result<Self> {
        let loaded = load(global)?;
        let mut origins = loaded.origins();
        let mut settings = loaded.value;
        let is_default = |origins: &[Setting], key: &str| {
            origins.iter().any(|setting| setting.key == key && setting.origin == "default")
        };
        if is_default(&origins, "home") {
            settings.home = default_home()?;
            replace(&mut origins, "home", settings.home.display().to_string());
        }
        settings.home = std::path::absolute(&settings.home)
            .with_context(|| format!("the home folder {} cannot be used", settings.home.display()))?;
        if is_default(&origins, "telemetry.log_filter") && !daemon {
            "error".clone_into(&mut settings.telemetry.log_filter);
            replace(&mut origins, "telemetry.log_filter", "error".to_owned());
        }
        telemetry::install(&settings.telemetry)?;
        let output = Output { format: global.output, quiet: global.quiet };
        Ok(Self { settings, origins, output, coordinator: global.coordinator.clone(), interrupt })
    }

    /// A coordinator without workers: enough to look and to change records.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        self.connect_with(Workers::None).await
    }

    /// A coordinator with workers, unless the user named one that runs elsewhere.
    pub(crate) async fn connect_with(&self, workers: Workers) -> Result<Connection> {
        if let Some(url) = &self.coordinator {
            let client = Client::connect(url).await?;
            return Ok(Connection { client, embedded: None });
        }
        let free_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut embedded = Embedded::start(&self.settings, free_port, &self.interrupt).await?;
        embedded.start_workers(workers)?;
        let client = Client::connect(&embedded.url()).await?;
        Ok(Connection { client, embedded: Some(embedded) })
    }

    /// The artifact store in the home folder.
    ///
    /// # Errors
    /// When the coordinator runs elsewhere and the home folder here holds no artifacts.
    pub(crate) fn artifacts(&self) -> Result<ArtifactStore> {
        let folder = self.settings.artifact_folder();
        if self.coordinator.is_some() && !folder.is_dir() {
            bail!(
                "the artifacts of a coordinator elsewhere cannot be read here: {} is not there; run the command \
                 on the coordinator's machine with its --home",
                folder.display()
            );
        }
        Ok(ArtifactStore::local(folder)?)
    }

    /// Where verified copies of adapters are kept for people.
    pub(crate) fn adapter_folder(&self, adapter_id: &str) -> PathBuf {
        self.settings.home.join("adapters").join(adapter_id)
    }

    /// Where verified copies of evaluations are kept for people.
    pub(crate) fn evaluation_folder(&self, adapter_id: &str) -> PathBuf {
        self.settings.home.join("evaluations").join(adapter_id)
    }
}

impl Connection {
    /// Whether the coordinator runs in this process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Lets workers in this process save their work, then ends them and the coordinator.
    pub(crate) async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

fn load(global: &GlobalArgs) -> Result<Loaded<Settings>> {
    let mut layers = Layers::of_process(global.config.clone());
    if let Some(home) = &global.home {
        layers = layers.with_flag("home", home.display(), "--home");
    }
    layers = match global.verbose {
        0 => layers,
        1 => layers.with_flag("telemetry.log_filter", "info", "-v"),
        _ => layers.with_flag("telemetry.log_filter", "info,clara=debug,clara_runtime=debug,clara_coordinator=debug,clara_gpu_worker=debug,clara_judge_worker=debug,clara_ingest_worker=debug", "-vv"),
    };
    Ok(config::load(&layers)?)
}

/// `$XDG_DATA_HOME/clara`, else `~/.local/share/clara`.
fn default_home() -> Result<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")));
    let data = data.context("there is no home folder for this user; give one with --home DIR")?;
    Ok(data.join("clara"))
}

fn replace(origins: &mut [Setting], key: &str, value: String) {
    if let Some(setting) = origins.iter_mut().find(|setting| setting.key == key) {
        setting.value = value;
    }
}
