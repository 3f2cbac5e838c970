//! Aliases and deprecation: which names point at which version, moved by compare-and-swap.

use clara_lifecycle::adapter::{
    AdapterQuery, AdapterStatus, Alias, AliasMove, Deprecation, Expected, Family, RolloutRecord, StatusChange,
};
use semver::Version;

use super::{AdapterView, view_of};
use crate::{
    change::Change,
    driver::{Driver, DriverError, audit},
    records::is_conflict,
};

/// A wish to move an alias.
#[derive(Debug, Clone)]
pub(crate) struct AliasChange {
    pub(crate) family_id: String,
    pub(crate) alias: Alias,
    /// A version, an id or a query within the family; `None` takes the alias away.
    pub(crate) to: Option<String>,
    /// What it must point at now; a version is named as in `to`.
    pub(crate) expected: Expected,
    pub(crate) actor: String,
    pub(crate) reason: String,
}

/// A wish that a version be used no more.
#[derive(Debug, Clone)]
pub(crate) struct Deprecate {
    pub(crate) actor: String,
    pub(crate) reason: String,
    /// The version to use instead; takes over the aliases.
    pub(crate) successor: Option<String>,
    /// Whether the champion may be deprecated too.
    pub(crate) force: bool,
}

impl Driver {
    /// Moves an alias and answers the version it points at now, and what it pointed at before.
    pub(crate) async fn move_alias(
        &self,
        wish: &AliasChange,
    ) -> Result<(Option<AdapterView>, Option<String>), DriverError> {
        told(&wish.actor, &wish.reason)?;
        loop {
            let family = self.family_of(&wish.family_id).await?;
            let id = |text: &String| id_in(&family, text);
            let to = wish.to.as_ref().map(id).transpose()?;
            let expected = match &wish.expected {
                Expected::Version(named) => Expected::Version(id(named)?),
                Expected::Anything | Expected::Nothing => wish.expected.clone(),
            };
            let mut change = Change::begin(self).await?;
            let at = change.now_text();
            let now = change.family(&family.domain, family.method).await?;
            let moved = AliasMove { alias: &wish.alias, to: to.as_deref(), expected: &expected };
            let before = now.move_alias(moved)?;
            let view = to.as_deref().and_then(|id| now.version(id)).cloned();
            let view = view.map(|version| view_of(now, version));
            if before == to {
                return Ok((view, before));
            }
            let is_champion = wish.alias.as_str() == Alias::CHAMPION;
            if let Some(adapter_id) = to.as_ref().filter(|_| is_champion) {
                let (actor, replaced) = (wish.actor.clone(), before.clone());
                let rollout = RolloutRecord { at, actor, replaced, targets: Vec::new() };
                now.note(adapter_id, |version| version.rollouts.push(rollout))?;
            }
            note_move(&mut change, wish, to.as_deref(), before.as_deref()).await?;
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done.map(|()| (view, before)),
            }
        }
    }

    /// Deprecates an approved version; its aliases move to the successor.
    pub(crate) async fn deprecate(
        &self,
        adapter_id: &str,
        wish: &Deprecate,
    ) -> Result<AdapterView, DriverError> {
        told(&wish.actor, &wish.reason)?;
        let version = self.adapter(adapter_id).await?.version;
        let adapter_id = version.adapter_id.clone();
        loop {
            let mut change = Change::begin(self).await?;
            let at = change.now_text();
            let family = change.family(&version.domain, version.method).await?;
            let successor = wish.successor.as_ref().map(|text| id_in(family, text)).transpose()?;
            if successor.as_ref() == Some(&adapter_id) {
                return Err(DriverError::Invalid(format!("{adapter_id} cannot be its own successor")));
            }
            let is_champion = family.champion() == Some(adapter_id.as_str());
            if is_champion && (successor.is_none() || !wish.force) {
                return Err(DriverError::Invalid(format!(
                    "{adapter_id} is champion of {}; name an approved version that takes its place with --successor ID \
                     --force",
                    family.family_id
                )));
            }
            let moved: Vec<Alias> = family.aliases_of(&adapter_id).into_iter().cloned().collect();
            for alias in &moved {
                let (to, expected) = (successor.as_deref(), &Expected::Anything);
                family.move_alias(AliasMove { alias, to, expected })?;
            }
            let (actor, reason) = (wish.actor.as_str(), wish.reason.as_str());
            let status = StatusChange { to: AdapterStatus::Deprecated, actor, reason, at: &at };
            family.set_status(&adapter_id, status)?;
            let deprecation = Deprecation {
                at: at.clone(),
                actor: actor.to_owned(),
                reason: reason.to_owned(),
                successor: successor.clone(),
            };
            family.note(&adapter_id, |version| version.deprecation = Some(deprecation))?;
            if let Some(successor) = successor.as_ref().filter(|_| is_champion) {
                let (actor, replaced) = (actor.to_owned(), Some(adapter_id.clone()));
                let rollout = RolloutRecord { at, actor, replaced, targets: Vec::new() };
                family.note(successor, |version| version.rollouts.push(rollout))?;
            }
            let view = family.version(&adapter_id).cloned().map(|version| view_of(family, version));
            audit(&mut change, "adapter.deprecated", &adapter_id, (actor, reason)).await?;
            for alias in moved {
                let subject = successor.as_deref().unwrap_or(&adapter_id);
                let why = format!("{alias} leaves {adapter_id}, which is deprecated");
                audit(&mut change, action_of(&alias, successor.is_some()), subject, (actor, &why)).await?;
            }
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error),
                Ok(()) => match view {
                    Some(view) => return Ok(view),
                    None => return self.adapter(&adapter_id).await,
                },
            }
        }
    }

    async fn family_of(&self, family_id: &str) -> Result<Family, DriverError> {
        let unknown = || {
            DriverError::Invalid(format!("there is no family {family_id}; `clara registry list` shows all"))
        };
        Ok(self.records.family(family_id).await?.ok_or_else(unknown)?.value)
    }
}

