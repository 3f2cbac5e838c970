//! Finds documents with the same text as an earlier one.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, hash_map::Entry};

use clara_lifecycle::{dataset::TrainingContent, text::collapse};
use sha2::{Digest as _, Sha256};

use crate::source::Origin;

/// The texts met so far, as SHA-256 of their normal form: blanks, case and Unicode form do not matter.
#[derive(Debug, Default)]
pub(crate) struct SeenTexts(HashMap<[u8; 32], Origin>);

impl SeenTexts {
    /// Where the same text was met before; otherwise remembers it as met at `origin`.
    pub(crate) fn earlier(&mut self, content: &TrainingContent, origin: &Origin) -> Option<Origin> {
        let mut hasher = Sha256::new();
        for text in content.texts() {
            let collapsed = collapse(text);
            // The length keeps texts apart that only differ in where a prompt ends.
            hasher.update((collapsed.len() as u64).to_le_bytes());
            hasher.update(collapsed.as_bytes());
        }
        match self.0.entry(hasher.finalize().into()) {
            Entry::Occupied(earlier) => Some(earlier.get().clone()),
            Entry::Vacant(place) => {
                place.insert(origin.clone());
                None
            }
        }
    }
}
