//! What rollout targets serve, beside what they should.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::adapter::{AdapterVersion, Family};

/// How many digits of a version's digest its served name ends with.
const NAME_DIGITS: usize = 8;

/// The name under which a version is served: no other version and no other bytes ever have it.
pub fn served_name(version: &AdapterVersion) -> String {
    let digest = &version.adapter_checksum;
    format!("{}-{}", version.adapter_id, digest.get(..NAME_DIGITS).unwrap_or(digest))
}

/// A family on a target: its champion shall be served there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The target.
    pub target: String,
    /// The family.
    pub family_id: String,
    /// Versions that are being rolled out, or wait there to become champion.
    #[serde(default)]
    pub in_rollout: BTreeSet<String>,
    /// The champion that the target was told of last, where it must be told.
    #[serde(default)]
    pub told: Option<String>,
    /// How many champions it was told of.
    #[serde(default)]
    pub times_told: u64,
}

impl Deployment {
    /// A family that is new on a target.
    pub fn new(target: &str, family_id: &str) -> Self {
        Self {
            target: target.to_owned(),
            family_id: family_id.to_owned(),
            in_rollout: BTreeSet::new(),
            told: None,
            times_told: 0,
        }
    }
}

/// What one replica answered when it was asked what it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its URL.
    pub url: String,
    /// Its adapters, or why it told none; absent where its kind cannot tell.
    pub adapters: Option<Result<Vec<ListedAdapter>, String>>,
}

/// An adapter as a replica lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAdapter {
    /// The name that requests choose it by.
    pub name: String,
    /// Where it was loaded from, where that is told.
    pub path: Option<String>,
}

/// A target, as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedTarget {
    /// Its name in the settings.
    pub target: String,
    /// Its kind, e.g. `vllm`.
    pub kind: String,
    /// When it was looked at, RFC 3339.
    pub looked_at: String,
    /// The families that are served there.
    pub families: Vec<ServedFamily>,
    /// Its replicas.
    pub replicas: Vec<ServedReplica>,
}

/// A family on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedFamily {
    /// The family.
    pub family_id: String,
    /// Its champion.
    pub champion: Option<String>,
    /// The name under which the champion shall be served.
    pub name: Option<String>,
    /// Versions that are being rolled out.
    pub in_rollout: Vec<String>,
}

/// What one replica serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedReplica {
    /// Its URL.
    pub url: String,
    /// Why it could not be asked.
    pub error: Option<String>,
    /// Its adapters.
    pub adapters: Vec<ServedAdapter>,
    /// In what it differs from what the registry says; empty when it does not.
    pub drift: Vec<String>,
}

/// An adapter that a replica serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedAdapter {
    /// Its name there.
    pub name: String,
    /// The version that has this name, if any has.
    pub adapter_id: Option<String>,
    /// Why it is there.
    pub role: ServedRole,
}

/// Why an adapter is on a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServedRole {
    /// It is in production.
    Champion,
    /// It was before, and is kept for a rollback.
    Previous,
    /// It is being rolled out.
    Rollout,
    /// Nothing needs it any more.
    Retired,
    /// The registry knows no version of this name.
    Foreign,
}

impl ServedRole {
    /// The name in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "champion",
            Self::Previous => "previous",
            Self::Rollout => "rollout",
            Self::Retired => "retired",
            Self::Foreign => "foreign",
        }
    }
}

/// The versions of a family that must stay loaded: the champion, the `keep` before it, and those in rollout.
pub fn is_needed(family: &Family, deployment: Option<&Deployment>, keep: usize, adapter_id: &str) -> bool {
    role(family, deployment, keep, adapter_id) != ServedRole::Retired
}

fn role(family: &Family, deployment: Option<&Deployment>, keep: usize, adapter_id: &str) -> ServedRole {
    if family.champion() == Some(adapter_id) {
        ServedRole::Champion
    } else if deployment.is_some_and(|deployment| deployment.in_rollout.contains(adapter_id)) {
        ServedRole::Rollout
    } else if family.former_champions.iter().take(keep).any(|former| former == adapter_id) {
        ServedRole::Previous
    } else {
        ServedRole::Retired
    }
}

