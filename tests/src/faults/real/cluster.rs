//! The processes of one trial, their way to the servers, and the users who look at their jobs.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clara_coordinator::{DriverError, simulation::Users};
use clara_lifecycle::{
    id::{ClassName, JobId},
    job::Job,
    stage::Stage,
};
use clara_runtime::{
    artifacts::ArtifactStore,
    broker::{
        QueueName,
        amqp::{AmqpBroker, AmqpOptions},
    },
    config::Secret,
    state::redis::{RedisOptions, RedisState},
    task::Tasks,
};
use tokio::{net::TcpSocket, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Programs,
    daemon::Daemon,
    plan::{Plan, Through},
    servers::ServersOfTrial,
};
use crate::{
    Proxy,
    faults::{
        drill::{Note, Notebook, Noted, read_notes},
        handler::{POISON, STEPS},
        users::{golden, spec},
        weather::Sky,
    },
};

/// How long users try to reach what is away.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a process that is told to end may take.
pub(super) const END_WITHIN: Duration = Duration::from_secs(20);

/// A coordinator's address, kept while it is away.
#[derive(Debug)]
struct Seat {
    address: SocketAddr,
    _reservation: TcpSocket,
    daemon: Option<Daemon>,
}

/// Everything of one trial.
pub(super) struct Cluster {
    pub(super) sky: Sky,
    pub(super) plan: Plan,
    pub(super) servers: ServersOfTrial,
    pub(super) users: Users,
    pub(super) broker: AmqpBroker,
    pub(super) proxy: Option<Proxy>,
    pub(super) workers: Vec<Daemon>,
    pub(super) accepted: BTreeSet<JobId>,
    seats: Vec<Seat>,
    programs: Programs,
    folder: PathBuf,
    prefix: String,
    notes: Notebook,
    /// The connections of the users.
    tasks: Tasks,
    started: usize,
}

