//! The cluster of a trial: coordinators and workers over one state store and one broker, started, killed, started anew.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result};
use clara_coordinator::{Schedule, simulation::SimulatedCoordinator};
use clara_lifecycle::{job::LeaseTerms, stage::Stage};
use clara_runtime::{
    artifacts::ArtifactStore,
    broker::memory::MemoryBroker,
    state::memory::MemoryState,
    task::Tasks,
    worker_loop::{WorkerOptions, run_worker},
};
use object_store::memory::InMemory;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    actor::SimulatedProcess,
    handler::{PROGRESS_WITHIN, ScriptedHandler},
    journal::Journal,
    link::{Link, Peer, Peers},
    node::Node,
    ports::{SimulatedBroker, SimulatedState},
    weather::{SimulatedClock, Sky},
};

/// How long leases last.
pub(super) const LEASE: Duration = Duration::from_secs(6);
const WORKERS_PER_STAGE: usize = 2;

/// Everything of one trial.
pub(super) struct World {
    pub(super) sky: Sky,
    pub(super) journal: Journal,
    pub(super) state: MemoryState,
    pub(super) broker: MemoryBroker,
    pub(super) artifacts: ArtifactStore,
    pub(super) coordinators: Vec<Option<RunningCoordinator>>,
    pub(super) workers: Vec<RunningWorker>,
    peers: Peers,
    pub(super) network: Tasks,
    scratch: PathBuf,
}

/// One coordinator.
#[derive(Clone)]
pub(super) struct RunningCoordinator {
    pub(super) service: Arc<SimulatedCoordinator>,
    pub(super) died: CancellationToken,
    broker: Arc<SimulatedBroker>,
}

/// One worker.
pub(super) struct RunningWorker {
    pub(super) stage: Stage,
    pub(super) id: String,
    pub(super) node: Node,
    pub(super) is_cut: Arc<AtomicBool>,
    /// Begins its drain.
    pub(super) shutdown: CancellationToken,
    broker: Arc<SimulatedBroker>,
}

impl World {
    /// A calm cluster of `coordinators` and two workers per stage.
    pub(super) fn start(
        seed: u64,
        coordinators: usize,
        broker: MemoryBroker,
        scratch: PathBuf,
    ) -> Result<Self> {
        let clock = Arc::new(SimulatedClock::start());
        let mut world = Self {
            sky: Sky::new(seed),
            journal: Journal::new(Arc::clone(&clock)),
            state: MemoryState::new(clock),
            broker,
            artifacts: ArtifactStore::new(Arc::new(InMemory::new())),
            coordinators: vec![None; coordinators],
            workers: Vec::new(),
            peers: Arc::new(Mutex::new(vec![None; coordinators])),
            network: Tasks::new(CancellationToken::new()),
            scratch,
        };
        for number in 0..coordinators {
            world.start_coordinator(number);
        }
        for stage in Stage::ALL {
            for _ in 0..WORKERS_PER_STAGE {
                let worker = world.new_worker(stage)?;
                world.workers.push(worker);
            }
        }
        Ok(world)
    }

    /// Starts a coordinator that does not run.
    pub(super) fn start_coordinator(&mut self, number: usize) {
        let node = Node::new();
        let broker = Arc::new(self.connection(&node));
        let state = Arc::new(SimulatedState { inner: self.state.clone(), sky: self.sky.clone() });
        let died = CancellationToken::new();
        let tasks = Tasks::new(died.clone());
        let terms = LeaseTerms { ttl: LEASE, progress_within: PROGRESS_WITHIN };
        // Fewer than the jobs of some trials, so that some wait.
        let schedule = Schedule { max_active_jobs: 4, ..Schedule::default() };
        let name = format!("coordinator-{number}");
        let terms = (terms, schedule);
        let connection = Arc::clone(&broker) as _;
        let service = Arc::new(SimulatedCoordinator::start(&name, terms, state, connection, &tasks));
        let peer = Peer { coordinator: service.workers(), died: died.clone() };
        if let Some(place) = self.peers.lock().get_mut(number) {
            *place = Some(peer);
        }
        if let Some(place) = self.coordinators.get_mut(number) {
            *place = Some(RunningCoordinator { service, died, broker });
        }
    }

