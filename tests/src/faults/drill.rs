//! Programs for drills: the real daemons with handlers that let time pass, and traps in which they die or stand still.
//!
//! Faults are wrappers around the ports and the handlers; the daemons themselves know nothing of them.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use clara_coordinator::daemon;
use clara_lifecycle::stage::Stage;
use clara_runtime::{
    broker::Broker,
    faults::{Duplicating, Fault, Faulty, Reordering},
    ports::Ports,
    service::{self, ServiceArgs, WorkerArgs, WorkerPorts, run_workers_over},
    state::StateStore,
    worker::StageHandler,
};

use echo::Echoing;
use process::{RealProcess, TrappedHandler};
use trap::Trap;
use trapped::{TrappedBroker, TrappedCoordinator, TrappedState};

pub(super) use notes::Notebook;
pub use notes::{Note, Noted, read_notes};
pub use trap::{Action, Point, Snare};

mod echo;
mod notes;
mod process;
#[cfg(test)]
mod tests;
mod trap;
mod trapped;

/// Stages that the drill worker carries out; gate and rollout are the coordinator's own.
const STAGES: [Stage; 4] = [Stage::Ingest, Stage::Train, Stage::Generate, Stage::Judge];

/// Flags of both programs.
#[derive(Debug, Clone, clap::Args)]
struct DrillArgs {
    /// Its name in the notes
    #[arg(long)]
    name: String,
    /// File that the notes are appended to
    #[arg(long)]
    notes: PathBuf,
    /// What the faults of its ports follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where it dies or stands still: `kill@acked`, `stop@mid-stage:train`
    #[arg(long)]
    trap: Option<Snare>,
}

impl DrillArgs {
    fn trap(&self) -> std::io::Result<Trap> {
        Trap::new(&self.name, &self.notes, self.trap, self.seed)
    }
}

/// The worker daemon for drills
#[derive(Debug, Parser)]
#[command(name = "drill-worker")]
struct WorkerDrill {
    #[command(flatten)]
    worker: WorkerArgs,
    #[command(flatten)]
    drill: DrillArgs,
    /// Share of the deliveries, in percent, whose order changes
    #[arg(long, default_value_t = 0)]
    reordered: u64,
    /// Share of the calls to the coordinator, in percent, that arrive again later
    #[arg(long, default_value_t = 0)]
    echoed: u64,
}

/// The coordinator daemon for drills
#[derive(Debug, Parser)]
#[command(name = "drill-coordinator")]
struct CoordinatorDrill {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    drill: DrillArgs,
    /// Where workers and users are served over gRPC
    #[arg(long)]
    listen: std::net::SocketAddr,
    /// Share of the calls of state store and broker, in percent, that are carried out and not answered
    #[arg(long, default_value_t = 0)]
    unanswered: u64,
    /// Share of the tasks, in percent, that are published twice
    #[arg(long, default_value_t = 0)]
    doubled: u64,
}

/// Runs the program `drill-worker`.
pub fn run_worker() -> ExitCode {
    let WorkerDrill { worker, drill, reordered, echoed } = WorkerDrill::parse();
    let trap = match drill.trap() {
        Ok(trap) => trap,
        Err(error) => return refuse(&drill, &error),
    };
    run_workers_over("drill-worker", &worker, |settings, ports| {
        let WorkerPorts { mut broker, mut coordinator, artifacts } = ports;
        let artifact_folder = settings.artifact_folder();
        let handlers = STAGES.map(|stage| {
            let process = RealProcess::new(trap.clone(), artifact_folder.clone());
            Arc::new(TrappedHandler::new(stage, process)) as Arc<dyn StageHandler>
        });
        if reordered > 0 {
            broker = Arc::new(Reordering::new(broker, reordered, drill.seed));
        }
        if echoed > 0 {
            coordinator = Arc::new(Echoing::new(coordinator, echoed, drill.seed));
        }
        let broker = Arc::new(TrappedBroker { inner: broker, trap: trap.clone() });
        let coordinator = Arc::new(TrappedCoordinator { inner: coordinator, trap: trap.clone() });
        Ok((handlers.into(), WorkerPorts { broker, coordinator, artifacts }))
    })
}

/// Runs the program `drill-coordinator`.
pub fn run_coordinator() -> ExitCode {
    let CoordinatorDrill { service, drill, listen, unanswered, doubled } = CoordinatorDrill::parse();
    let trap = match drill.trap() {
        Ok(trap) => trap,
        Err(error) => return refuse(&drill, &error),
    };
    let layers = service.layers().with_flag("serve.grpc_address", listen, "--listen");
    service::run(daemon::DAEMON, &layers, service.print_settings, |service| {
        daemon::work_over(service, move |ports| {
            let Ports { mut state, mut broker, artifacts } = ports;
            if unanswered > 0 {
                state = faulty_state(state, unanswered, drill.seed);
                broker = faulty_broker(broker, unanswered, drill.seed + 1);
            }
            if doubled > 0 {
                broker = Arc::new(Duplicating::new(broker, doubled, drill.seed));
            }
            let state = Arc::new(TrappedState { inner: state, trap: trap.clone() });
            let broker = Arc::new(TrappedBroker { inner: broker, trap });
            Ports { state, broker, artifacts }
        })
    })
}

fn faulty_state(inner: Arc<dyn StateStore>, percent: u64, seed: u64) -> Arc<dyn StateStore> {
    let faulty: Faulty<dyn StateStore> = Faulty::new(inner, Fault::Unanswered, percent, seed);
    Arc::new(faulty)
}

fn faulty_broker(inner: Arc<dyn Broker>, percent: u64, seed: u64) -> Arc<dyn Broker> {
    let faulty: Faulty<dyn Broker> = Faulty::new(inner, Fault::Unanswered, percent, seed);
    Arc::new(faulty)
}

fn refuse(drill: &DrillArgs, error: &std::io::Error) -> ExitCode {
    eprintln!("{} cannot write notes to {}: {error}", drill.name, drill.notes.display());
    ExitCode::FAILURE
}
