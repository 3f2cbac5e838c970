//! Values with units as people write them, `30s` and `4GiB`, and secrets that no output shows.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

/// A text that is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a {what}; expected {expected}")]
pub struct InvalidUnit {
    /// What it should be.
    pub what: &'static str,
    /// The text as given.
    pub found: String,
    /// Examples.
    pub expected: &'static str,
}

/// A duration, written `500ms`, `30s`, `10min`, `2h` or `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HumanDuration(pub Duration);

/// A number of bytes, written `512`, `64KiB`, `8MiB`, `4GiB` or `1TiB`; `kB`, `MB`, `GB`, `TB` count in thousands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// A text that is never shown: printed, logged and serialised it is a mask.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl Secret {
    /// What is shown instead.
    pub const MASK: &str = "********";

    /// Keeps `text` secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for those who must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(Self::MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::MASK)
    }
}

impl FromStr for HumanDuration {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let milliseconds = scaled(text, &DURATION_UNITS).ok_or_else(|| InvalidUnit {
            what: "duration",
            found: text.to_owned(),
            expected: "a whole number with a unit: 500ms, 30s, 10min, 2h, 1d",
        })?;
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

impl FromStr for ByteSize {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        scaled(text, &SIZE_UNITS).map(Self).ok_or_else(|| InvalidUnit {
            what: "size",
            found: text.to_owned(),
            expected: "a whole number of bytes or with a unit: 512, 64KiB, 8MiB, 4GiB",
        })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (number, unit) = shortest(milliseconds, "ms", DURATION_UNITS.iter().rev());
        write!(formatter, "{number}{unit}")
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = shortest(self.0, "B", SIZE_UNITS.iter().take(6).rev());
        write!(formatter, "{number}{unit}")
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = InvalidUnit;

            fn try_from(text: String) -> Result<Self, InvalidUnit> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}
as_text!(HumanDuration);
as_text!(ByteSize);

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The largest unit that gives a whole number.
fn shortest<'a>(
    value: u64,
    smallest: &'a str,
    mut units: impl Iterator<Item = &'a (&'a str, u64)>,
) -> (u64, &'a str) {
    units
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .map_or((value, smallest), |(unit, factor)| (value / factor, *unit))
}
