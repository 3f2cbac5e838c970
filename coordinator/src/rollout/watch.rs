//! The watch: what targets serve beside what they should, retired versions unloaded, lost ones loaded again.
//!
//! Every coordinator watches every target. What they do may be done twice.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use clara_lifecycle::{
    adapter::Family,
    audit::AuditNote,
    served::{Deployment, Listing, ServedReplica, ServedRole, ServedTarget, Sight, served_name},
};
use clara_runtime::{metrics, task::Tasks};
use futures::future::join_all;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Rollouts,
    error::RolloutError,
    replica::Replica,
    target::{Form, News, OpenTarget},
};
use crate::{change::time_text, driver::DriverError, outage::Outage};

/// What is seen is stored again after so long even where nothing changed.
const KEEP_EVERY: Duration = Duration::from_mins(1);
/// A replica that gives no answer for so long is told as such, while the others are seen.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// A repair that failed is tried again after so long.
const REPAIR_AGAIN_AFTER: Duration = Duration::from_mins(1);
/// Champions move with a commit that comes a moment after their rollout.
const SETTLES_WITHIN: Duration = Duration::from_millis(300);

/// Starts the watch over all targets.
pub(crate) fn watch(rollouts: &Rollouts, tasks: &Tasks) {
    for target in rollouts.driver.targets.all() {
        let (rollouts, target) = (rollouts.clone(), Arc::clone(target));
        tasks.spawn_until_shutdown("coordinator.watch_target", async move {
            let mut outage = Outage::of("watching a rollout target");
            let mut watch = Watch {
                rollouts: rollouts.clone(),
                target,
                kept: None,
                told: BTreeSet::new(),
                repair_after: None,
            };
            loop {
                outage.see(watch.turn().await);
                tokio::select! {
                    () = tokio::time::sleep(watch.target.settings.watch_every.0) => {}
                    () = rollouts.moved.notified() => tokio::time::sleep(SETTLES_WITHIN).await,
                }
            }
        });
    }
}

struct Watch {
    rollouts: Rollouts,
    target: Arc<OpenTarget>,
    /// What was stored last, and when.
    kept: Option<(Instant, ServedTarget)>,
    /// URL and name of adapters that a replica was told to unload and still lists.
    told: BTreeSet<(String, String)>,
    /// After a repair that failed the next one waits.
    repair_after: Option<Instant>,
}

impl Watch {
    async fn turn(&mut self) -> Result<(), RolloutError> {
        let (rollouts, target) = (self.rollouts.clone(), Arc::clone(&self.target));
        let sight = rollouts.look_at(&target).await?;
        metrics::rollout_seen(&target.name, sight.seen.drifted(), sight.seen.unreachable());
        self.tell_people(&sight.seen);
        self.keep(&sight.seen).await?;
        rollouts.settle(&target, &sight).await?;
        rollouts.tell_target(&target, &sight).await?;
        self.retire(&sight.seen).await?;
        self.repair(&sight.seen).await
    }

    /// Logs drift when it comes and when it ends.
    fn tell_people(&self, seen: &ServedTarget) {
        let of = |seen: &ServedTarget| -> Vec<String> {
            let lines = |replica: &ServedReplica| {
                let url = replica.url.clone();
                replica.drift.iter().map(move |drift| format!("{url} {drift}")).collect::<Vec<_>>()
            };
            seen.replicas.iter().flat_map(lines).collect()
        };
        let before = self.kept.as_ref().map(|(_, kept)| of(kept)).unwrap_or_default();
        let now = of(seen);
        for drift in now.iter().filter(|drift| !before.contains(drift)) {
            warn!("rollout target {} drifts: {drift}", seen.target);
        }
        if now.is_empty() && !before.is_empty() {
            info!("rollout target {} serves what it should again", seen.target);
        }
    }

