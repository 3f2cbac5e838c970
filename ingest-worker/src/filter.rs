//! Drops documents of another domain and documents that are too short or too long.

#[cfg(test)]
mod tests;

use clara_lifecycle::{
    dataset::{DropReason, TrainingContent},
    id::Domain,
    spec::IngestOptions,
};

/// A reason to drop a document, and what was found.
pub(crate) type Drop = (DropReason, String);

/// Refuses a document that names another domain; one that names none passes.
pub(crate) fn domain(found: Option<&str>, expected: &Domain) -> Option<Drop> {
    let found = found.map(str::trim).filter(|found| !found.is_empty())?;
    if found.to_lowercase() == expected.as_str() {
        return None;
    }
    Some((DropReason::OtherDomain, format!("the domain is `{found}`, expected `{expected}`")))
}

/// Refuses a document outside of `min_chars` and `max_chars`; an empty one is always too short.
pub(crate) fn length(content: &TrainingContent, options: &IngestOptions) -> Option<Drop> {
    let chars = content.chars() as u64;
    let (least, most) = (u64::from(options.min_chars).max(1), u64::from(options.max_chars));
    if chars < least {
        return Some((DropReason::TooShort, format!("{chars} characters, expected at least {least}")));
    }
    if chars > most {
        return Some((DropReason::TooLong, format!("{chars} characters, expected at most {most}")));
    }
    None
}