impl Cluster {
    /// Users, a broker for stale tasks and the ways to the servers; no process yet.
    pub(super) async fn new(
        (seed, sky): (u64, Sky),
        plan: Plan,
        programs: &Programs,
        servers: &ServersOfTrial,
        folder: PathBuf,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder.join("notes"))?;
        std::fs::write(folder.join("clock"), "+0")?;
        let prefix = format!("t{seed}");
        let tasks = Tasks::new(CancellationToken::new());
        let users = connect(&servers.redis.redis_url, &prefix, &tasks).await?;
        let url = Secret::new(servers.rabbitmq.amqp_url.clone());
        let options = AmqpOptions { prefix: prefix.clone(), ..AmqpOptions::new(url) };
        let broker = AmqpBroker::connect(&options, &tasks).await?;
        let seats = (0..plan.coordinators).map(|_| Seat::reserve()).collect::<Result<Vec<_>>>()?;
        let first = seats.first().context("there is no coordinator")?.address;
        let proxy = match plan.through {
            Some(Through::Coordinator) => Some(Proxy::start(first).await?),
            Some(Through::State) => Some(Proxy::start(authority(&servers.redis.redis_url)?).await?),
            Some(Through::Broker) => Some(Proxy::start(authority(&servers.rabbitmq.amqp_url)?).await?),
            None => None,
        };
        let notes = Notebook::open("trial", &folder.join("notes/trial.jsonl"))?;
        let (programs, servers) = (programs.clone(), servers.clone());
        let cluster = Self {
            sky,
            plan,
            servers,
            users,
            broker,
            proxy,
            workers: Vec::new(),
            accepted: BTreeSet::new(),
            seats,
            programs,
            folder,
            prefix,
            notes,
            tasks,
            started: 0,
        };
        cluster.freeze().await?;
        Ok(cluster)
    }

    /// The golden dataset that the jobs name.
    pub(super) async fn freeze(&self) -> Result<()> {
        let artifacts = ArtifactStore::local(self.folder.join("home/artifacts"))?;
        Ok(self.users.freeze(golden()?, &artifacts).await?)
    }

    /// Submits the jobs of the plan, each until it is accepted.
    pub(super) async fn submit(&mut self) -> Result<()> {
        for number in 0..self.plan.jobs {
            let mut spec = spec(&self.sky, self.accepted.len());
            spec.retry.first_pause_ms = 100;
            spec.retry.longest_pause_ms = 500;
            if let Some(steps) = self.plan.steps {
                spec.labels.insert(STEPS.to_owned(), steps.to_string());
            }
            // On a machine with too much to do healthy attempts lose their leases, and no user is there yet to retry.
            spec.retry.max_attempts = 20;
            if let Some(poison) = self.plan.poison.filter(|_| number == 0) {
                spec.labels.insert(POISON.to_owned(), poison.to_owned());
                spec.retry.max_attempts = 3;
            }
            let give_up = Instant::now() + PATIENCE;
            let job = loop {
                match self.users.submit(spec.clone()).await {
                    Err(DriverError::State(error)) if error.is_retryable() && Instant::now() < give_up => {}
                    submitted => break submitted?.context("a submission without a job")?,
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            self.accepted.insert(job.id);
        }
        Ok(())
    }

    /// Starts a coordinator at its address.
    pub(super) fn start_coordinator(&mut self, number: usize, flags: &[String]) -> Result<()> {
        let name = self.next_name("coordinator");
        let address = self.seats.get(number).context("there is no such coordinator")?.address.to_string();
        let mut command = self.command(&self.programs.coordinator, &name)?;
        command.args(["--listen", &address, "--http", "127.0.0.1:0"]).args(&self.plan.coordinator_flags);
        let daemon = Daemon::start(&name, command.args(flags), &self.folder)?;
        if let Some(seat) = self.seats.get_mut(number) {
            seat.daemon = Some(daemon);
        }
        Ok(())
    }

    /// Starts all coordinators that do not run.
    pub(super) fn start_coordinators(&mut self) -> Result<()> {
        for number in 0..self.seats.len() {
            if self.coordinator(number)?.is_none() {
                self.start_coordinator(number, &[])?;
            }
        }
        Ok(())
    }

    /// A coordinator that runs.
    pub(super) fn coordinator(&mut self, number: usize) -> Result<Option<&mut Daemon>> {
        let Some(daemon) = self.seats.get_mut(number).and_then(|seat| seat.daemon.as_mut()) else {
            return Ok(None);
        };
        Ok(if daemon.ended()?.is_none() { Some(daemon) } else { None })
    }

    /// Starts a worker that talks to the coordinators, the first one through the proxy when that is the plan.
    pub(super) fn start_worker(&mut self, flags: &[String]) -> Result<()> {
        let url = match &self.proxy {
            Some(proxy) if self.plan.through == Some(Through::Coordinator) && self.workers.is_empty() => {
                proxy.address()
            }
            _ => {
                let number = self.started % self.seats.len();
                self.seats.get(number).context("there is no coordinator")?.address
            }
        };
        let name = self.next_name("worker");
        let mut command = self.command(&self.programs.worker, &name)?;
        command.args(["--coordinator", &format!("http://{url}")]).args(&self.plan.worker_flags);
        self.workers.push(Daemon::start(&name, command.args(flags), &self.folder)?);
        Ok(())
    }

    /// Kills any worker.
    pub(super) fn kill_a_worker(&mut self) -> Result<()> {
        if !self.workers.is_empty() {
            let mut worker = self.workers.remove(self.sky.below(self.workers.len()));
            worker.kill()?;
            self.notes.write_of(&worker.name, Note::Interrupted { is_over: true });
        }
        Ok(())
    }

    /// Notes that something happens to a worker that may interrupt what it carries out.
    pub(super) fn interrupted(&self, worker: &Daemon) {
        self.notes.write_of(&worker.name, Note::Interrupted { is_over: false });
    }

    /// Replaces the workers that ended, and sees to it that two run. Answers how many had ended.
    pub(super) fn restaff(&mut self) -> Result<usize> {
        let mut ended = 0;
        let mut running = Vec::new();
        for mut worker in std::mem::take(&mut self.workers) {
            if worker.ended()?.is_none() {
                running.push(worker);
            } else {
                ended += 1;
            }
        }
        self.workers = running;
        while self.workers.len() < 2 {
            self.start_worker(&[])?;
        }
        Ok(ended)
    }

    /// Waits until one of the jobs is as wanted.
    pub(super) async fn until(&self, within: Duration, wanted: impl Fn(&Job) -> bool) -> Result<Job> {
        let give_up = Instant::now() + within;
        loop {
            for id in &self.accepted {
                match self.users.job(id).await {
                    Ok(job) if wanted(&job) => return Ok(job),
                    Ok(_) => {}
                    Err(DriverError::State(error)) if error.is_retryable() => {}
                    Err(error) => return Err(error.into()),
                }
            }
            ensure!(Instant::now() < give_up, "no job was as the trial wants it within {within:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sets the wall clocks of the processes ahead by so many seconds.
    pub(super) fn set_clocks(&self, ahead_seconds: i64) -> Result<()> {
        let next = self.folder.join("clock.next");
        std::fs::write(&next, format!("{ahead_seconds:+}"))?;
        Ok(std::fs::rename(next, self.folder.join("clock"))?)
    }

    /// Connects the users anew, as commands that are started now do.
    pub(super) async fn reconnect(&mut self) -> Result<()> {
        self.users = connect(&self.servers.redis.redis_url, &self.prefix, &self.tasks).await?;
        Ok(())
    }

    /// Tells every process to end. Answers what is wrong with how they did.
    pub(super) async fn end(&mut self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let mut coordinators: Vec<Daemon> =
            self.seats.iter_mut().filter_map(|seat| seat.daemon.take()).collect();
        // The workers first: they still have something to tell.
        for daemons in [&mut self.workers, &mut coordinators] {
            for daemon in daemons.iter_mut() {
                daemon.terminate().await?;
            }
            for daemon in daemons.iter_mut() {
                match daemon.end(END_WITHIN).await {
                    Ok(status) if status.success() => {}
                    Ok(status) => wrong.push(format!("{} ended with {status}", daemon.name)),
                    Err(error) => wrong.push(format!("{error:#}")),
                }
            }
            daemons.clear();
        }
        Ok(wrong)
    }

    /// All notes, in order of their times.
    pub(super) fn notes(&self) -> Result<Vec<Noted>> {
        let mut notes = Vec::new();
        for entry in std::fs::read_dir(self.folder.join("notes"))? {
            notes.extend(read_notes(&entry?.path())?);
        }
        notes.sort_by_key(|noted| noted.at);
        Ok(notes)
    }

    /// The names of the queues of a stage.
    pub(super) fn queues_of(&self, stage: Stage) -> Vec<String> {
        let name =
            |queue: QueueName| format!("{}.{}.{}.{}", self.prefix, queue.stage, queue.class, queue.band);
        QueueName::served(stage, &[ClassName::default()]).into_iter().map(name).collect()
    }

    /// The queue of what was set aside.
    pub(super) fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.prefix)
    }

    fn next_name(&mut self, kind: &str) -> String {
        self.started += 1;
        format!("{kind}-{}", self.started)
    }

    /// A program with its settings.
    fn command(&self, program: &Path, name: &str) -> Result<Command> {
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("CLARA_")) {
            command.env_remove(variable);
        }
        let (mut amqp_url, mut redis_url) =
            (self.servers.rabbitmq.amqp_url.clone(), self.servers.redis.redis_url.clone());
        if let Some(proxy) = &self.proxy {
            let way = match self.plan.through {
                Some(Through::State) => Some(&mut redis_url),
                Some(Through::Broker) => Some(&mut amqp_url),
                Some(Through::Coordinator) | None => None,
            };
            if let Some(url) = way {
                *url = url.replace(&authority(url)?, &proxy.address().to_string());
            }
        }
        command
            .env("CLARA_BROKER__URL", amqp_url)
            .env("CLARA_BROKER__PREFIX", &self.prefix)
            .env("CLARA_STATE__URL", redis_url)
            .env("CLARA_STATE__PREFIX", format!("{}:", self.prefix))
            .env("CLARA_LEASE__TTL", format!("{}ms", self.plan.lease.as_millis()))
            .env("CLARA_LEASE__PROGRESS_DEADLINE", format!("{}ms", self.plan.progress_deadline.as_millis()))
            .env("CLARA_WORKER__DRAIN_WITHIN", "5s")
            .env("NO_COLOR", "1");
        if self.plan.own_clocks {
            command
                .env("LD_PRELOAD", clock_library()?)
                .env("FAKETIME_TIMESTAMP_FILE", self.folder.join("clock"))
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command
            .arg("--home")
            .arg(self.folder.join("home"))
            .arg("--notes")
            .arg(self.folder.join("notes").join(format!("{name}.jsonl")))
            .args(["--name", name, "--seed", &self.sky.below(usize::MAX).to_string()]);
        Ok(command)
    }
}

impl Seat {
    /// A free address that nobody else gets: bound, and never listened on here.
    fn reserve() -> Result<Self> {
        let reservation = TcpSocket::new_v4()?;
        reservation.set_reuseaddr(true)?;
        reservation.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Self { address: reservation.local_addr()?, _reservation: reservation, daemon: None })
    }
}

async fn connect(url: &str, prefix: &str, tasks: &Tasks) -> Result<Users> {
    let options =
        RedisOptions { prefix: format!("{prefix}:"), ..RedisOptions::new(Secret::new(url.to_owned())) };
    Ok(Users::over(std::sync::Arc::new(RedisState::connect(&options, tasks).await?)))
}

/// Host and port of a URL.
pub(super) fn authority(url: &str) -> Result<String> {
    let rest = url.split_once("://").context("the URL has no scheme")?.1;
    let authority = rest.split('/').next().unwrap_or_default();
    Ok(authority.rsplit('@').next().unwrap_or_default().to_owned())
}

/// The library that sets the wall clock of a process and nothing else.
fn clock_library() -> Result<PathBuf> {
    for folder in std::fs::read_dir("/usr/lib")? {
        let library = folder?.path().join("faketime/libfaketimeMT.so.1");
        if library.is_file() {
            return Ok(library);
        }
    }
    anyhow::bail!("libfaketime is missing; run scripts/setup.sh test")
}
