//! Names that point at versions: aliases such as `champion`, and queries such as `FAMILY@^1`.

use std::{fmt, str::FromStr};

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use super::{AdapterStatus, AdapterVersion, Family};

/// A name that points at one version of a family and can be moved to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Alias(String);

/// A text that is no alias.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no alias; expected 1 to 40 lower-case letters, digits and hyphens that begin with a letter, and no \
     version such as `v1`"
)]
pub struct InvalidAlias {
    /// The text as given.
    pub found: String,
}

impl Alias {
    /// The name of the version in production.
    pub const CHAMPION: &'static str = "champion";

    /// The alias of the version in production.
    pub fn champion() -> Self {
        Self(Self::CHAMPION.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Alias {
    type Err = InvalidAlias;

    fn from_str(text: &str) -> Result<Self, InvalidAlias> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let names_a_version =
            text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let is_alias = (1..=40).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(allowed)
            && !names_a_version
            && text != "x";
        if is_alias { Ok(Self(text.to_owned())) } else { Err(InvalidAlias { found: text.to_owned() }) }
    }
}

impl TryFrom<String> for Alias {
    type Error = InvalidAlias;

    fn try_from(text: String) -> Result<Self, InvalidAlias> {
        text.parse()
    }
}

impl From<Alias> for String {
    fn from(alias: Alias) -> Self {
        alias.0
    }
}

/// How a user names a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterQuery {
    /// `verwaltungsrecht-lora-v1.0.0`: by its id.
    Id {
        /// The family.
        family_id: String,
        /// The whole id.
        adapter_id: String,
    },
    /// `verwaltungsrecht-lora@champion`: the version that the alias points at.
    Alias {
        /// The family.
        family_id: String,
        /// The alias.
        alias: Alias,
    },
    /// `verwaltungsrecht-lora@^1.2`: the newest version in the range that may be used.
    Range {
        /// The family.
        family_id: String,
        /// The range.
        range: VersionReq,
    },
}

/// A text that names no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` names no version; expected an id such as law-lora-v1.0.0, FAMILY@ALIAS or FAMILY@RANGE such as law-lora@^1.2"
)]
pub struct InvalidQuery {
    /// The text as given.
    pub found: String,
}

impl FromStr for AdapterQuery {
    type Err = InvalidQuery;

    fn from_str(text: &str) -> Result<Self, InvalidQuery> {
        let invalid = || InvalidQuery { found: text.to_owned() };
        let Some((family_id, rest)) = text.rsplit_once('@') else {
            let family_id = Family::id_of(text).ok_or_else(invalid)?.to_owned();
            return Ok(Self::Id { family_id, adapter_id: text.to_owned() });
        };
        if family_id.is_empty() {
            return Err(invalid());
        }
        let family_id = family_id.to_owned();
        match rest.parse() {
            Ok(alias) => Ok(Self::Alias { family_id, alias }),
            Err(_) => Ok(Self::Range { family_id, range: rest.parse().map_err(|_| invalid())? }),
        }
    }
}

impl AdapterQuery {
    /// The family that it asks in.
    pub fn family_id(&self) -> &str {
        match self {
            Self::Id { family_id, .. } | Self::Alias { family_id, .. } | Self::Range { family_id, .. } => {
                family_id
            }
        }
    }
}

/// What an alias must point at before it is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is.
    Anything,
    /// No version.
    Nothing,
    /// This version.
    Version(String),
}

/// A move of an alias, from what somebody saw to what they want.
#[derive(Debug, Clone, Copy)]
pub struct AliasMove<'a> {
    /// The alias.
    pub alias: &'a Alias,
    /// The version that it shall point at; `None` takes it away.
    pub to: Option<&'a str>,
    /// What it must point at now.
    pub expected: &'a Expected,
}