    /// `kill -9`.
    pub(super) async fn kill_coordinator(&mut self, number: usize) {
        if let Some(place) = self.peers.lock().get_mut(number) {
            *place = None;
        }
        if let Some(killed) = self.coordinators.get_mut(number).and_then(Option::take) {
            killed.died.cancel();
            killed.broker.disconnect().await;
        }
    }

    /// Any coordinator that runs.
    pub(super) fn coordinator(&self) -> Option<RunningCoordinator> {
        let running: Vec<_> = self.coordinators.iter().flatten().collect();
        self.sky.one_of(&running).map(|coordinator| (*coordinator).clone())
    }

    /// Starts a fresh process in the place of a worker.
    pub(super) fn replace_worker(&mut self, number: usize) -> Result<()> {
        let stage = self.workers.get(number).context("there is no such worker")?.stage;
        let fresh = self.new_worker(stage)?;
        if let Some(place) = self.workers.get_mut(number) {
            *place = fresh;
        }
        Ok(())
    }

    /// `kill -9`.
    pub(super) async fn kill_worker(&mut self, number: usize) {
        if let Some(worker) = self.workers.get(number) {
            worker.node.kill();
            self.journal.interrupt(&worker.id, true);
            worker.broker.disconnect().await;
        }
    }

    /// A worker to be hit: rather one that is busy.
    pub(super) fn victim(&self) -> usize {
        let alive = |(_, worker): &(usize, &RunningWorker)| !worker.node.is_dead();
        let busy = |(_, worker): &(usize, &RunningWorker)| self.journal.is_busy(&worker.id);
        let alive: Vec<_> = self.workers.iter().enumerate().filter(alive).collect();
        let busy: Vec<_> = alive.iter().copied().filter(busy).collect();
        let chosen = if busy.is_empty() || self.sky.strikes(10) { &alive } else { &busy };
        self.sky.one_of(chosen).map_or(0, |(number, _)| *number)
    }

    fn connection(&self, node: &Node) -> SimulatedBroker {
        SimulatedBroker {
            inner: self.broker.clone(),
            node: node.clone(),
            sky: self.sky.clone(),
            journal: self.journal.clone(),
            network: self.network.clone(),
            held: Mutex::default(),
        }
    }

    fn new_worker(&self, stage: Stage) -> Result<RunningWorker> {
        let node = Node::new();
        let is_cut = Arc::new(AtomicBool::new(false));
        let link = Link {
            node: node.clone(),
            sky: self.sky.clone(),
            peers: Arc::clone(&self.peers),
            network: self.network.clone(),
            is_cut: Arc::clone(&is_cut),
        };
        let options = WorkerOptions {
            drain_within: Duration::from_secs(10),
            ..WorkerOptions::new(&format!("{stage}-worker"), &self.scratch)?
        };
        let id = options.worker_id.to_string();
        let surroundings = SimulatedProcess {
            worker: id.clone(),
            node: node.clone(),
            sky: self.sky.clone(),
            journal: self.journal.clone(),
        };
        let handler = Arc::new(ScriptedHandler { stage, surroundings });
        let broker = Arc::new(self.connection(&node));
        let shutdown = CancellationToken::new();
        let artifacts = self.artifacts.clone();
        let connection = Arc::clone(&broker) as _;
        let work = run_worker(handler, connection, Arc::new(link), artifacts, options, shutdown.clone());
        self.network.spawn("simulated.worker", work);
        Ok(RunningWorker { stage, id, node, is_cut, shutdown, broker })
    }
}
