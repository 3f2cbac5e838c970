//! Reads a JSON schema and lays it out as a row of fixed texts and free values.

use super::{DEFAULT_MAX_LENGTH, OrderedJson};

/// Deepest nesting of objects.
const MAX_DEPTH: u32 = 16;
/// Largest absolute integer: three digits.
const MAX_INTEGER: i64 = 999;
/// Keywords that say nothing about the value.
const ANNOTATIONS: [&str; 6] = ["title", "description", "$schema", "$id", "$comment", "examples"];

/// A piece of the generated text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Fixed text.
    Literal(Vec<u8>),
    /// One of several texts, sorted, without duplicates, none empty.
    Choice(Vec<Vec<u8>>),
    /// The inside of a string, closing quote included.
    Text {
        /// Longest value in characters.
        max_chars: u32,
    },
}

/// A schema that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the JSON schema cannot be followed: {reason} at {path}; supported are objects with properties, integers with minimum and maximum, enums, booleans and strings with maxLength"
)]
pub struct SchemaError {
    /// Where in the schema, e.g. `$.scores.accuracy`.
    pub path: String,
    /// The keyword or value that is not supported.
    pub reason: String,
}

/// Lays out a schema whose root is an object.
pub(super) fn segments(schema: &OrderedJson) -> Result<Vec<Segment>, SchemaError> {
    let mut layout = Layout { segments: Vec::new(), path: vec!["$".to_owned()] };
    let members = layout.members(schema)?;
    if text(members, "type") != Some("object") {
        return Err(layout.error("the root must have `type` `object`"));
    }
    layout.value(schema, 0)?;
    Ok(layout.segments)
}

struct Layout {
    segments: Vec<Segment>,
    path: Vec<String>,
}

type Members = [(String, OrderedJson)];

impl Layout {
    fn value(&mut self, schema: &OrderedJson, depth: u32) -> Result<(), SchemaError> {
        let members = self.members(schema)?;
        if find(members, "enum").is_some() {
            return self.choice(members);
        }
        match find(members, "type") {
            Some(OrderedJson::Text(kind)) => match kind.as_str() {
                "object" => self.object(members, depth),
                "integer" => self.integer(members),
                "boolean" => {
                    self.only(members, &["type"])?;
                    self.segments.push(Segment::Choice(vec![b"false".to_vec(), b"true".to_vec()]));
                    Ok(())
                }
                "string" => self.string(members),
                other => Err(self.error(format!("unsupported `type` `{other}`"))),
            },
            Some(_) => Err(self.error("unsupported `type`: expected one name")),
            None => {
                self.only(members, &[])?;
                Err(self.error("missing `type`"))
            }
        }
    }

    fn object(&mut self, members: &Members, depth: u32) -> Result<(), SchemaError> {
        self.only(members, &["type", "properties", "required", "additionalProperties"])?;
        if depth >= MAX_DEPTH {
            return Err(self.error(format!("objects nested deeper than {MAX_DEPTH}")));
        }
        if !matches!(find(members, "additionalProperties"), None | Some(OrderedJson::Bool(_))) {
            return Err(self.error("unsupported `additionalProperties`: expected false"));
        }
        let properties = match find(members, "properties") {
            Some(OrderedJson::Object(properties)) => properties.as_slice(),
            None => &[],
            Some(_) => return Err(self.error("unsupported `properties`: expected an object")),
        };
        self.check_required(members, properties)?;
        self.literal("{");
        for (index, (name, schema)) in properties.iter().enumerate() {
            if index > 0 {
                self.literal(", ");
            }
            self.literal(&quoted(name));
            self.literal(": ");
            self.path.push(name.clone());
            self.value(schema, depth + 1)?;
            self.path.pop();
        }
        self.literal("}");
        Ok(())
    }

    fn check_required(&self, members: &Members, properties: &Members) -> Result<(), SchemaError> {
        let names = match find(members, "required") {
            Some(OrderedJson::List(names)) => names.as_slice(),
            None => &[],
            Some(_) => return Err(self.error("unsupported `required`: expected a list of names")),
        };
        for name in names {
            let OrderedJson::Text(name) = name else {
                return Err(self.error("unsupported `required`: expected a list of names"));
            };
            if find(properties, name).is_none() {
                return Err(self.error(format!("`required` names `{name}`, which is not among `properties`")));
            }
        }
        Ok(())
    }