/// A target as it is seen: its name and kind, when, and how many former champions stay loaded.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The target.
    pub target: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// RFC 3339.
    pub looked_at: &'a str,
    /// Former champions that stay loaded.
    pub keep_previous: usize,
}

impl ServedTarget {
    /// Holds what replicas list against what the registry says.
    pub fn of(
        sight: Sight<'_>,
        families: &[Family],
        deployments: &[Deployment],
        listings: &[Listing],
    ) -> Self {
        let here: Vec<(&Deployment, &Family)> = deployments
            .iter()
            .filter_map(|deployment| {
                let family = families.iter().find(|family| family.family_id == deployment.family_id)?;
                Some((deployment, family))
            })
            .collect();
        let served_family = |(deployment, family): &(&Deployment, &Family)| ServedFamily {
            family_id: family.family_id.clone(),
            champion: family.champion().map(str::to_owned),
            name: family.champion_version().map(served_name),
            in_rollout: deployment.in_rollout.iter().cloned().collect(),
        };
        let told = |(deployment, family): &(&Deployment, &Family)| {
            let champion =
                family.champion().filter(|champion| deployment.told.as_deref() != Some(*champion))?;
            Some(format!("was not told yet that {champion} is the champion of {}", family.family_id))
        };
        let replica = |listing: &Listing| match &listing.adapters {
            None => ServedReplica {
                url: listing.url.clone(),
                error: None,
                adapters: Vec::new(),
                drift: here.iter().filter_map(told).collect(),
            },
            Some(Err(error)) => ServedReplica {
                url: listing.url.clone(),
                error: Some(error.clone()),
                adapters: Vec::new(),
                drift: Vec::new(),
            },
            Some(Ok(listed)) => ServedReplica {
                url: listing.url.clone(),
                error: None,
                adapters: listed
                    .iter()
                    .map(|adapter| seen(adapter, families, deployments, sight.keep_previous))
                    .collect(),
                drift: here.iter().filter_map(|(_, family)| drift(family, listed)).collect(),
            },
        };
        Self {
            target: sight.target.to_owned(),
            kind: sight.kind.to_owned(),
            looked_at: sight.looked_at.to_owned(),
            families: here.iter().map(served_family).collect(),
            replicas: listings.iter().map(replica).collect(),
        }
    }

    /// Replicas that differ from what the registry says.
    pub fn drifted(&self) -> usize {
        self.replicas.iter().filter(|replica| !replica.drift.is_empty()).count()
    }

    /// Replicas that could not be asked.
    pub fn unreachable(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.error.is_some()).count()
    }
}

fn seen(
    adapter: &ListedAdapter,
    families: &[Family],
    deployments: &[Deployment],
    keep: usize,
) -> ServedAdapter {
    let known = families.iter().find_map(|family| {
        let version = family.versions.iter().find(|version| served_name(version) == adapter.name)?;
        let deployment = deployments.iter().find(|deployment| deployment.family_id == family.family_id);
        Some((version.adapter_id.clone(), role(family, deployment, keep, &version.adapter_id)))
    });
    let (adapter_id, role) = match known {
        Some((adapter_id, role)) => (Some(adapter_id), role),
        None => (None, ServedRole::Foreign),
    };
    ServedAdapter { name: adapter.name.clone(), adapter_id, role }
}

/// In what a replica differs from what it should serve of a family.
fn drift(family: &Family, listed: &[ListedAdapter]) -> Option<String> {
    let name = served_name(family.champion_version()?);
    let Some(found) = listed.iter().find(|adapter| adapter.name == name) else {
        let others: Vec<&str> = listed
            .iter()
            .map(|adapter| adapter.name.as_str())
            .filter(|other| family.versions.iter().any(|version| served_name(version) == *other))
            .collect();
        let others = if others.is_empty() { "no version of it".to_owned() } else { others.join(", ") };
        return Some(format!(
            "does not serve {name}, the champion of {}; it serves {others}",
            family.family_id
        ));
    };
    // A folder of another name holds other bytes than the name says.
    let path = found.path.as_deref().filter(|path| !path.contains(&name))?;
    Some(format!("serves {name} from {path}, which is not the folder of that version"))
}
