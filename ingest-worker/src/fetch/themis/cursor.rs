//! Where a pass over a ThemisDB stands: enough to go on in another process.

use std::{collections::HashSet, fmt::Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// Where a pass stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Place on the route.
    pub(super) at: At,
    /// The changefeed's latest sequence when the pass began.
    pub(super) sequence: Option<u64>,
    /// Documents of the job's domain that are still wanted; `None` for all.
    pub(super) left: Option<u64>,
}

/// Place on a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum At {
    /// Behind so many of the keys that were listed, best first; `gone` of those before were deleted meanwhile.
    Keys { read: usize, gone: u64 },
    /// Behind the key `last`, in the order of the keys; `token` is the server's own mark of the same place.
    Rows { last: Option<Value>, token: Option<String> },
    /// The lines of the export that were read.
    Export { seen: Seen },
    /// Nothing is left.
    End,
}

/// Hashes of lines; one text on the wire, 16 hexadecimal digits each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen(HashSet<u64>);

impl Cursor {
    /// Reads what [`Cursor::value`] wrote; `keys` are those that it counts in.
    ///
    /// # Errors
    /// What is wrong and what to do.
    pub(super) fn read(value: Value, keys: &[String]) -> Result<Self, String> {
        let cursor: Self = serde_json::from_value(value).map_err(|error| {
            format!("the checkpoint was written by another version of Clara ({error}); submit the job anew")
        })?;
        match cursor.at {
            At::Keys { read, .. } if read >= keys.len() => Err(format!(
                "the checkpoint stands behind {read} of {} keys, expected fewer than all; submit the job anew",
                keys.len()
            )),
            At::Keys { .. } | At::Rows { .. } | At::Export { .. } | At::End => Ok(cursor),
        }
    }

    /// As JSON.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn value(&self) -> Result<Value, String> {
        serde_json::to_value(self)
            .map_err(|error| format!("no checkpoint can be made: {error}; this is a fault in Clara"))
    }
}

impl At {
    /// Before the first of these keys.
    pub(super) fn keys(keys: &[String]) -> Self {
        if keys.is_empty() { Self::End } else { Self::Keys { read: 0, gone: 0 } }
    }

    /// Before the first row.
    pub(super) fn rows() -> Self {
        Self::Rows { last: None, token: None }
    }

    /// Before the first line.
    pub(super) fn export() -> Self {
        Self::Export { seen: Seen::default() }
    }
}

impl Seen {
    /// Whether a line with this hash was read.
    pub(super) fn contains(&self, hash: u64) -> bool {
        self.0.contains(&hash)
    }

    /// Adds the hashes of lines.
    pub(super) fn extend(&mut self, hashes: impl Iterator<Item = u64>) {
        self.0.extend(hashes);
    }
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut hashes: Vec<u64> = self.0.iter().copied().collect();
        hashes.sort_unstable();
        let text = hashes.iter().fold(String::with_capacity(hashes.len() * 16), |mut text, hash| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{hash:016x}");
            text
        });
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hash = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 16)?;
            u64::from_str_radix(digits, 16).ok()
        };
        let hashes: Option<HashSet<u64>> = text.as_bytes().chunks(16).map(hash).collect();
        hashes.map(Self).ok_or_else(|| de::Error::custom("expected hashes of 16 hexadecimal digits"))
    }
}
