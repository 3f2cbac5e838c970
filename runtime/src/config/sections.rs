//! The settings that every process shares, section by section.

use std::{
    collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration,
};

use clara_lifecycle::{
    id::{ClassName, InvalidName, TargetName},
    resources::{ResourceClass, Resources},
};
use serde::{Deserialize, Serialize};

use super::{ByteSize, Configuration, HumanDuration, OutOfRange, RemoteSettings, Secret, TargetSettings};
use crate::{coordinator_client::peers, tls::TlsFiles};

mod calibration;

pub use calibration::CalibrationSettings;

/// The settings of `clara` and of the daemons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of the state store and the artifacts. Default `.clara`.
    pub home: PathBuf,
    /// Where jobs, registry and golden datasets are kept.
    pub state: StateSettings,
    /// What carries tasks to workers.
    pub broker: BrokerSettings,
    /// How many jobs go on at the same time.
    pub scheduler: SchedulerSettings,
    /// Shares of single tenants, by the value of the label `tenant`. Default: none.
    pub tenants: BTreeMap<String, TenantSettings>,
    /// Resource classes that jobs may ask for besides `default`. Default: none.
    pub classes: BTreeMap<ClassName, ClassSettings>,
    /// Leases that the coordinator grants.
    pub lease: LeaseSettings,
    /// Workers.
    pub worker: WorkerSettings,
    /// The judge of jobs that name none, and the most that is asked of any judge.
    pub judge: JudgeSettings,
    /// When a judge counts as calibrated.
    pub calibration: CalibrationSettings,
    /// Who may approve versions, and how they are signed.
    pub registry: RegistrySettings,
    /// What listens where.
    pub serve: ServeSettings,
    /// Logs and metrics.
    pub telemetry: TelemetrySettings,
    /// Servers that approved versions are rolled out to, by name. Default: none.
    pub targets: BTreeMap<TargetName, TargetSettings>,
    /// Servers that documents come from, by the name that jobs give as `@NAME`. Default: none.
    pub sources: BTreeMap<String, RemoteSettings>,
}

/// Where jobs, registry and golden datasets are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSettings {
    /// `redis://user:password@host:port/database`, or `rediss://` for TLS. Default: a file in the home folder.
    pub url: Option<Secret>,
    /// The authority that signed the server's certificate, in PEM. Default: the system's authorities.
    pub certificate_authority: Option<PathBuf>,
    /// This client's certificate in PEM, for a server that asks for one; together with its key. Default: none.
    pub client_certificate: Option<PathBuf>,
    /// The key to that certificate, in PEM and without a passphrase. Default: none.
    pub client_key: Option<PathBuf>,
    /// Beginning of every key in Redis; installations with different ones share a server. Default `clara:`.
    pub prefix: String,
}

/// What carries tasks to workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS. Default: a file in the home folder.
    pub url: Option<Secret>,
    /// The authority that signed the server's certificate, in PEM. Default: the system's authorities.
    pub certificate_authority: Option<PathBuf>,
    /// This client's certificate in PEM, for a server that asks for one; together with its key. Default: none.
    pub client_certificate: Option<PathBuf>,
    /// The key to that certificate, in PEM and without a passphrase. Default: none.
    pub client_key: Option<PathBuf>,
    /// Beginning of every queue's name in RabbitMQ; installations with different ones share a server. Default `clara`.
    pub prefix: String,
}

/// How many jobs go on at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulerSettings {
    /// Most active jobs in all; the others wait. Default 1000, at least 1.
    pub max_active_jobs: u64,
    /// Most active jobs of one tenant, the value of the label `tenant`. Default 1000, at least 1.
    pub max_active_jobs_per_tenant: u64,
}

/// The share of one tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantSettings {
    /// Its part of the room, relative to the other tenants. Default 1, greater than 0, up to 1000.
    pub weight: f64,
    /// Most active jobs. Default: `scheduler.max_active_jobs_per_tenant`; at least 1.
    pub max_active_jobs: Option<u64>,
}

/// The least that a worker must have for each slot to serve a resource class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassSettings {
    /// Memory of its GPU. Default `0B`: none is needed.
    pub gpu_memory: ByteSize,
    /// Kind of its GPU in small letters, e.g. `h100`. Default: any.
    pub gpu_kind: Option<String>,
    /// Processor cores. Default 0.
    pub cpu_cores: u32,
}

