//! From entries of a vocabulary to the bytes they stand for.

/// The bytes of an entry of a byte-level vocabulary, where every byte is written as one printable character.
pub(super) fn of_byte_level(token: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(token.len());
    for character in token.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(character.to_string().into_bytes()),
        }
    }
    bytes
}

/// The bytes of an entry of a `SentencePiece` vocabulary: `▁` is a blank, `<0xNN>` a single byte.
pub(super) fn of_sentence_piece(token: &str) -> Vec<u8> {
    let single = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    if let Some(byte) = single.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        return vec![byte];
    }
    token.replace('▁', " ").into_bytes()
}

/// Printable Latin-1 characters stand for themselves; the other 68 bytes, in order, for U+0100 onwards.
fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    if let Ok(byte) = u8::try_from(code) {
        return is_printable(byte).then_some(byte);
    }
    let place = usize::try_from(code.checked_sub(0x100)?).ok()?;
    (0..=u8::MAX).filter(|byte| !is_printable(*byte)).nth(place)
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}
