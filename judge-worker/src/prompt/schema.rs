//! The JSON schema of a reply, for endpoints that can hold a model to one.

use clara_lifecycle::score::Criterion;
use serde::{Serialize, Serializer, ser::SerializeMap};

/// A JSON schema. Properties keep their order on the wire: it is the order in which a model writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Schema {
    /// A whole number from 0 to 10.
    Mark,
    /// A text.
    Text,
    /// An object that has exactly these properties.
    Object(Vec<(&'static str, Schema)>),
}

/// The schema: with `reasoning` reasons first, then the scores, then one sentence on the whole.
pub(crate) fn reply_schema(reasoning: bool) -> Schema {
    let scores = ("scores", each_criterion(&Schema::Mark));
    if reasoning {
        let reasons = ("reasoning", each_criterion(&Schema::Text));
        Schema::Object(vec![reasons, scores, ("overall_assessment", Schema::Text)])
    } else {
        Schema::Object(vec![scores])
    }
}

fn each_criterion(value: &Schema) -> Schema {
    Schema::Object(Criterion::ALL.map(|criterion| (criterion.as_str(), value.clone())).into())
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Mark => {
                map.serialize_entry("type", "integer")?;
                map.serialize_entry("minimum", &0)?;
                map.serialize_entry("maximum", &10)?;
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
