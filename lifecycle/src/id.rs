//! Names of things: jobs, workers, domains, golden datasets, attempts and fences.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name that breaks the rules for its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a valid {kind}: expected {expected}")]
pub struct InvalidName {
    /// What the name should have named.
    pub kind: &'static str,
    /// The text as given.
    pub found: String,
    /// The rule.
    pub expected: &'static str,
}

const SLUG_RULE: &str =
    "1 to 100 characters from a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit";

fn is_slug(text: &str) -> bool {
    let first_is_alphanumeric = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    text.len() <= 100 && first_is_alphanumeric && text.chars().all(allowed)
}

macro_rules! slug {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                if is_slug(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName { kind: $kind, found: text, expected: SLUG_RULE })
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

slug!(
    /// Names one job, e.g. `job-0198c1…`.
    JobId,
    "job id"
);
slug!(
    /// Names one start of one worker process; fresh per start, so that a name never outlives its process.
    WorkerId,
    "worker id"
);
slug!(
    /// A field of knowledge that adapters are trained for, e.g. `verwaltungsrecht`.
    Domain,
    "domain"
);
slug!(
    /// Names a resource class, e.g. `gpu80`.
    ClassName,
    "resource class"
);

slug!(
    /// Names a rollout target of the coordinators' settings, e.g. `production`.
    TargetName,
    "rollout target"
);

impl Default for ClassName {
    /// The class that every worker serves.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

slug!(
    /// Names a golden dataset across its versions, e.g. `verwaltungsrecht-golden-v1`.
    GoldenDatasetId,
    "golden dataset id"
);

/// A golden dataset, optionally pinned to one version: `id` or `id@1.0.0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GoldenReference {
    /// The golden dataset.
    pub id: GoldenDatasetId,
    /// The pinned version; without it the newest frozen version is meant.
    pub version: Option<semver::Version>,
}

impl fmt::Display for GoldenReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(formatter, "{}@{version}", self.id),
            None => write!(formatter, "{}", self.id),
        }
    }
}

impl FromStr for GoldenReference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let Some((id, version)) = text.split_once('@') else {
            return Ok(Self { id: text.parse()?, version: None });
        };
        let version = version.parse().map_err(|_| InvalidName {
            kind: "golden dataset version",
            found: version.to_owned(),
            expected: "a semantic version such as 1.0.0",
        })?;
        Ok(Self { id: id.parse()?, version: Some(version) })
    }
}

impl TryFrom<String> for GoldenReference {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<GoldenReference> for String {
    fn from(reference: GoldenReference) -> Self {
        reference.to_string()
    }
}

/// One try of one stage, numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The first try.
    pub const FIRST: Self = Self(1);

    /// The try after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A number that grows with every claim of a job; an effect with an older fence is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl Fence {
    /// The fence of the next claim.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}