/// Leases that the coordinator grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSettings {
    /// An attempt is lost when its worker was not heard for so long. Default `15s`, 1s to 1h.
    pub ttl: HumanDuration,
    /// An attempt is lost when its work did not move for so long. Default `10min`, at least the time to live.
    pub progress_deadline: HumanDuration,
}

/// Workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// Where the coordinators' gRPC services are, with commas between the URLs. The first one is used while it answers,
    /// then the next. Default `http://127.0.0.1:7400`.
    pub coordinator_url: String,
    /// Attempts at the same time, for each stage. Default 1, 1 to 64.
    pub slots: usize,
    /// Memory of the GPU that each slot has. Default `0B`: none.
    pub gpu_memory: ByteSize,
    /// Kind of that GPU in small letters, e.g. `h100`. Default: none.
    pub gpu_kind: Option<String>,
    /// What trainings and answers are computed on: `cpu`, `cuda` (an NVIDIA GPU; the worker does not start without one), or `auto`:
    /// the GPU where there is one that can, else the CPU. Default `auto`.
    pub device: ComputeDevice,
    /// Memory that a training may take beside its base model; `0B`: what the system has free. Default `0B`.
    pub memory_limit: ByteSize,
    /// Processor cores that each slot has. Default: those of the machine divided by the slots, at least 1.
    pub cpu_cores: Option<u32>,
    /// Serves only these resource classes, with commas between the names. Default: all that the resources allow.
    pub classes: Option<String>,
    /// Folder for scratch files. Default: `scratch` in the home folder.
    pub scratch: Option<PathBuf>,
    /// How long a worker that is told to end may take to save its work. Default `30s`.
    pub drain_within: HumanDuration,
}

/// The judge of jobs that name none, and the most that is asked of any judge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeSettings {
    /// Base URL of an OpenAI-compatible endpoint, e.g. `http://127.0.0.1:8000/v1`. Default: none; such jobs fail.
    pub url: Option<String>,
    /// Model at that endpoint. Default: the first one that it lists.
    pub model: Option<String>,
    /// Most calls in flight at once from this process to one endpoint and key, for all jobs together. Default 0: as many
    /// as each job allows.
    pub max_concurrency: u32,
    /// Most calls per minute from this process to one endpoint and key, for all jobs together. Default 0: as many as each
    /// job allows.
    pub max_requests_per_minute: u32,
    /// Most tokens per minute from this process to one endpoint and key, for all jobs together. Default 0: as many as
    /// each job allows.
    pub max_tokens_per_minute: u32,
}

/// Who may approve versions, and how they are signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySettings {
    /// A person's approval counts only together with that of a second person, and at least one of the two neither
    /// submitted the job nor labelled its answers. Default false.
    pub four_eyes: bool,
    /// Private key in PEM (PKCS #8, as `clara registry keygen` writes it) that signs versions when they are approved.
    /// Default: none; versions are not signed.
    pub signing_key: Option<PathBuf>,
    /// Whether a version without a signature by that key may not be rolled out. Default false.
    pub require_signature: bool,
}

/// What listens where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeSettings {
    /// The coordinator's gRPC services. Default `127.0.0.1:7400`.
    pub grpc_address: SocketAddr,
    /// The coordinator's web page and metrics. Default `127.0.0.1:7401`.
    pub http_address: SocketAddr,
    /// Who may use the web page and the REST interface: `loopback` (programs of the same machine), `everyone` or
    /// `nobody`. Default `loopback`.
    pub pages: PageAudience,
    /// The OpenAI-compatible endpoint. Default `127.0.0.1:7402`.
    pub openai_address: SocketAddr,
}

/// Who may use the coordinator's web page and REST interface; neither asks for a password.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageAudience {
    /// Programs of the same machine.
    #[default]
    Loopback,
    /// Everyone who can reach the address.
    Everyone,
    /// Nobody: there is no page.
    Nobody,
}

/// Logs and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// What is logged, e.g. `info` or `info,clara_runtime=debug`. Default `info`.
    pub log_filter: String,
    /// `text` for people, `json` for machines. Default `text`.
    pub log_format: LogFormat,
    /// Where a daemon without a web page of its own shows its metrics. Default: nowhere.
    pub metrics_address: Option<SocketAddr>,
}

