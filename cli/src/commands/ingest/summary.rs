//! What `clara ingest` says of a dataset: what was mended in it, and in what another one differs from it.

#[cfg(test)]
mod tests;

use clara_ingest_worker::card;
use clara_lifecycle::{
    dataset::{DatasetManifest, Mend},
    digest::Digest,
    id::Domain,
    shown::shown_list,
    spec::IngestOptions,
};

/// What is asked for, as far as a manifest names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) options: &'a IngestOptions,
    pub(super) domain: &'a Domain,
    pub(super) golden: Option<&'a Digest>,
}

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

/// In what the dataset of a manifest differs from what is asked for, in a few words.
pub(super) fn difference(manifest: &DatasetManifest, asked: Asked<'_>) -> String {
    let mut differing = Vec::new();
    if manifest.domain != asked.domain.as_str() {
        differing.push(format!("its domain is {}", manifest.domain));
    }
    let told = IngestOptions { fresh: false, ..asked.options.shown() };
    if manifest.sources != told.sources {
        differing.push(format!("its sources are {}", shown_list(&manifest.sources)));
    }
    let there = manifest.golden_overlap.as_ref();
    if there.map(|overlap| &overlap.golden_digest) != asked.golden {
        let name = there.map_or("none", |overlap| overlap.golden_dataset.as_str());
        differing.push(format!("its golden dataset is {name}"));
    }
    if let Some(options) = &manifest.options {
        let there = card::changed(options, &told);
        let mut asked = card::changed(&told, options);
        asked.retain(|(name, _)| !there.iter().any(|(known, _)| known == name));
        differing.extend(there.into_iter().map(|(name, value)| format!("its {name} is {value}")));
        differing.extend(asked.into_iter().map(|(name, _)| format!("it has no {name}")));
    }
    if differing.is_empty() {
        return "the source files, the base model or the version of Clara were others".to_owned();
    }
    differing.join(", ")
}
