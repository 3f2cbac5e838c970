//! One spelling for comparison: normal form, lower case, umlauts written out, words without punctuation, nothing
//! invisible.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use unicode_normalization::UnicodeNormalization as _;

/// The text in normal form C and lower case, with ä, ö, ü and ß written as ae, oe, ue and ss.
///
/// `Gebäude`, `GEBÄUDE` and `Gebaeude` become the same word.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    if is_composed(text) {
        fold_letters(text.chars(), &mut folded);
    } else {
        fold_letters(text.nfc(), &mut folded);
    }
    folded
}

/// The words of a folded text: runs of letters and digits.
pub fn words(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// The text in normal form C and lower case, each run of blanks as one space.
pub fn collapse(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        if is_composed(word) {
            collapsed.extend(word.chars().flat_map(char::to_lowercase));
        } else {
            collapsed.extend(word.nfc().flat_map(char::to_lowercase));
        }
    }
    collapsed
}

/// Share of common numbers among all of two sorted lists without repeats (Jaccard, 0–1); 0 when it cannot reach `least`,
/// or both are empty.
pub fn jaccard(one: &[u64], other: &[u64], least: f64) -> f64 {
    let (fewer, more) = (one.len().min(other.len()), one.len().max(other.len()));
    // No intersection can lift the share above the ratio of the sizes.
    if share(fewer, more) < least {
        return 0.0;
    }
    let common = common(one, other);
    share(common, one.len() + other.len() - common)
}

/// The text without characters that no reader sees.
pub fn visible(text: &str) -> String {
    text.chars().filter(|character| !is_invisible(*character)).collect()
}

/// Whether no reader sees the character: control characters but line breaks and tabs, soft hyphens, zero-width
/// characters, marks of writing direction, fillers, variation selectors and tags.
pub fn is_invisible(character: char) -> bool {
    let control = character.is_control() && !matches!(character, '\n' | '\r' | '\t');
    control
        || matches!(
            character,
            '\u{00AD}'
                | '\u{034F}'
                | '\u{061C}'
                | '\u{115F}'..='\u{1160}'
                | '\u{17B4}'..='\u{17B5}'
                | '\u{180B}'..='\u{180F}'
                | '\u{200B}'..='\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{3164}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}'
                | '\u{FFA0}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

/// Whether a text surely is in normal form C: no character before U+0300 changes or combines, and none of the usual
/// punctuation and currency signs. Spares most European texts the search for combining characters.
fn is_composed(text: &str) -> bool {
    text.chars().all(|letter| letter < '\u{300}' || ('\u{2002}'..='\u{20CF}').contains(&letter))
}

fn fold_letters(letters: impl Iterator<Item = char>, folded: &mut String) {
    for letter in letters {
        if letter.is_ascii() {
            folded.push(letter.to_ascii_lowercase());
            continue;
        }
        for lower in letter.to_lowercase() {
            match lower {
                'ä' => folded.push_str("ae"),
                'ö' => folded.push_str("oe"),
                'ü' => folded.push_str("ue"),
                'ß' => folded.push_str("ss"),
                other => folded.push(other),
            }
        }
    }
}

/// How many numbers two sorted lists have in common.
fn common(one: &[u64], other: &[u64]) -> usize {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut common = 0;
    while let (Some(left), Some(right)) = (one.peek(), other.peek()) {
        match left.cmp(right) {
            Ordering::Less => drop(one.next()),
            Ordering::Greater => drop(other.next()),
            Ordering::Equal => {
                common += 1;
                one.next();
                other.next();
            }
        }
    }
    common
}

#[expect(clippy::cast_precision_loss, reason = "a text has far fewer than 2^53 words")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