    fn integer(&mut self, members: &Members) -> Result<(), SchemaError> {
        self.only(members, &["type", "minimum", "maximum"])?;
        let bound = |name: &str| match find(members, name) {
            Some(OrderedJson::Integer(bound)) if (-MAX_INTEGER..=MAX_INTEGER).contains(bound) => Ok(*bound),
            _ => {
                Err(self.error(format!("an integer needs `{name}` between -{MAX_INTEGER} and {MAX_INTEGER}")))
            }
        };
        let (minimum, maximum) = (bound("minimum")?, bound("maximum")?);
        if minimum > maximum {
            return Err(self.error(format!("`minimum` {minimum} is above `maximum` {maximum}")));
        }
        self.choices((minimum..=maximum).map(|value| value.to_string()));
        Ok(())
    }

    fn choice(&mut self, members: &Members) -> Result<(), SchemaError> {
        self.only(members, &["type", "enum"])?;
        let Some(OrderedJson::List(values)) = find(members, "enum") else {
            return Err(self.error("unsupported `enum`: expected a list"));
        };
        let kind = text(members, "type");
        let mut choices = Vec::with_capacity(values.len());
        for value in values {
            choices.push(match value {
                OrderedJson::Text(text) if matches!(kind, None | Some("string")) => quoted(text),
                OrderedJson::Integer(value) if matches!(kind, None | Some("integer")) => value.to_string(),
                _ => {
                    return Err(
                        self.error("unsupported value in `enum`: expected strings or integers of the `type`")
                    );
                }
            });
        }
        if choices.is_empty() {
            return Err(self.error("an empty `enum`"));
        }
        self.choices(choices.into_iter());
        Ok(())
    }

    fn string(&mut self, members: &Members) -> Result<(), SchemaError> {
        self.only(members, &["type", "maxLength"])?;
        let max_chars = match find(members, "maxLength") {
            None => DEFAULT_MAX_LENGTH,
            Some(OrderedJson::Integer(limit)) => {
                u32::try_from(*limit).map_err(|_| self.error(format!("unsupported `maxLength` {limit}")))?
            }
            Some(_) => return Err(self.error("unsupported `maxLength`: expected an integer")),
        };
        self.literal("\"");
        self.segments.push(Segment::Text { max_chars });
        Ok(())
    }

    fn literal(&mut self, text: &str) {
        if let Some(Segment::Literal(last)) = self.segments.last_mut() {
            last.extend_from_slice(text.as_bytes());
        } else {
            self.segments.push(Segment::Literal(text.as_bytes().to_vec()));
        }
    }

    fn choices(&mut self, texts: impl Iterator<Item = String>) {
        let mut choices: Vec<Vec<u8>> = texts.map(String::into_bytes).collect();
        choices.sort();
        choices.dedup();
        self.segments.push(Segment::Choice(choices));
    }

    fn members<'a>(&self, schema: &'a OrderedJson) -> Result<&'a Members, SchemaError> {
        match schema {
            OrderedJson::Object(members) => Ok(members),
            _ => Err(self.error("expected an object")),
        }
    }

    fn only(&self, members: &Members, keywords: &[&str]) -> Result<(), SchemaError> {
        let known = |name: &str| keywords.contains(&name) || ANNOTATIONS.contains(&name);
        match members.iter().find(|(name, _)| !known(name)) {
            Some((name, _)) => Err(self.error(format!("unsupported keyword `{name}`"))),
            None => Ok(()),
        }
    }

    fn error(&self, reason: impl Into<String>) -> SchemaError {
        SchemaError { path: self.path.join("."), reason: reason.into() }
    }
}

fn find<'a>(members: &'a Members, name: &str) -> Option<&'a OrderedJson> {
    members.iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

fn text<'a>(members: &'a Members, name: &str) -> Option<&'a str> {
    match find(members, name) {
        Some(OrderedJson::Text(text)) => Some(text),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
