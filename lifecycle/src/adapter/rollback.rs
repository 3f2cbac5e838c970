//! Back to an earlier champion.

use serde::{Deserialize, Serialize};

use super::{AdapterStatus, Alias, FORMER_CHAMPIONS, Family, StatusError};

/// A champion that gave way to an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The champion before.
    pub from: String,
    /// The champion now.
    pub to: String,
}

/// Why a family cannot go back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// There is no champion to go back from.
    #[error("{family_id} has no champion; approve a version first")]
    NoChampion {
        /// The family.
        family_id: String,
    },
    /// No version was champion before the present one.
    #[error("{family_id} had no champion before {champion}; name a version with --to")]
    NoneBefore {
        /// The family.
        family_id: String,
        /// Its champion.
        champion: String,
    },
    /// The version asked for is the champion.
    #[error("{adapter_id} is the champion already")]
    AlreadyChampion {
        /// The version.
        adapter_id: String,
    },
    /// The version must not be used.
    #[error(transparent)]
    Status(#[from] StatusError),
}

impl Family {
    /// Makes `to`, or else the champion before the present one, the champion.
    ///
    /// Those that were champion after `to` are forgotten as former champions: going back twice goes back two steps, and
    /// not to and fro.
    ///
    /// # Errors
    /// [`RollbackError`] when there is nothing to go back to, or the version is not approved. Nothing is changed then.
    pub fn roll_back(&mut self, to: Option<&str>) -> Result<RolledBack, RollbackError> {
        let from = self
            .champion()
            .map(str::to_owned)
            .ok_or_else(|| RollbackError::NoChampion { family_id: self.family_id.clone() })?;
        let to = match to.or(self.former_champions.first().map(String::as_str)) {
            Some(to) => to.to_owned(),
            None => {
                return Err(RollbackError::NoneBefore { family_id: self.family_id.clone(), champion: from });
            }
        };
        if to == from {
            return Err(RollbackError::AlreadyChampion { adapter_id: to });
        }
        let status = self.version_mut(&to)?.status;
        if status != AdapterStatus::Approved {
            let wanted = AdapterStatus::Approved;
            return Err(StatusError::NotAllowed { adapter_id: to, from: status, to: wanted }.into());
        }
        if let Some(place) = self.former_champions.iter().position(|former| *former == to) {
            self.former_champions.drain(..=place);
        }
        self.aliases.insert(Alias::champion(), to.clone());
        Ok(RolledBack { from, to })
    }

    /// Keeps in mind that `before` was the champion until `now` became it.
    pub(super) fn remember_champion(&mut self, before: &str, now: &str) {
        self.former_champions.retain(|former| former != now && former != before);
        self.former_champions.insert(0, before.to_owned());
        self.former_champions.truncate(FORMER_CHAMPIONS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{adapter::AdapterVersion, spec::Method};

    /// A family whose approved versions became champion one after the other.
    fn family(champions: &[&str]) -> Family {
        let mut family = Family::new("law".parse().unwrap(), Method::Lora);
        for version in champions {
            let version: AdapterVersion = serde_json::from_value(serde_json::json!({
                "adapter_id": format!("law-lora-v{version}"), "version": version, "domain": "law", "method": "lora",
                "rank": 8, "base_model": "tiny", "base_model_hash": "", "adapter_path": "", "adapter_checksum": "",
                "created_at": "", "status": "approved",
            }))
            .unwrap();
            let id = version.adapter_id.clone();
            family.versions.insert(0, version);
            family.promote(&id).unwrap();
        }
        family
    }

    #[test]
    fn going_back_twice_goes_back_two_steps() {
        let mut family = family(&["1.0.0", "1.0.1", "1.0.2"]);
        let back = family.roll_back(None).unwrap();
        assert_eq!((back.from.as_str(), back.to.as_str()), ("law-lora-v1.0.2", "law-lora-v1.0.1"));
        assert_eq!(family.roll_back(None).unwrap().to, "law-lora-v1.0.0");
        assert_eq!(family.champion(), Some("law-lora-v1.0.0"));
        assert!(matches!(family.roll_back(None), Err(RollbackError::NoneBefore { .. })));
    }

    #[test]
    fn a_named_version_skips_those_between() {
        let mut family = family(&["1.0.0", "1.0.1", "1.0.2"]);
        assert_eq!(family.roll_back(Some("law-lora-v1.0.0")).unwrap().to, "law-lora-v1.0.0");
        assert!(family.former_champions.is_empty());
    }

    #[test]
    fn a_version_that_must_not_be_used_is_refused_and_nothing_changes() {
        let mut family = family(&["1.0.0", "1.0.1"]);
        family.version_mut("law-lora-v1.0.0").unwrap().status = AdapterStatus::Deprecated;
        let before = family.clone();
        let refused = family.roll_back(None).unwrap_err();
        assert_eq!(refused.to_string(), "law-lora-v1.0.0 is deprecated and cannot become approved");
        assert_eq!(family, before);
    }

    #[test]
    fn a_version_that_becomes_champion_again_stands_among_the_former_ones_once() {
        let mut family = family(&["1.0.0", "1.0.1"]);
        family.promote("law-lora-v1.0.0").unwrap();
        assert_eq!(family.former_champions, ["law-lora-v1.0.1"]);
    }
}