/// Why an alias cannot be moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// There is no such version.
    #[error(
        "there is no adapter version {adapter_id} in family {family_id}; `clara registry list` shows all"
    )]
    Unknown {
        /// The version.
        adapter_id: String,
        /// The family.
        family_id: String,
    },
    /// Somebody else moved it.
    #[error("{alias} of {family_id} points at {found}, not at {expected}; look again and repeat")]
    Moved {
        /// The alias.
        alias: Alias,
        /// The family.
        family_id: String,
        /// What it points at.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The champion must be approved.
    #[error("{adapter_id} is {status} and cannot become champion; approve it first")]
    NotApproved {
        /// The version.
        adapter_id: String,
        /// Its status.
        status: AdapterStatus,
    },
    /// Its files are gone.
    #[error("the files of {adapter_id} were removed by `clara registry gc`; train it again")]
    FilesRemoved {
        /// The version.
        adapter_id: String,
    },
}

impl Family {
    /// The version that an alias points at.
    pub fn alias(&self, alias: &str) -> Option<&AdapterVersion> {
        let (_, adapter_id) = self.aliases.iter().find(|(name, _)| name.as_str() == alias)?;
        self.version(adapter_id)
    }

    /// The id of the version in production.
    pub fn champion(&self) -> Option<&str> {
        self.aliases.get(&Alias::champion()).map(String::as_str)
    }

    /// The version in production.
    pub fn champion_version(&self) -> Option<&AdapterVersion> {
        self.champion().and_then(|id| self.version(id))
    }

    /// The aliases that point at a version, in order of their names.
    pub fn aliases_of(&self, adapter_id: &str) -> Vec<&Alias> {
        self.aliases.iter().filter(|(_, id)| *id == adapter_id).map(|(alias, _)| alias).collect()
    }

    /// Moves an alias if it points at what was expected; answers what it pointed at before.
    ///
    /// # Errors
    /// [`AliasError`]; nothing is changed then.
    pub fn move_alias(&mut self, moved: AliasMove<'_>) -> Result<Option<String>, AliasError> {
        let AliasMove { alias, to, expected } = moved;
        let found = self.aliases.get(alias).map(String::as_str);
        let expected = match expected {
            Expected::Anything => found,
            Expected::Nothing => None,
            Expected::Version(adapter_id) => Some(adapter_id.as_str()),
        };
        if expected != found {
            let told = |id: Option<&str>| id.unwrap_or("no version").to_owned();
            let (alias, family_id) = (alias.clone(), self.family_id.clone());
            return Err(AliasError::Moved { alias, family_id, found: told(found), expected: told(expected) });
        }
        let Some(adapter_id) = to else { return Ok(self.aliases.remove(alias)) };
        let unknown =
            || AliasError::Unknown { adapter_id: adapter_id.to_owned(), family_id: self.family_id.clone() };
        let version = self.version(adapter_id).ok_or_else(unknown)?;
        let adapter_id = adapter_id.to_owned();
        if alias.as_str() == Alias::CHAMPION && version.status != AdapterStatus::Approved {
            return Err(AliasError::NotApproved { adapter_id, status: version.status });
        }
        if version.files_removed_at.is_some() {
            return Err(AliasError::FilesRemoved { adapter_id });
        }
        let before = self.aliases.insert(alias.clone(), adapter_id.clone());
        if let Some(before) =
            before.as_ref().filter(|before| alias.as_str() == Alias::CHAMPION && **before != adapter_id)
        {
            self.remember_champion(before, &adapter_id);
        }
        Ok(before)
    }

    /// The version that a query asks for; of a range the newest that is neither rejected nor deprecated.
    pub fn find(&self, query: &AdapterQuery) -> Option<&AdapterVersion> {
        match query {
            AdapterQuery::Id { adapter_id, .. } => self.version(adapter_id),
            AdapterQuery::Alias { alias, .. } => self.alias(alias.as_str()),
            AdapterQuery::Range { range, .. } => {
                let usable = |version: &&AdapterVersion| match version.status {
                    AdapterStatus::PendingReview | AdapterStatus::InReview | AdapterStatus::Approved => true,
                    AdapterStatus::Rejected | AdapterStatus::Deprecated => false,
                };
                let found = self.versions.iter().filter(|version| range.matches(&version.version));
                found.filter(usable).max_by(|a, b| a.version.cmp(&b.version))
            }
        }
    }

    /// The id of a version of this family.
    pub fn adapter_id(&self, version: &Version) -> String {
        format!("{}-v{version}", self.family_id)
    }
}
