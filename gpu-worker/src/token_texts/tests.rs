//! Behaviour of token texts, and a small vocabulary for other tests.

use super::*;

/// Number of the end token in [`small`].
pub(crate) const END: u32 = 256;

/// Every single byte under its own number, the end token, then some longer pieces.
pub(crate) fn small() -> TokenTexts {
    let mut pieces: Vec<Option<Vec<u8>>> = (0..=u8::MAX).map(|byte| Some(vec![byte])).collect();
    pieces.push(None);
    let longer =
        ["10", "\",", ".\"", "\\n", "ä", "{\"", "\": ", "true", "false", " und", "ok", "}", "\"}", "99"];
    pieces.extend(longer.iter().map(|text| Some(text.as_bytes().to_vec())));
    TokenTexts::new(pieces, Box::new(|text| Some(text.bytes().map(u32::from).collect())))
}

#[test]
fn special_and_unknown_tokens_have_no_text() {
    assert_eq!(small().bytes(END), b"");
    assert_eq!(small().bytes(9_999), b"");
    assert_eq!(small().bytes(65), b"A");
}

#[test]
fn text_is_spelled_as_the_tokenizer_splits_it() {
    assert_eq!(small().spell(b"ok").unwrap(), [u32::from(b'o'), u32::from(b'k')]);
}

#[test]
fn text_that_the_tokenizer_changes_is_spelled_by_the_longest_tokens() {
    let pieces = ["a", "ab", "abc", "c"].map(|text| Some(text.as_bytes().to_vec())).to_vec();
    let vocabulary = TokenTexts::new(pieces, Box::new(|_| Some(vec![0])));
    assert_eq!(vocabulary.spell(b"abcabc").unwrap(), [2, 2]);
    assert_eq!(vocabulary.spell(b"abac").unwrap(), [1, 0, 3]);
    assert_eq!(vocabulary.spell(b"abd"), None);
}