fn told(actor: &str, reason: &str) -> Result<(), DriverError> {
    if actor.trim().is_empty() || reason.trim().is_empty() {
        let message = "this needs who decided (--actor) and why (--reason)".to_owned();
        return Err(DriverError::Invalid(message));
    }
    Ok(())
}

/// The id that a version number, an id or a query stands for in `family`.
fn id_in(family: &Family, text: &str) -> Result<String, DriverError> {
    if let Ok(version) = text.parse::<Version>() {
        return Ok(family.adapter_id(&version));
    }
    let query: AdapterQuery = text
        .parse()
        .map_err(|error: clara_lifecycle::adapter::InvalidQuery| DriverError::Invalid(error.to_string()))?;
    let found = family.find(&query).filter(|_| query.family_id() == family.family_id);
    let unknown =
        || DriverError::Invalid(format!("there is no adapter {text} in family {}", family.family_id));
    Ok(found.ok_or_else(unknown)?.adapter_id.clone())
}

fn action_of(alias: &Alias, points: bool) -> &'static str {
    match (alias.as_str(), points) {
        (Alias::CHAMPION, true) => "adapter.promoted",
        (_, true) => "alias.moved",
        (_, false) => "alias.removed",
    }
}

async fn note_move(
    change: &mut Change<'_>,
    wish: &AliasChange,
    to: Option<&str>,
    before: Option<&str>,
) -> Result<(), DriverError> {
    let Some(subject) = to.or(before) else { return Ok(()) };
    let from = before.unwrap_or("no version");
    let why = format!("{} of {} leaves {from}: {}", wish.alias, wish.family_id, wish.reason);
    audit(change, action_of(&wish.alias, to.is_some()), subject, (&wish.actor, &why)).await
}

#[cfg(test)]
mod tests;
