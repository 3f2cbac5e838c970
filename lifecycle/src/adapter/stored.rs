//! Families as records and files hold them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AdapterVersion, Alias, Family};
use crate::{id::Domain, spec::Method};

/// A family in records and files: the champion has a field of its own there, which older programs read.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredFamily {
    family_id: String,
    domain: Domain,
    method: Method,
    versions: Vec<AdapterVersion>,
    #[serde(default)]
    champion: Option<String>,
    #[serde(default)]
    aliases: BTreeMap<Alias, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_champions: Vec<String>,
}

impl From<StoredFamily> for Family {
    fn from(stored: StoredFamily) -> Self {
        let StoredFamily { family_id, domain, method, versions, champion, mut aliases, former_champions } =
            stored;
        if let Some(champion) = champion {
            aliases.insert(Alias::champion(), champion);
        }
        Self { family_id, domain, method, versions, aliases, former_champions }
    }
}

impl From<Family> for StoredFamily {
    fn from(family: Family) -> Self {
        let champion = family.champion().map(str::to_owned);
        let Family { family_id, domain, method, versions, aliases, former_champions } = family;
        Self { family_id, domain, method, versions, champion, aliases, former_champions }
    }
}
