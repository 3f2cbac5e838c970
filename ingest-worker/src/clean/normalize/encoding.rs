//! Repairs UTF-8 that was read as Windows-1252 or Latin-1, once or several times (`fÃ¼r`, `fÃƒÂ¼r`), and only that.
//!
//! A repair must be certain: the sequences looked for do not occur in rightly decoded text, and those that might (an `Ã` before
//! a quotation mark) are repaired only where others prove that the text was decoded wrongly.

use std::borrow::Cow;

/// Text that was decoded wrongly more often than this is left as the last repair gives it.
const MOST_TIMES: usize = 3;

/// The repaired text and the number of places, or `None` when nothing is certain.
pub(super) fn repair(text: &str) -> Option<(String, u64)> {
    let mut repaired = Cow::Borrowed(text);
    let mut places = 0;
    for _ in 0..MOST_TIMES {
        let Some((better, count)) = repair_once(&repaired) else { break };
        places += count;
        repaired = Cow::Owned(better);
    }
    (places > 0).then(|| (repaired.into_owned(), places))
}

fn repair_once(text: &str) -> Option<(String, u64)> {
    if !may_be_wrong(text.as_bytes()) {
        return None;
    }
    let letters: Vec<char> = text.chars().collect();
    let is_proven =
        (0..letters.len()).any(|at| matches!(sequence(letters.get(at..)), Some(found) if found.is_certain));
    if is_proven && let Some(whole) = whole(&letters) {
        return Some(whole);
    }
    let (mut repaired, mut places, mut at) = (String::with_capacity(text.len()), 0, 0);
    while let Some(letter) = letters.get(at) {
        match sequence(letters.get(at..)) {
            Some(found) if found.is_certain || is_proven || begins_word(&letters, at, found.length) => {
                repaired.push(found.decoded);
                places += 1;
                at += found.length;
            }
            _ => {
                repaired.push(*letter);
                at += 1;
            }
        }
    }
    (places > 0).then_some((repaired, places))
}

/// Whether one of `Â`, `Ã`, `â` occurs at all; nearly every German text ends here.
fn may_be_wrong(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| matches!(pair, [0xC3, 0x82 | 0x83 | 0xA2]))
}

/// A sequence that looks like one character of UTF-8.
struct Sequence {
    decoded: char,
    length: usize,
    is_certain: bool,
}

fn sequence(letters: Option<&[char]>) -> Option<Sequence> {
    let (first, rest) = letters?.split_first()?;
    let second = *rest.first()?;
    let byte = windows_1252(second)?;
    let of = |decoded: u32, length, is_certain| {
        char::from_u32(decoded).map(|decoded| Sequence { decoded, length, is_certain })
    };
    match (first, byte) {
        ('Â', 0xA0..=0xBF) => of(u32::from(byte), 2, !may_follow(second)),
        ('Ã', 0x80..=0xBF) => of(u32::from(byte) + 0x40, 2, !may_follow(second)),
        ('â', 0x80 | 0x82 | 0x84 | 0x88 | 0x89) => {
            let third = windows_1252(*rest.get(1)?)?;
            // Dashes, quotation marks, bullets; then the signs for euro, trade mark, minus, less or equal and greater or equal.
            let is_known = matches!(
                (byte, third),
                (0x80, 0x90..=0xBA) | (0x82, 0xAC) | (0x84, 0xA2) | (0x88, 0x92) | (0x89, 0xA4 | 0xA5)
            );
            let decoded = 0x2000 | (u32::from(byte) & 0x3F) << 6 | (u32::from(third) & 0x3F);
            if is_known { of(decoded, 3, true) } else { None }
        }
        _ => None,
    }
}

/// Punctuation that may follow a rightly decoded `Â` or `Ã`, such as the end of a quotation.
fn may_follow(letter: char) -> bool {
    matches!(
        letter,
        '„' | '“'
            | '”'
            | '‚'
            | '‘'
            | '’'
            | '‹'
            | '›'
            | '«'
            | '»'
            | '–'
            | '—'
            | '…'
            | '\u{A0}'
            | '·'
            | '•'
            | '´'
    )
}

/// `Ã„nderung`: a mark in the middle of what is a word only after the repair.
fn begins_word(letters: &[char], at: usize, length: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| letters.get(before));
    let after = letters.get(at + length);
    before.is_none_or(|before| !before.is_alphanumeric()) && after.is_some_and(|after| after.is_lowercase())
}

/// The whole text, where all of it is the wrong reading of valid UTF-8.
fn whole(letters: &[char]) -> Option<(String, u64)> {
    let bytes: Option<Vec<u8>> = letters.iter().map(|letter| windows_1252(*letter)).collect();
    let text = String::from_utf8(bytes?).ok()?;
    let places = text.chars().filter(|letter| !letter.is_ascii()).count() as u64;
    Some((text, places))
}

/// The byte that Windows-1252 reads as this character, or Latin-1 as a control character.
fn windows_1252(letter: char) -> Option<u8> {
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
    ];
    if let Ok(byte) = u8::try_from(u32::from(letter)) {
        return Some(byte);
    }
    (0x80..).zip(UPPER).find(|(_, upper)| *upper == letter).map(|(byte, _)| byte)
}
