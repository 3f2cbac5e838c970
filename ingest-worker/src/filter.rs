//! Drops documents of another domain, with a licence or classification that is not allowed, and those that are too short or too long.

#[cfg(test)]
mod tests;

use clara_lifecycle::{
    counted::counted,
    dataset::{DropReason, TrainingContent},
    id::Domain,
    spec::{CleanOptions, IngestOptions},
};

use crate::source::Document;

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

/// Refuses a document whose licence or classification is not among those asked for; one that names none is refused when any is asked for.
pub(crate) fn allowed(document: &Document, options: &CleanOptions) -> Option<Drop> {
    let checks = [
        ("licence", &document.licence, &options.licences),
        ("classification", &document.classification, &options.classifications),
    ];
    for (what, found, allowed) in checks {
        let found = found.as_deref().map(str::trim).filter(|found| !found.is_empty());
        let is_allowed =
            found.is_some_and(|found| allowed.iter().any(|allowed| is_same_label(allowed, found)));
        if !allowed.is_empty() && !is_allowed {
            let found = found.map_or_else(|| "none".to_owned(), |found| format!("`{found}`"));
            let expected = allowed.join("`, `");
            return Some((DropReason::NotAllowed, format!("the {what} is {found}, expected `{expected}`")));
        }
    }
    None
}

/// Case and outer blanks do not matter: `CC-BY-4.0` is `cc-by-4.0`.
fn is_same_label(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.to_lowercase()
}

/// Refuses a document outside of `min_chars` and `max_chars`; an empty one is always too short.
pub(crate) fn length(content: &TrainingContent, options: &IngestOptions) -> Option<Drop> {
    let chars = content.chars() as u64;
    let (least, most) = (u64::from(options.min_chars).max(1), u64::from(options.max_chars));
    if chars < least {
        return Some((
            DropReason::TooShort,
            format!("{}, expected at least {least}", counted(chars, "character")),
        ));
    }
    if chars > most {
        return Some((DropReason::TooLong, format!("{chars} characters, expected at most {most}")));
    }
    None
}
