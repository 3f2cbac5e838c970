//! Greets the coordinators, at the start and every few seconds: agrees on a protocol version, learns which resource
//! classes to serve, and shows that the worker is there.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::{
    hello::{Hello, NoCommonProtocol, ProtocolRange, Welcome},
    id::ClassName,
    stage::Stage,
};
use tokio::sync::watch;

use super::WorkerOptions;
use crate::{
    backoff::Backoff,
    broker::QueueName,
    coordinator_client::{Coordinator, CoordinatorError},
};

/// How often a worker shows that it is there. A coordinator that is upgraded under it is noticed as late as that.
pub const GREET_EVERY: Duration = Duration::from_secs(10);

/// The queues that the slots take tasks from now; none while worker and coordinator share no protocol version.
pub(super) type Served = watch::Receiver<Arc<[QueueName]>>;

/// Greets for one worker.
#[derive(Debug)]
pub(super) struct Greeter {
    coordinator: Arc<dyn Coordinator>,
    hello: Hello,
}

impl Greeter {
    pub(super) fn new(coordinator: Arc<dyn Coordinator>, stage: Stage, options: &WorkerOptions) -> Self {
        let hello = Hello {
            worker: options.worker_id.clone(),
            stage,
            protocol: ProtocolRange::OURS,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            slots: u32::try_from(options.slots).unwrap_or(u32::MAX),
            resources: options.resources.clone(),
            classes: options.classes.clone(),
        };
        Self { coordinator, hello }
    }

    /// Greets until a coordinator answers. Answers the queues to serve.
    pub(super) async fn introduce(&self) -> Result<Arc<[QueueName]>, IntroductionError> {
        let mut outage = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let welcome = loop {
            match self.coordinator.hello(&self.hello).await {
                Ok(welcome) => break welcome,
                Err(error) if error.is_retryable() => {
                    tracing::warn!("worker {} waits for a coordinator: {error}", self.hello.worker);
                    tokio::time::sleep(outage.next_wait()).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let version = self.hello.agreed(&welcome)?;
        tracing::info!("worker {} and Clara {} speak protocol {version}", self.hello.worker, welcome.build);
        let queues = self.queues(&welcome);
        self.tell_classes(&queues, &welcome.classes);
        Ok(queues)
    }

    /// Greets again and again, and changes what the slots take as the answers say.
    pub(super) async fn keep(self, served: watch::Sender<Arc<[QueueName]>>) {
        loop {
            tokio::time::sleep(GREET_EVERY).await;
            let welcome = match self.coordinator.hello(&self.hello).await {
                Ok(welcome) => welcome,
                Err(error) => {
                    tracing::debug!("no answer to a greeting of {}: {error}", self.hello.worker);
                    continue;
                }
            };
            let agreed = self.hello.agreed(&welcome);
            let queues = if agreed.is_ok() { self.queues(&welcome) } else { Arc::default() };
            if *served.borrow() == queues {
                continue;
            }
            match agreed {
                Ok(_) => self.tell_classes(&queues, &welcome.classes),
                Err(error) => tracing::error!("{error}; no tasks are taken until then"),
            }
            served.send_replace(queues);
        }
    }

    fn queues(&self, welcome: &Welcome) -> Arc<[QueueName]> {
        // A coordinator from before the greeting does not know which classes this worker is restricted to.
        let wanted = &self.hello.classes;
        let serves = |class: &&ClassName| wanted.is_empty() || wanted.contains(class);
        let classes: Vec<ClassName> = welcome.classes.iter().filter(serves).cloned().collect();
        QueueName::served(self.hello.stage, &classes).into()
    }

    fn tell_classes(&self, queues: &[QueueName], classes: &[ClassName]) {
        let Hello { worker, stage, classes: wanted, .. } = &self.hello;
        let names = |classes: &[&ClassName]| {
            classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", ")
        };
        if queues.is_empty() {
            tracing::error!("worker {worker} serves no resource class, so it takes no tasks of {stage}");
        } else {
            let served = names(&classes.iter().collect::<Vec<_>>());
            tracing::info!("worker {worker} waits for tasks of {stage}; resource classes: {served}");
        }
        let missing: Vec<_> = wanted.iter().filter(|class| !classes.contains(class)).collect();
        if !missing.is_empty() {
            tracing::warn!(
                "worker {worker} cannot serve {}: the coordinator knows no such class, or it needs more than \
                 worker.gpu_memory, worker.gpu_kind and worker.cpu_cores say",
                names(&missing)
            );
        }
    }
}

/// Why a worker cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum IntroductionError {
    /// It and the coordinator share no protocol version.
    #[error(transparent)]
    Protocol(#[from] NoCommonProtocol),
    /// The coordinator does not accept its greeting.
    #[error(transparent)]
    Refused(#[from] CoordinatorError),
}
