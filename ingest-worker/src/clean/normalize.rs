//! Brings a text into one form: composed, rightly decoded, without invisible characters, broken words and needless blanks.

mod characters;
mod encoding;
mod hyphen;
#[cfg(test)]
mod tests;

use clara_lifecycle::dataset::Mend;
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use super::Places;

/// The text in its normal form, `None` when it has it already; counts what was mended.
///
/// Form feeds stay when `keep_pages` is set, so that page headers can be told from them.
pub(crate) fn normalize(text: &str, keep_pages: bool, places: &mut Places) -> Option<String> {
    let mut mended: Option<String> = None;
    if let Some((repaired, count)) = encoding::repair(text) {
        *places.entry(Mend::Encoding).or_default() += count;
        mended = Some(repaired);
    }
    if let Some(composed) = compose(mended.as_deref().unwrap_or(text)) {
        *places.entry(Mend::Unicode).or_default() += 1;
        mended = Some(composed);
    }
    if let Some(cleaned) = characters::clean(mended.as_deref().unwrap_or(text), keep_pages, places) {
        mended = Some(cleaned);
    }
    mended
}

fn compose(text: &str) -> Option<String> {
    // Letters up to U+02FF and common punctuation are composed already; their first bytes tell them apart quickly.
    let is_plain = text.bytes().all(|byte| byte < 0xCC || byte == 0xE2);
    let has_singleton =
        text.contains(['\u{2000}', '\u{2001}', '\u{2126}', '\u{212A}', '\u{212B}', '\u{2329}', '\u{232A}']);
    if is_plain && !has_singleton || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return None;
    }
    let composed: String = text.nfc().collect();
    (composed != text).then_some(composed)
}