/// What trainings and answers are computed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComputeDevice {
    /// A GPU where there is one that can, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl FromStr for ComputeDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(format!("`{text}` is no device; expected auto, cpu or cuda")),
        }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            home: PathBuf::from(".clara"),
            state: StateSettings::default(),
            broker: BrokerSettings::default(),
            scheduler: SchedulerSettings::default(),
            tenants: BTreeMap::new(),
            classes: BTreeMap::new(),
            lease: LeaseSettings::default(),
            worker: WorkerSettings::default(),
            judge: JudgeSettings::default(),
            calibration: CalibrationSettings::default(),
            registry: RegistrySettings::default(),
            serve: ServeSettings::default(),
            telemetry: TelemetrySettings::default(),
            targets: BTreeMap::new(),
            sources: BTreeMap::new(),
        }
    }
}

impl Default for StateSettings {
    fn default() -> Self {
        Self {
            url: None,
            certificate_authority: None,
            client_certificate: None,
            client_key: None,
            prefix: "clara:".to_owned(),
        }
    }
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            url: None,
            certificate_authority: None,
            client_certificate: None,
            client_key: None,
            prefix: "clara".to_owned(),
        }
    }
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self { max_active_jobs: 1000, max_active_jobs_per_tenant: 1000 }
    }
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self { weight: 1.0, max_active_jobs: None }
    }
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self {
            ttl: HumanDuration(Duration::from_secs(15)),
            progress_deadline: HumanDuration(Duration::from_mins(10)),
        }
    }
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            coordinator_url: "http://127.0.0.1:7400".to_owned(),
            slots: 1,
            gpu_memory: ByteSize(0),
            gpu_kind: None,
            device: ComputeDevice::Auto,
            memory_limit: ByteSize(0),
            cpu_cores: None,
            classes: None,
            scratch: None,
            drain_within: HumanDuration(Duration::from_secs(30)),
        }
    }
}

impl Default for ServeSettings {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            grpc_address: local(7400),
            http_address: local(7401),
            pages: PageAudience::default(),
            openai_address: local(7402),
        }
    }
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { log_filter: "info".to_owned(), log_format: LogFormat::Text, metrics_address: None }
    }
}

impl Settings {
    /// The file of the embedded state store and broker.
    pub fn state_file(&self) -> PathBuf {
        self.home.join("clara.db")
    }

    /// The folder of the embedded artifact store.
    pub fn artifact_folder(&self) -> PathBuf {
        self.home.join("artifacts")
    }

    /// The folder for scratch files.
    pub fn scratch_folder(&self) -> PathBuf {
        self.worker.scratch.clone().unwrap_or_else(|| self.home.join("scratch"))
    }
}

impl StateSettings {
    /// The certificates for TLS.
    pub fn tls(&self) -> TlsFiles {
        tls_files([&self.certificate_authority, &self.client_certificate, &self.client_key])
    }
}

impl BrokerSettings {
    /// The certificates for TLS.
    pub fn tls(&self) -> TlsFiles {
        tls_files([&self.certificate_authority, &self.client_certificate, &self.client_key])
    }
}

/// Authority, certificate and key.
fn tls_files(files: [&Option<PathBuf>; 3]) -> TlsFiles {
    let [certificate_authority, certificate, key] = files.map(Clone::clone);
    TlsFiles { certificate_authority, client: certificate.zip(key) }
}

impl WorkerSettings {
    /// Bytes that a training may take beside its base model, where a limit is set.
    pub fn memory_limit_bytes(&self) -> Option<u64> {
        (self.memory_limit.0 > 0).then_some(self.memory_limit.0)
    }

    /// What a worker has for each of its slots.
    pub fn resources(&self) -> Resources {
        let cores = || {
            let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            u32::try_from((cores / self.slots.max(1)).max(1)).unwrap_or(u32::MAX)
        };
        Resources {
            gpu_memory_bytes: self.gpu_memory.0,
            gpu_kind: self.gpu_kind.as_deref().map(str::to_lowercase),
            cpu_cores: self.cpu_cores.unwrap_or_else(cores),
        }
    }

    /// The resource classes that a worker serves alone; empty for all that its resources allow.
    ///
    /// # Errors
    /// When a name breaks the rules for names.
    pub fn class_names(&self) -> Result<Vec<ClassName>, InvalidName> {
        let names = self.classes.iter().flat_map(|names| names.split(','));
        names.map(|name| name.trim().parse()).collect()
    }
}

