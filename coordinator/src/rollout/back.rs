//! Rollback: the alias moves back to a version that is still loaded.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::{
    adapter::{AdapterVersion, Family, RolledBack, RolloutRecord},
    results::TargetRollout,
    served::served_name,
};
use futures::future::join_all;
use serde::Serialize;
use tokio::time::Instant;

use super::{Rollouts, replica::Replica, target::OpenTarget};
use crate::{
    change::Change,
    driver::{DriverError, audit},
    records::is_conflict,
};

/// A rollback must not wait for servers that are in trouble.
const ASK_WITHIN: Duration = Duration::from_millis(400);

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct RollBack {
    /// The family.
    pub(crate) family_id: String,
    /// The version to go back to; else the champion before.
    pub(crate) to: Option<String>,
    /// Only tell.
    pub(crate) dry_run: bool,
    /// Go back even where a replica does not serve the version.
    pub(crate) force: bool,
    pub(crate) actor: String,
    pub(crate) reason: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Went {
    pub(crate) family_id: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// The name under which the version is served.
    pub(crate) name: String,
    pub(crate) replicas: Vec<WentReplica>,
    pub(crate) dry_run: bool,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// A replica, and whether it serves the version: `yes`, `no` or `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WentReplica {
    pub(crate) target: String,
    pub(crate) url: String,
    pub(crate) serves: &'static str,
}

impl Rollouts {
    /// Makes an earlier version the champion; no server is told to load anything.
    ///
    /// # Errors
    /// When there is nothing to go back to, a replica says that it does not serve the version, or the champion moved
    /// meanwhile. Nothing is changed then.
    pub(crate) async fn roll_back(&self, asked: &RollBack) -> Result<Went, DriverError> {
        let began = Instant::now();
        if !asked.dry_run && (asked.actor.trim().is_empty() || asked.reason.trim().is_empty()) {
            let why = "a rollback needs who decided (--actor) and why (--reason)";
            return Err(DriverError::Invalid(why.into()));
        }
        let unknown = || {
            let id = &asked.family_id;
            DriverError::Invalid(format!("there is no family {id}; `clara registry list` shows all versions"))
        };
        let family = self.driver.records.family(&asked.family_id).await?.ok_or_else(unknown)?.value;
        let mut after = family.clone();
        let planned = after.roll_back(asked.to.as_deref())?;
        let name = after.version(&planned.to).map(served_name).unwrap_or_default();
        let replicas = self.who_serves(&family.family_id, &name).await?;
        let without: Vec<&str> = replicas
            .iter()
            .filter(|replica| replica.serves == "no")
            .map(|replica| replica.url.as_str())
            .collect();
        if !without.is_empty() && !asked.force && !asked.dry_run {
            return Err(DriverError::Invalid(format!(
                "{} do not serve {name}; load it with `clara registry rollout {}`, or go back all the same with --force",
                without.join(", "),
                planned.to
            )));
        }
        if !asked.dry_run {
            self.move_back(&family, &planned, asked).await?;
            self.moved.notify_waiters();
        }
        let RolledBack { from, to } = planned;
        let (family_id, dry_run) = (family.family_id, asked.dry_run);
        Ok(Went { family_id, from, to, name, replicas, dry_run, seconds: began.elapsed().as_secs_f64() })
    }

    async fn move_back(
        &self,
        family: &Family,
        planned: &RolledBack,
        asked: &RollBack,
    ) -> Result<(), DriverError> {
        loop {
            let mut change = Change::begin(&self.driver).await?;
            let at = change.now_text();
            let stored = change.family(&family.domain, family.method).await?;
            if stored.champion() != Some(planned.from.as_str()) {
                let now = stored.champion().unwrap_or("no version").to_owned();
                return Err(DriverError::Invalid(format!(
                    "the champion of {} moved meanwhile to {now}; look again",
                    family.family_id
                )));
            }
            stored.roll_back(Some(&planned.to))?;
            let record = RolloutRecord {
                at,
                actor: asked.actor.clone(),
                replaced: Some(planned.from.clone()),
                targets: Vec::new(),
            };
            stored.note(&planned.to, |version| version.rollouts.push(record))?;
            let reason = format!("back from {}: {}", planned.from, asked.reason);
            audit(&mut change, "adapter.rolled_back", &planned.to, (&asked.actor, &reason)).await?;
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }

    async fn who_serves(&self, family_id: &str, name: &str) -> Result<Vec<WentReplica>, DriverError> {
        let mut asked: Vec<Arc<OpenTarget>> = Vec::new();
        for target in self.driver.targets_of(family_id).await? {
            // A target that the settings no longer name has nobody to ask.
            asked.extend(self.driver.targets.get(&target).ok());
        }
        let all =
            asked.iter().flat_map(|target| target.replicas.iter().map(move |replica| (target, replica)));
        Ok(join_all(all.map(|(target, replica)| serves(target, replica, name))).await)
    }

    /// Puts a version on targets, those of its family where none is named, and makes it champion where that is asked for.
    pub(crate) async fn roll_out_by_hand(
        &self,
        adapter_id: &str,
        targets: &[String],
        promote: bool,
        (actor, reason): (&str, &str),
    ) -> Result<(String, Vec<TargetRollout>, Option<String>), DriverError> {
        if actor.trim().is_empty() || reason.trim().is_empty() {
            let why = "a rollout by hand needs who decided (--actor) and why (--reason)";
            return Err(DriverError::Invalid(why.into()));
        }
        let order = self.order(adapter_id, actor, &uuid::Uuid::new_v4().to_string()).await?;
        let targets = if targets.is_empty() {
            self.driver.targets_of(&order.family_id).await?
        } else {
            targets.to_vec()
        };
        if targets.is_empty() {
            let id = &order.family_id;
            return Err(DriverError::Invalid(format!("{id} is on no target yet; name one with --target")));
        }
        self.note(&order, "rollout.asked", vec![format!("on {}: {reason}", targets.join(", "))])
            .await
            .map_err(DriverError::from)?;
        let done = self.roll_out(&order, &targets).await.map_err(DriverError::from)?;
        let id = order.version.adapter_id.clone();
        if promote {
            self.promote(&order.version, &targets, (actor, reason)).await?;
        }
        let family = self.driver.records.family(&order.family_id).await?;
        Ok((id, done, family.and_then(|family| family.value.champion().map(str::to_owned))))
    }

    async fn promote(
        &self,
        version: &AdapterVersion,
        targets: &[String],
        by: (&str, &str),
    ) -> Result<(), DriverError> {
        loop {
            let mut change = Change::begin(&self.driver).await?;
            let (at, actor, targets) = (change.now_text(), by.0.to_owned(), targets.to_vec());
            let record = RolloutRecord { at, actor, replaced: None, targets };
            let family = change.family(&version.domain, version.method).await?;
            family.put_into_production(&version.adapter_id, record)?;
            audit(&mut change, "adapter.promoted", &version.adapter_id, by).await?;
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => {
                    self.moved.notify_waiters();
                    return done;
                }
            }
        }
    }
}

/// Whether a replica serves the adapter, as far as it tells that at once.
async fn serves(target: &OpenTarget, replica: &Replica, name: &str) -> WentReplica {
    let serves = match tokio::time::timeout(ASK_WITHIN, target.server.list(replica)).await {
        Ok(Ok(Some(listed))) if listed.iter().any(|adapter| adapter.name == name) => "yes",
        Ok(Ok(Some(_))) => "no",
        Ok(Ok(None) | Err(_)) | Err(_) => "unknown",
    };
    WentReplica { target: target.name.clone(), url: replica.url.clone(), serves }
}
