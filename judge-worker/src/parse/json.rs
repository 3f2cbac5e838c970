//! Finds JSON objects in running text.

use serde_json::{Map, Value};

/// All JSON objects in `text` that stand beside each other, in order; those inside of others are not listed.
pub(super) fn objects(text: &str) -> Vec<Map<String, Value>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let candidate = rest.get(start..).unwrap_or_default();
        let parsed = end_of_object(candidate).and_then(|end| {
            let (object, after) = (candidate.get(..end)?, candidate.get(end..)?);
            Some((parse(object)?, after))
        });
        match parsed {
            Some((object, after)) => {
                found.push(object);
                rest = after;
            }
            // Not an object from here on; perhaps from the next brace.
            None => rest = candidate.get(1..).unwrap_or_default(),
        }
    }
    found
}

fn parse(object: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(object).or_else(|_| serde_json::from_str(&without_trailing_commas(object))).ok()
}

/// Where the object that opens at the first byte ends; braces in strings do not count.
fn end_of_object(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (position, character, in_string) in characters(text) {
        match character {
            '{' if !in_string => depth += 1,
            '}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some(position + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// `{"a": 1,}` becomes `{"a": 1}`; commas in strings stay.
fn without_trailing_commas(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for (_, character, in_string) in characters(text) {
        if matches!(character, '}' | ']') && !in_string {
            let kept = cleaned.trim_end();
            if let Some(kept) = kept.strip_suffix(',') {
                cleaned.truncate(kept.len());
            }
        }
        cleaned.push(character);
    }
    cleaned
}

/// Every character with its byte position, and whether it stands inside of a string.
fn characters(text: &str) -> impl Iterator<Item = (usize, char, bool)> + '_ {
    let mut in_string = false;
    let mut escaped = false;
    text.char_indices().map(move |(position, character)| {
        let inside = in_string;
        if escaped {
            escaped = false;
        } else if character == '\\' && in_string {
            escaped = true;
        } else if character == '"' {
            in_string = !in_string;
        }
        (position, character, inside)
    })
}
