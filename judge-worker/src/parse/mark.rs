//! Reads one score, in the ways in which models write numbers.

use clara_lifecycle::rubric::TOP_ANCHOR;
use serde_json::Value;

/// The number that `value` gives on a scale of five; `None` when it gives none, or another scale.
pub(super) fn read(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => read_text(text),
        Value::Object(fields) => {
            let wanted = |name: &str| matches!(name.trim().to_lowercase().as_str(), "score" | "punkte");
            let (_, inner) = fields.iter().find(|(name, _)| wanted(name))?;
            // One level is enough; a score in a score in a score is no score.
            if inner.is_object() { None } else { read(inner) }
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

fn read_text(text: &str) -> Option<f64> {
    let number = match text.split_once('/') {
        Some((mark, scale)) => (plain_number(scale)? - f64::from(TOP_ANCHOR) == 0.0).then_some(mark)?,
        None => text,
    };
    plain_number(number)
}

/// Digits with at most one sign, and one decimal point or comma; no `inf`, no exponent.
fn plain_number(text: &str) -> Option<f64> {
    let text = text.trim().replace(',', ".");
    let plain = text.chars().all(|character| character.is_ascii_digit() || matches!(character, '.' | '-'));
    if plain { text.parse().ok() } else { None }
}
