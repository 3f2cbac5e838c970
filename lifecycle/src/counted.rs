//! A number with what it counts, in the singular or the plural.

#[cfg(test)]
mod tests;

use std::fmt::Display;

/// `1 document`, `2 documents`, `0 entries`: `what` is the singular of a regular English noun.
pub fn counted(number: impl Display + Copy + TryInto<u64>, what: &str) -> String {
    if number.try_into().is_ok_and(|number: u64| number == 1) {
        return format!("{number} {what}");
    }
    match what.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        Some(_) | None => format!("{number} {what}s"),
    }
}
