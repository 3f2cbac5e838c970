//! Gives kinds of records that were read from a store the lifetime of those named in code.

use std::collections::BTreeSet;

use parking_lot::Mutex;

static KINDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The kind named `kind`. Kinds are names in code, so there are few; each is kept once for ever.
pub(crate) fn known_kind(kind: &str) -> &'static str {
    let mut kinds = KINDS.lock();
    if let Some(known) = kinds.get(kind) {
        return known;
    }
    let known: &'static str = Box::leak(kind.to_owned().into_boxed_str());
    kinds.insert(known);
    known
}
