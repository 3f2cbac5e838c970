//! The JSON schema of a reply, for endpoints that can hold a model to one.

use clara_lifecycle::{rubric::TOP_ANCHOR, score::Criterion};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::Reasons;

/// What a judge may prefer, as it stands in a reply.
pub(crate) const PREFERENCES: [&str; 3] = ["A", "B", "tie"];

/// A JSON schema. Properties keep their order on the wire: it is the order in which a model writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Schema {
    /// A whole number from 0 to 5.
    Mark,
    /// One of the preferences.
    Preference,
    /// A text.
    Text,
    /// An object that has exactly these properties.
    Object(Vec<(&'static str, Schema)>),
}

/// The schema of scores for `criteria`, with reasons before or after them.
pub(super) fn of_scores(criteria: &[Criterion], reasons: Reasons) -> Schema {
    let each = |value: &Schema| {
        Schema::Object(criteria.iter().map(|criterion| (criterion.as_str(), value.clone())).collect())
    };
    let (scores, reasoning) = (("scores", each(&Schema::Mark)), ("reasoning", each(&Schema::Text)));
    Schema::Object(match reasons {
        Reasons::None => vec![scores],
        Reasons::Before => vec![reasoning, scores],
        Reasons::After => vec![scores, reasoning],
    })
}

/// The schema of a preference; a reason stands before it.
pub(super) fn of_preference(reasons: Reasons) -> Schema {
    let better = ("better", Schema::Preference);
    Schema::Object(match reasons {
        Reasons::None => vec![better],
        Reasons::Before | Reasons::After => vec![("reasoning", Schema::Text), better],
    })
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Mark => {
                map.serialize_entry("type", "integer")?;
                map.serialize_entry("enum", &(0..=TOP_ANCHOR).collect::<Vec<_>>())?;
            }
            Self::Preference => {
                map.serialize_entry("type", "string")?;
                map.serialize_entry("enum", &PREFERENCES)?;
            }
            Self::Text => map.serialize_entry("type", "string")?,
            Self::Object(properties) => {
                let required: Vec<_> = properties.iter().map(|(name, _)| name).collect();
                map.serialize_entry("type", "object")?;
                map.serialize_entry("properties", &Properties(properties))?;
                map.serialize_entry("required", &required)?;
                map.serialize_entry("additionalProperties", &false)?;
            }
        }
        map.end()
    }
}

struct Properties<'a>(&'a [(&'static str, Schema)]);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, schema)| (name, schema)))
    }
}
