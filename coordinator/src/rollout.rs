//! Rollout: puts an approved version on servers, proves what they serve, goes back, and watches that it stays so.
//!
//! The steps for one target: check that the version fits → stage it → load it on every replica → list → ask golden prompts
//! and compare the answers with those that were judged. Every step may be repeated and is written into the audit log with
//! what the server said. When one replica fails, the version is taken back from all of them and nothing has moved.

mod back;
mod error;
mod handler;
mod llama_cpp;
mod mistralrs;
mod notes;
mod openai;
mod order;
mod records;
mod replica;
mod sglang;
mod stage;
mod target;
#[cfg(test)]
mod tests;
mod themisdb;
mod vllm;
mod vllm_folder;
mod watch;
mod webhook;

use std::sync::Arc;

use clara_lifecycle::{
    counted::counted,
    fingerprint::{Fingerprint, ServedReply},
    results::TargetRollout,
    served::is_needed,
};
use clara_runtime::{artifacts::ArtifactStore, config::FingerprintRule, metrics};
use futures::future::join_all;
use tokio::sync::Notify;

use crate::{driver::Driver, registry::SignatureState};

pub(crate) use back::{RollBack, Went};
use error::{RolloutError, TargetError};
pub(crate) use handler::RolloutHandler;
pub(crate) use order::Order;
use replica::Replica;
pub use target::Targets;
use target::{Limits, OpenTarget, Staged};
pub(crate) use watch::watch;

/// Rolls versions out; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rollouts {
    pub(crate) driver: Driver,
    pub(crate) artifacts: ArtifactStore,
    /// Told when a champion moved, so that targets hear of it at once.
    pub(crate) moved: Arc<Notify>,
}

impl Rollouts {
    pub(crate) fn new(driver: Driver, artifacts: ArtifactStore) -> Self {
        Self { driver, artifacts, moved: Arc::new(Notify::new()) }
    }