impl ClassSettings {
    /// The class `name` that needs this.
    pub fn class(&self, name: &ClassName) -> ResourceClass {
        let Self { gpu_memory, gpu_kind, cpu_cores } = self;
        let needs = Resources {
            gpu_memory_bytes: gpu_memory.0,
            gpu_kind: gpu_kind.as_deref().map(str::to_lowercase),
            cpu_cores: *cpu_cores,
        };
        ResourceClass { name: name.clone(), needs }
    }
}

impl Configuration for Settings {
    fn out_of_range(&self) -> Vec<OutOfRange> {
        let expected =
            |key: String, allowed: &str| OutOfRange { key, allowed: format!("expected {allowed}") };
        let mut wrong = self.single_values_out_of_range();
        for (name, TenantSettings { weight, max_active_jobs }) in &self.tenants {
            if !(*weight > 0.0 && *weight <= 1000.0) {
                wrong.push(expected(format!("tenants.{name}.weight"), "greater than 0, up to 1000"));
            }
            if *max_active_jobs == Some(0) {
                wrong.push(expected(format!("tenants.{name}.max_active_jobs"), "at least 1"));
            }
        }
        if self.classes.contains_key(&ClassName::default()) {
            let allowed = "another name: every worker serves the class default, so it needs nothing";
            wrong.push(expected(format!("classes.{}", ClassName::default()), allowed));
        }
        for (name, target) in &self.targets {
            let problems = target.problems().into_iter();
            wrong.extend(
                problems.map(|(field, allowed)| expected(format!("targets.{name}.{field}"), allowed)),
            );
        }
        for (name, source) in &self.sources {
            let problems = source.problems().into_iter();
            wrong.extend(
                problems.map(|(field, allowed)| expected(format!("sources.{name}.{field}"), allowed)),
            );
        }
        wrong
    }
}

impl Settings {
    fn single_values_out_of_range(&self) -> Vec<OutOfRange> {
        let HumanDuration(ttl) = self.lease.ttl;
        let url = &self.worker.coordinator_url;
        let (state, broker) = (&self.state, &self.broker);
        let pair = "client_certificate and client_key, or neither";
        let checks = [
            (
                "broker.client_certificate",
                broker.client_certificate.is_some() == broker.client_key.is_some(),
                pair,
            ),
            (
                "state.client_certificate",
                state.client_certificate.is_some() == state.client_key.is_some(),
                pair,
            ),
            ("calibration.min_answers", self.calibration.min_answers >= 2, "at least 2"),
            (
                "calibration.min_quadratic_kappa",
                (0.0..=1.0).contains(&self.calibration.min_quadratic_kappa),
                "0 to 1",
            ),
            ("calibration.max_age", self.calibration.max_age.0 >= Duration::from_hours(24), "at least 1d"),
            ("lease.ttl", (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&ttl), "1s to 1h"),
            ("lease.progress_deadline", self.lease.progress_deadline.0 >= ttl, "at least lease.ttl"),
            ("scheduler.max_active_jobs", self.scheduler.max_active_jobs >= 1, "at least 1"),
            (
                "scheduler.max_active_jobs_per_tenant",
                self.scheduler.max_active_jobs_per_tenant >= 1,
                "at least 1",
            ),
            (
                "registry.require_signature",
                !self.registry.require_signature || self.registry.signing_key.is_some(),
                "false, or a key in registry.signing_key",
            ),
            ("worker.slots", (1..=64).contains(&self.worker.slots), "1 to 64"),
            (
                "worker.classes",
                self.worker.class_names().is_ok(),
                "names of resource classes with commas between them",
            ),
            (
                "worker.coordinator_url",
                peers::urls(url).all(|url| url.starts_with("http://")),
                "URLs that start with http://, with commas between them; workers and coordinators speak no TLS yet",
            ),
            (
                "telemetry.log_filter",
                crate::telemetry::is_filter(&self.telemetry.log_filter),
                "a level (error, warn, info, debug, trace) or levels by module, e.g. `info,clara_runtime=debug`",
            ),
        ];
        checks
            .into_iter()
            .filter(|(_, holds, _)| !holds)
            .map(|(key, _, allowed)| OutOfRange {
                key: key.to_owned(),
                allowed: format!("expected {allowed}"),
            })
            .collect()
    }
}
