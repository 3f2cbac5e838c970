//! Takes the fields of a JSON request one by one, each refusal naming its field; what nobody took is refused too.

use std::ops::RangeInclusive;

use super::error::ApiError;
use crate::guided::OrderedJson;

/// The fields of a request that were not taken yet.
#[derive(Debug)]
pub(super) struct Fields {
    members: Vec<(String, OrderedJson)>,
}

impl Fields {
    /// Parses a request body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let broken = |reason: String| {
            let message = format!("the request body is not a JSON object: {reason}");
            ApiError { param: None, code: "invalid_json", ..ApiError::invalid("", message) }
        };
        match serde_json::from_slice(body) {
            Ok(OrderedJson::Object(members)) => Ok(Self { members }),
            Ok(_) => Err(broken("found another value".into())),
            Err(error) => Err(broken(error.to_string())),
        }
    }

    /// The fields of an object inside the request.
    pub(super) fn of(param: &str, value: OrderedJson) -> Result<Self, ApiError> {
        match value {
            OrderedJson::Object(members) => Ok(Self { members }),
            _ => Err(ApiError::invalid(param, format!("`{param}` must be an object"))),
        }
    }

    /// A field's value; `null` counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<OrderedJson> {
        let index = self.members.iter().position(|(found, _)| found == name)?;
        Some(self.members.swap_remove(index).1).filter(|value| *value != OrderedJson::Null)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(OrderedJson::Text(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::invalid(name, format!("`{name}` must be a string"))),
        }
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(OrderedJson::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(ApiError::invalid(name, format!("`{name}` must be true or false"))),
        }
    }

    pub(super) fn integer(
        &mut self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(OrderedJson::Integer(value)) if range.contains(&value) => Ok(Some(value)),
            Some(found) => Err(out_of_range(name, "an integer", range.start(), range.end(), &found)),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "temperatures and probabilities need no more than f32"
    )]
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<f32>) -> Result<Option<f32>, ApiError> {
        let value = match self.take(name) {
            None => return Ok(None),
            Some(OrderedJson::Integer(value)) => value as f32,
            Some(OrderedJson::Float(value)) => value as f32,
            Some(found) => return Err(out_of_range(name, "a number", range.start(), range.end(), &found)),
        };
        if range.contains(&value) {
            return Ok(Some(value));
        }
        Err(out_of_range(name, "a number", range.start(), range.end(), &OrderedJson::Float(f64::from(value))))
    }

    /// Drops fields that change nothing here.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        self.members.retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Refuses whatever was not taken.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.members.into_iter().find(|(_, value)| *value != OrderedJson::Null) {
            Some((name, _)) => {
                Err(ApiError::unsupported(&name, format!("`{name}` is not supported by this server")))
            }
            None => Ok(()),
        }
    }
}

fn out_of_range(
    name: &str,
    kind: &str,
    low: &impl std::fmt::Display,
    high: &impl std::fmt::Display,
    found: &OrderedJson,
) -> ApiError {
    let found = match found {
        OrderedJson::Integer(value) => value.to_string(),
        OrderedJson::Float(value) => value.to_string(),
        OrderedJson::Null
        | OrderedJson::Bool(_)
        | OrderedJson::Text(_)
        | OrderedJson::List(_)
        | OrderedJson::Object(_) => "another value".to_owned(),
    };
    ApiError::invalid(name, format!("`{name}` must be {kind} from {low} to {high}, found {found}"))
}
