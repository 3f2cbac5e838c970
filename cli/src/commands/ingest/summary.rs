//! What `clara ingest` says of a dataset: what was mended in it.

#[cfg(test)]
mod tests;

use clara_lifecycle::dataset::{DatasetManifest, Mend};

/// The rows of a summary that tell what was changed in texts, by places; none where nothing was.
pub(super) fn mended(manifest: &DatasetManifest) -> Vec<(&'static str, String)> {
    let (mut mended, mut masked) = (Vec::new(), Vec::new());
    for (mend, count) in manifest.mended.iter().filter(|(_, count)| count.places > 0) {
        match personal(*mend) {
            Some(name) => masked.push(format!("{name} {}", count.places)),
            None => mended.push(format!("{mend} {}", count.places)),
        }
    }
    let rows = [("mended", mended), ("masked", masked)].into_iter();
    rows.filter(|(_, counts)| !counts.is_empty()).map(|(name, counts)| (name, counts.join(", "))).collect()
}

/// What is masked, for people; `None` for what is mended otherwise.
fn personal(mend: Mend) -> Option<&'static str> {
    match mend {
        Mend::Email => Some("e-mail address"),
        Mend::Phone => Some("phone number"),
        Mend::Iban => Some("IBAN"),
        Mend::TaxNumber => Some("tax number"),
        Mend::BirthDate => Some("date of birth"),
        Mend::Encoding
        | Mend::Unicode
        | Mend::Invisible
        | Mend::Hyphenation
        | Mend::Blanks
        | Mend::Boilerplate => None,
    }
}