    /// Puts a version on targets, one after the other.
    ///
    /// # Errors
    /// [`RolloutError`] of the first target that failed; the version is taken back from all of them then.
    pub(crate) async fn roll_out(
        &self,
        order: &Order,
        names: &[String],
    ) -> Result<Vec<TargetRollout>, RolloutError> {
        let targets =
            names.iter().map(|name| self.driver.targets.get(name)).collect::<Result<Vec<_>, _>>()?;
        self.verify(order).await?;
        let mut done = Vec::new();
        for (number, target) in targets.iter().enumerate() {
            let all: Vec<&Replica> = target.replicas.iter().collect();
            let put = Box::pin(self.put_on(order, target, &all)).await;
            metrics::rolled_out(&target.name, put.is_ok());
            match put {
                Ok(rollout) => done.push(rollout),
                Err(error) => {
                    let touched = targets.get(..=number).unwrap_or_default();
                    self.take_back(order, touched, &error.to_string()).await;
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    /// Verifies the version's files and signature as they are stored now.
    async fn verify(&self, order: &Order) -> Result<(), RolloutError> {
        let verified = self.driver.verify_adapter(&order.version.adapter_id, &self.artifacts).await?;
        let signature = match &verified.signature {
            SignatureState::Unsigned => "not signed",
            SignatureState::Unchecked => "signed, and no key to verify it with",
            SignatureState::Valid { .. } => "signature valid",
        };
        let files = counted(verified.files, "file");
        let text = format!("{files} with digest {}, {signature}", verified.checksum);
        self.note(order, "rollout.verified", vec![text]).await
    }

    /// The steps for some replicas of a target.
    async fn put_on(
        &self,
        order: &Order,
        target: &OpenTarget,
        replicas: &[&Replica],
    ) -> Result<TargetRollout, RolloutError> {
        let name = order.name();
        self.check_fit(order, target, replicas).await?;
        // From now on nobody unloads it there.
        self.hold(target, order, true).await?;
        let staged = stage::stage(order, target, &self.artifacts).await?;
        let place = format!("{}: {}, verified", target.name, staged.path_on_server);
        self.note(order, "rollout.staged", vec![place]).await?;
        self.load(order, target, replicas, &staged).await?;
        let listed = |replica| listed_by(target, replica, &name);
        self.on_all(order, replicas, "rollout.listed", listed).await?;
        let proof = self.prove(order, target, replicas).await?;
        let replicas = replicas.iter().map(|replica| replica.url.clone()).collect();
        Ok(TargetRollout { target: target.name.clone(), name, replicas, proof })
    }

    /// Whether the servers can take the version at all.
    async fn check_fit(
        &self,
        order: &Order,
        target: &OpenTarget,
        replicas: &[&Replica],
    ) -> Result<(), RolloutError> {
        let misfit = |reason: String| RolloutError::DoesNotFit {
            adapter_id: order.version.adapter_id.clone(),
            target: target.name.clone(),
            reason,
        };
        let settings = &target.settings;
        if let Some(digest) = &settings.base_model_digest
            && *digest != order.version.base_model_hash
        {
            let trained_on = &order.version.base_model_hash;
            return Err(misfit(format!(
                "it was trained on a base model with digest {trained_on}, but the servers hold {digest}"
            )));
        }
        let told = join_all(replicas.iter().map(|replica| target.server.limits(replica))).await;
        let told = told.into_iter().collect::<Result<Vec<_>, TargetError>>()?;
        let ours = Limits { max_rank: settings.max_rank, target_modules: settings.target_modules.clone() };
        for limits in told.iter().chain([&ours]) {
            if let Some(rank) = limits.max_rank.filter(|rank| *rank < order.version.rank) {
                let asked = order.version.rank;
                return Err(misfit(format!(
                    "its rank is {asked}, the servers take {rank}; start them with a greater limit, or train with a lower rank"
                )));
            }
            let beyond = |module: &&String| {
                !limits.target_modules.is_empty() && !limits.target_modules.contains(*module)
            };
            if let Some(module) = order.target_modules.iter().find(beyond) {
                let taken = limits.target_modules.join(", ");
                return Err(misfit(format!("it changes {module}, the servers take {taken}")));
            }
        }
        let text = format!("{}: rank {} and modules fit", target.name, order.version.rank);
        self.note(order, "rollout.checked", vec![text]).await
    }

    /// Loads on all replicas at the same time, and waits for all: one that failed is told when the others have ended.
    async fn load(
        &self,
        order: &Order,
        target: &OpenTarget,
        replicas: &[&Replica],
        staged: &Staged,
    ) -> Result<(), RolloutError> {
        let load = |replica| async move {
            let listed = target.server.list(replica).await?;
            if listed.is_some_and(|listed| listed.iter().any(|adapter| adapter.name == staged.name)) {
                return Ok("it was loaded before".to_owned());
            }
            target.server.load(replica, staged).await
        };
        self.on_all(order, replicas, "rollout.loaded", load).await.map(drop)
    }

    /// Asks golden prompts on every replica and compares; answers what the weakest proof is.
    async fn prove(
        &self,
        order: &Order,
        target: &OpenTarget,
        replicas: &[&Replica],
    ) -> Result<String, RolloutError> {
        if target.settings.fingerprint == FingerprintRule::Off {
            let proof = "not asked: the settings of the target say fingerprint = \"off\"".to_owned();
            self.note(order, "rollout.unproven", vec![format!("{}: {proof}", target.name)]).await?;
            return Ok(proof);
        }
        let settings = &target.settings;
        let print = self.fingerprint(order, settings.smoke_prompts, settings.dtype).await?;
        let name = order.name();
        let prove = |replica| proven_by(target, replica, &name, &print);
        let proofs = self.on_all(order, replicas, "rollout.proven", prove).await?;
        Ok(proofs.into_iter().next().unwrap_or_default())
    }

    /// Does the same on all replicas at once and notes what each said; the first error when all have ended.
    async fn on_all<'a, F, Fut, E>(
        &self,
        order: &Order,
        replicas: &[&'a Replica],
        action: &'static str,
        each: F,
    ) -> Result<Vec<String>, RolloutError>
    where
        F: Fn(&'a Replica) -> Fut,
        Fut: Future<Output = Result<String, E>> + Send,
        E: Into<RolloutError>,
    {
        let ended = join_all(replicas.iter().map(|replica| each(replica))).await;
        let (mut said, mut failed) = (Vec::new(), None);
        let mut lines = Vec::new();
        for (replica, ended) in replicas.iter().zip(ended) {
            match ended {
                Ok(answer) => {
                    lines.push(format!("{}: {answer}", replica.url));
                    said.push(answer);
                }
                Err(error) => failed = failed.or(Some(error.into())),
            }
        }
        self.note(order, action, lines).await?;
        failed.map_or(Ok(said), Err)
    }

    /// Takes a version back from every replica of targets, unless it is needed there. What cannot be undone now is left to
    /// the watch.
    pub(crate) async fn take_back(&self, order: &Order, targets: &[Arc<OpenTarget>], reason: &str) {
        let failed = self.note(order, "rollout.failed", vec![reason.to_owned()]).await.err();
        let mut troubles: Vec<String> = failed.into_iter().map(|error| error.to_string()).collect();
        for target in targets {
            match self.withdraw(order, target).await {
                Ok(()) => {}
                Err(error) => troubles.push(error.to_string()),
            }
        }
        if !troubles.is_empty() {
            let id = &order.version.adapter_id;
            tracing::warn!("{id} could not be taken back everywhere: {}", troubles.join("; "));
        }
    }

    async fn withdraw(&self, order: &Order, target: &OpenTarget) -> Result<(), RolloutError> {
        let deployment = self.hold(target, order, false).await?;
        let family = self.driver.records.family(&order.family_id).await?;
        let keep = target.settings.keep_previous;
        let id = &order.version.adapter_id;
        let needed = family.is_some_and(|family| is_needed(&family.value, Some(&deployment), keep, id));
        // What was staged for a server that reads it at its start stays for that.
        if needed || !target.server.unloads() {
            return Ok(());
        }
        let name = order.name();
        let all: Vec<&Replica> = target.replicas.iter().collect();
        let unload = |replica| target.server.unload(replica, &name);
        self.on_all(order, &all, "rollout.unloaded", unload).await?;
        self.remove_staged(target, &name).await
    }

    /// Removes what was staged, unless another target reads the same folder.
    async fn remove_staged(&self, target: &OpenTarget, name: &str) -> Result<(), RolloutError> {
        let folder = target.settings.folder.as_ref();
        let shares =
            |other: &&Arc<OpenTarget>| other.name != target.name && other.settings.folder.as_ref() == folder;
        if self.driver.targets.all().any(|other| shares(&other)) {
            return Ok(());
        }
        stage::remove(target, name).await.map_err(|error| RolloutError::Stage {
            name: name.to_owned(),
            folder: folder.map(|folder| folder.display().to_string()).unwrap_or_default(),
            reason: error.to_string(),
        })
    }
}

/// Whether a replica lists the adapter, where it tells that.
async fn listed_by(target: &OpenTarget, replica: &Replica, name: &str) -> Result<String, RolloutError> {
    let Some(listed) = target.server.list(replica).await? else { return Ok("it tells no list".to_owned()) };
    if listed.iter().any(|adapter| adapter.name == name) {
        return Ok(format!("lists {name}"));
    }
    let names: Vec<&str> = listed.iter().map(|adapter| adapter.name.as_str()).collect();
    let listed = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(RolloutError::NotListed { url: replica.url.clone(), name: name.to_owned(), listed })
}

/// Whether a replica answers as the judged adapter did.
async fn proven_by(
    target: &OpenTarget,
    replica: &Replica,
    name: &str,
    print: &Fingerprint,
) -> Result<String, RolloutError> {
    let Some(replies) = replies(target, replica, name, print).await? else {
        return Ok("it cannot be asked".to_owned());
    };
    let comparison = print.compare(&replies);
    if comparison.matches {
        return Ok(comparison.to_string());
    }
    let (url, name, comparison) = (replica.url.clone(), name.to_owned(), Box::new(comparison));
    Err(RolloutError::OtherBytes { url, name, comparison })
}

/// What a replica answers to all prompts; `None` where it cannot be asked.
async fn replies(
    target: &OpenTarget,
    replica: &Replica,
    name: &str,
    print: &Fingerprint,
) -> Result<Option<Vec<ServedReply>>, TargetError> {
    let mut replies = Vec::new();
    for prompt in print.prompts() {
        match target.server.ask(replica, name, &prompt.turns).await? {
            Some(reply) => replies.push(reply),
            None => return Ok(None),
        }
    }
    Ok(Some(replies))
}