    async fn keep(&mut self, seen: &ServedTarget) -> Result<(), RolloutError> {
        let is_new = self.kept.as_ref().is_none_or(|(at, kept)| {
            let same = ServedTarget { looked_at: kept.looked_at.clone(), ..seen.clone() };
            at.elapsed() >= KEEP_EVERY || same != *kept
        });
        if is_new {
            self.rollouts.driver.keep_seen(seen).await?;
            self.kept = Some((Instant::now(), seen.clone()));
        }
        Ok(())
    }

    /// Loads champions again on replicas that lost them.
    async fn repair(&mut self, seen: &ServedTarget) -> Result<(), RolloutError> {
        let target = &self.target;
        // A webhook cannot tell what it serves, so nothing can be seen to be lost.
        let may = target.settings.repair && target.server.form() != Form::Nothing && target.server.unloads();
        if !may || seen.drifted() == 0 || self.repair_after.is_some_and(|after| Instant::now() < after) {
            return Ok(());
        }
        for family in &seen.families {
            let Some((champion, name)) = family.champion.as_ref().zip(family.name.as_ref()) else { continue };
            let lacks = |served: &ServedReplica| {
                served.error.is_none() && !served.adapters.iter().any(|adapter| adapter.name == *name)
            };
            let lacking = target.replicas.iter().zip(&seen.replicas).filter(|(_, served)| lacks(served));
            let lacking: Vec<&Replica> = lacking.map(|(replica, _)| replica).collect();
            if !lacking.is_empty()
                && let Err(error) = Box::pin(self.rollouts.repair(target, champion, &lacking)).await
            {
                self.repair_after = Some(Instant::now() + REPAIR_AGAIN_AFTER);
                return Err(error);
            }
        }
        self.repair_after = None;
        Ok(())
    }

    /// Unloads what nothing needs any more, each once: some servers let go of it later by themselves.
    async fn retire(&mut self, seen: &ServedTarget) -> Result<(), RolloutError> {
        let (rollouts, target) = (&self.rollouts, &self.target);
        if !target.server.unloads() {
            return Ok(());
        }
        let (mut listed, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (replica, served) in target.replicas.iter().zip(&seen.replicas) {
            for adapter in served.adapters.iter().filter(|adapter| adapter.role == ServedRole::Retired) {
                let Some(adapter_id) = &adapter.adapter_id else { continue };
                let told = (replica.url.clone(), adapter.name.clone());
                if !self.told.contains(&told) {
                    let said = target.server.unload(replica, &adapter.name).await?;
                    let reason = format!("{} {}: {said}", target.name, replica.url);
                    rollouts.note_by_watch("rollout.unloaded", adapter_id, reason).await?;
                    gone.insert(adapter.name.clone());
                }
                listed.insert(told);
            }
        }
        self.told = listed;
        // The files stay while a replica that did not answer may still read them.
        if seen.unreachable() == 0 {
            for name in gone {
                rollouts.remove_staged(target, &name).await?;
            }
        }
        Ok(())
    }
}

/// A target as it was found, with the records that it was held against.
pub(super) struct Found {
    pub(super) seen: ServedTarget,
    deployments: Vec<Deployment>,
    families: Vec<Family>,
}

impl Rollouts {
    /// Asks all replicas of a target.
    ///
    /// The order matters: a version that is listed was held before it was loaded, and whoever lets go of it has made it
    /// champion before. So nothing that is being rolled out can look retired.
    pub(super) async fn look_at(&self, target: &OpenTarget) -> Result<Found, DriverError> {
        let listings = join_all(target.replicas.iter().map(|replica| async {
            let listed = tokio::time::timeout(LOOK_WITHIN, target.server.list(replica)).await;
            let adapters = match listed {
                Ok(Ok(listed)) => listed.map(Ok),
                Ok(Err(error)) => Some(Err(error.to_string())),
                Err(_) => Some(Err(format!("{} gave no answer within {LOOK_WITHIN:?}", replica.url))),
            };
            Listing { url: replica.url.clone(), adapters }
        }))
        .await;
        let deployments = self.driver.deployments(&target.name).await?;
        let families: Vec<Family> = self.driver.records.families().await?;
        let looked_at = time_text(self.driver.records.state.now().await?);
        let sight = Sight {
            target: &target.name,
            kind: target.kind.as_str(),
            looked_at: &looked_at,
            keep_previous: target.settings.keep_previous,
        };
        let seen = ServedTarget::of(sight, &families, &deployments, &listings);
        Ok(Found { seen, deployments, families })
    }

