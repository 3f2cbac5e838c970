//! What is kept about targets: which families they serve, and what was seen there last.

use clara_lifecycle::served::{Deployment, ServedTarget};
use clara_runtime::state::RecordKey;

use super::{Order, Rollouts, error::RolloutError, target::OpenTarget};
use crate::{
    change::Change,
    driver::{Driver, DriverError},
    records::{Stored, is_conflict},
};

const DEPLOYMENT: &str = "deployment";
const SERVED: &str = "served";

fn deployment_key(target: &str, family_id: &str) -> RecordKey {
    RecordKey::new(DEPLOYMENT, format!("{target}/{family_id}"))
}

impl Rollouts {
    /// Keeps a version on a target from being unloaded while it is rolled out, or ends that.
    pub(super) async fn hold(
        &self,
        target: &OpenTarget,
        order: &Order,
        holds: bool,
    ) -> Result<Deployment, RolloutError> {
        let adapter_id = &order.version.adapter_id;
        let changed = self.driver.change_deployment(&target.name, &order.family_id, |deployment| {
            if holds {
                deployment.in_rollout.insert(adapter_id.clone());
            } else {
                deployment.in_rollout.remove(adapter_id);
            }
        });
        Ok(changed.await?)
    }
}

impl Driver {
    /// The families of a target.
    pub(super) async fn deployments(&self, target: &str) -> Result<Vec<Deployment>, DriverError> {
        let all: Vec<Deployment> = self.records.all(DEPLOYMENT).await?;
        Ok(all.into_iter().filter(|deployment| deployment.target == target).collect())
    }

    /// The targets that serve a family.
    pub(super) async fn targets_of(&self, family_id: &str) -> Result<Vec<String>, DriverError> {
        let all: Vec<Deployment> = self.records.all(DEPLOYMENT).await?;
        let of_family = all.into_iter().filter(|deployment| deployment.family_id == family_id);
        Ok(of_family.map(|deployment| deployment.target).collect())
    }

    /// Changes what is kept about a family on a target; a change that changes nothing is not written.
    pub(super) async fn change_deployment(
        &self,
        target: &str,
        family_id: &str,
        change: impl Fn(&mut Deployment),
    ) -> Result<Deployment, DriverError> {
        let key = deployment_key(target, family_id);
        loop {
            let stored = self.records.load::<Deployment>(&key).await?;
            let version = stored.as_ref().and_then(|stored| stored.version);
            let before = stored.map(|stored| stored.value);
            let mut value = before.clone().unwrap_or_else(|| Deployment::new(target, family_id));
            change(&mut value);
            if before.as_ref() == Some(&value) {
                return Ok(value);
            }
            let mut commit = Change::begin(self).await?;
            commit.write(key.clone(), &Stored { version, value: &value })?;
            match commit.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done.map(|()| value),
            }
        }
    }

    /// What every target of the settings was seen to serve last; those that nobody looked at yet are left out.
    ///
    /// # Errors
    /// When the state store fails.
    pub async fn served(&self) -> Result<Vec<ServedTarget>, DriverError> {
        let mut seen = Vec::new();
        for target in self.targets.all() {
            let key = RecordKey::new(SERVED, target.name.as_str());
            seen.extend(self.records.load::<ServedTarget>(&key).await?.map(|stored| stored.value));
        }
        Ok(seen)
    }

    /// Keeps what was seen; another coordinator that saw it at the same moment is as good.
    pub(crate) async fn keep_seen(&self, seen: &ServedTarget) -> Result<(), DriverError> {
        let key = RecordKey::new(SERVED, seen.target.as_str());
        let stored = self.records.load::<ServedTarget>(&key).await?;
        let version = stored.and_then(|stored| stored.version);
        let mut commit = Change::begin(self).await?;
        commit.write(key, &Stored { version, value: seen })?;
        match commit.commit().await {
            Err(error) if is_conflict(&error) => Ok(()),
            done => done,
        }
    }
}
