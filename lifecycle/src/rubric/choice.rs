//! Which rubric a job asks for: one that comes with Clara by its name, or an own one.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Language, Rubric};

/// A rubric as a job names it: `"de"`, `"en"`, or the whole of an own one.
///
/// In a specification file a text may also be the path of a JSON file; `clara` puts its content here before it
/// submits the job, so that no worker needs the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RubricChoice {
    /// One that comes with Clara.
    Named(String),
    /// An own one.
    Own(Box<Rubric>),
}

/// A text that names no rubric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no rubric; expected de, en, or in a specification file the path of a JSON file with a rubric"
)]
pub struct UnknownRubric {
    /// The text as given.
    pub found: String,
}

impl Default for RubricChoice {
    fn default() -> Self {
        Self::Named(Language::default().as_str().to_owned())
    }
}

impl RubricChoice {
    /// The rubric.
    ///
    /// # Errors
    /// [`UnknownRubric`] for a name that no rubric has.
    pub fn rubric(&self) -> Result<Rubric, UnknownRubric> {
        match self {
            Self::Own(rubric) => Ok(Rubric::clone(rubric)),
            Self::Named(name) => [Language::German, Language::English]
                .into_iter()
                .find(|language| language.as_str() == name)
                .map(Rubric::built_in)
                .ok_or_else(|| UnknownRubric { found: name.clone() }),
        }
    }
}

impl<'de> Deserialize<'de> for RubricChoice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NameOrRubric)
    }
}

/// Reads either form, so that a mistake in an own rubric is told as such.
struct NameOrRubric;

impl<'de> Visitor<'de> for NameOrRubric {
    type Value = RubricChoice;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a rubric, or a rubric")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<RubricChoice, E> {
        Ok(RubricChoice::Named(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RubricChoice, A::Error> {
        Rubric::deserialize(MapAccessDeserializer::new(map)).map(|rubric| RubricChoice::Own(Box::new(rubric)))
    }
}