    /// What all targets serve at this moment.
    pub(crate) async fn look(&self) -> Result<Vec<ServedTarget>, DriverError> {
        let mut seen = Vec::new();
        for target in self.driver.targets.all() {
            seen.push(self.look_at(target).await?.seen);
        }
        Ok(seen)
    }

    /// Lets go of versions that became champion, or were it.
    async fn settle(&self, target: &OpenTarget, found: &Found) -> Result<(), RolloutError> {
        for deployment in &found.deployments {
            let family = found.families.iter().find(|family| family.family_id == deployment.family_id);
            let Some(family) = family else { continue };
            let is_settled =
                |id: &String| family.champion() == Some(id.as_str()) || family.former_champions.contains(id);
            if deployment.in_rollout.iter().any(is_settled) {
                let let_go = |deployment: &mut Deployment| deployment.in_rollout.retain(|id| !is_settled(id));
                self.driver.change_deployment(&target.name, &family.family_id, let_go).await?;
            }
        }
        Ok(())
    }

    /// Tells a target of champions that it was not told of yet.
    async fn tell_target(&self, target: &OpenTarget, found: &Found) -> Result<(), RolloutError> {
        for deployment in &found.deployments {
            let family = found.families.iter().find(|family| family.family_id == deployment.family_id);
            let Some(version) = family.and_then(Family::champion_version) else { continue };
            if deployment.told.as_ref() == Some(&version.adapter_id) {
                continue;
            }
            let news = News {
                family_id: deployment.family_id.clone(),
                champion: version.adapter_id.clone(),
                name: served_name(version),
                previous: deployment.told.clone(),
                number: deployment.times_told + 1,
            };
            for replica in &target.replicas {
                if let Some(said) = target.server.tell(replica, &news).await? {
                    let reason = format!("{} {}: {said}", target.name, replica.url);
                    self.note_by_watch("rollout.told", &news.champion, reason).await?;
                }
            }
            let told = |deployment: &mut Deployment| {
                deployment.told = Some(news.champion.clone());
                deployment.times_told = news.number;
            };
            self.driver.change_deployment(&target.name, &news.family_id, told).await?;
        }
        Ok(())
    }

    /// Loads a champion again; replicas that serve something else under its name afterwards lose it once more.
    async fn repair(
        &self,
        target: &OpenTarget,
        champion: &str,
        lacking: &[&Replica],
    ) -> Result<(), RolloutError> {
        let now = time_text(self.driver.records.state.now().await?);
        let order = self.order(champion, "coordinator", &format!("repair at {now}")).await?;
        let urls: Vec<String> = lacking.iter().map(|replica| format!("{}: lost it", replica.url)).collect();
        self.note(&order, "rollout.repaired", urls).await?;
        // The files may have changed since the version was rolled out.
        let repaired = match self.verify(&order).await {
            Ok(()) => self.put_on(&order, target, lacking).await,
            Err(error) => Err(error),
        };
        metrics::rolled_out(&target.name, repaired.is_ok());
        let Err(error) = repaired else { return Ok(()) };
        self.note(&order, "rollout.failed", vec![error.to_string()]).await?;
        let name = order.name();
        join_all(lacking.iter().map(|replica| target.server.unload(replica, &name))).await;
        Err(error)
    }

    async fn note_by_watch(
        &self,
        action: &'static str,
        adapter_id: &str,
        reason: String,
    ) -> Result<(), RolloutError> {
        let (actor, subject) = ("coordinator".to_owned(), adapter_id.to_owned());
        Ok(self.driver.note(&[AuditNote { actor, action, subject, reason }]).await?)
    }
}
