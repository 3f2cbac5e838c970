//! Which workers were heard of lately, by whichever coordinator.

use std::time::Duration;

use clara_lifecycle::{
    hello::Hello,
    id::{ClassName, WorkerId},
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::{
    broker::QueueName,
    state::{Body, Commit, RecordKey, Write},
    worker_loop::GREET_EVERY,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    driver::{Driver, DriverError},
    records::{from_json, is_conflict, to_json},
};

const WORKER: &str = "worker";
/// A worker counts as there until its third greeting in a row is due.
const LATELY: Duration = GREET_EVERY.saturating_mul(3);
/// The record of a worker that was silent for so long is removed.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);
const PAGE: usize = 500;

/// What a worker told when it was last heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Presence {
    pub(crate) worker: WorkerId,
    pub(crate) stage: Stage,
    pub(crate) slots: u32,
    /// The version of its program.
    pub(crate) build: String,
    /// The resource classes that it serves.
    pub(crate) classes: Vec<ClassName>,
    pub(crate) heard_at: Timestamp,
}

impl Presence {
    /// Whether it takes tasks from `queue`.
    pub(crate) fn serves(&self, queue: &QueueName) -> bool {
        QueueName::served(self.stage, &self.classes).contains(queue)
    }
}

impl Driver {
    /// Keeps that a worker is there, serving `classes`.
    pub(crate) async fn heard_of(&self, hello: &Hello, classes: &[ClassName]) -> Result<(), DriverError> {
        let key = RecordKey::new(WORKER, hello.worker.as_str());
        let stored = self.records.load::<Presence>(&key).await?;
        let presence = Presence {
            worker: hello.worker.clone(),
            stage: hello.stage,
            slots: hello.slots,
            build: hello.build.clone(),
            classes: classes.to_vec(),
            heard_at: self.records.state.now().await?,
        };
        let body = Body::put(to_json(&key, &presence)?);
        let write = Write { key, expected: stored.and_then(|stored| stored.version), body };
        match self.commit_alone(write).await {
            // The same worker was heard of elsewhere at the same moment.
            Err(error) if is_conflict(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// The workers that were heard of lately.
    pub(crate) async fn present(&self) -> Result<Vec<Presence>, DriverError> {
        let now = self.records.state.now().await?;
        let mut present = Vec::new();
        self.each_worker(|_, presence| {
            if now.since(presence.heard_at) <= LATELY {
                present.push(presence);
            }
        })
        .await?;
        Ok(present)
    }

    /// Removes the records of workers that are long gone.
    pub(crate) async fn forget_workers(&self) -> Result<(), DriverError> {
        let now = self.records.state.now().await?;
        let mut gone = Vec::new();
        self.each_worker(|version, presence| {
            if now.since(presence.heard_at) > FORGOTTEN_AFTER {
                gone.push((version, presence.worker));
            }
        })
        .await?;
        for (version, worker) in gone {
            let key = RecordKey::new(WORKER, worker.as_str());
            let write = Write { key, expected: Some(version), body: Body::Remove };
            match self.commit_alone(write).await {
                // It came back, or another coordinator was faster.
                Err(error) if is_conflict(&error) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn each_worker(&self, mut see: impl FnMut(u64, Presence)) -> Result<(), DriverError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.records.state.list(WORKER, after.as_deref(), PAGE).await?;
            for record in &page {
                match from_json(&format!("{WORKER}/{}", record.id), &record.body) {
                    Ok(presence) => see(record.version, presence),
                    // Of another release; it says so itself when it greets.
                    Err(error) => tracing::debug!("a worker is not counted: {error}"),
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
                _ => return Ok(()),
            }
        }
    }

    async fn commit_alone(&self, write: Write) -> Result<(), DriverError> {
        let id = Uuid::new_v4().to_string();
        let commit = Commit { id, writes: vec![write], ..Commit::default() };
        self.records.state.commit(&commit).await.map_err(DriverError::State)
    }
}

#[cfg(test)]
mod tests;
