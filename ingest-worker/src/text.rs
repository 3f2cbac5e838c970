//! One spelling for comparison: normal form, lower case, umlauts written out, words without punctuation.

#[cfg(test)]
mod tests;

use unicode_normalization::UnicodeNormalization as _;

/// The text in normal form C and lower case, with ä, ö, ü and ß written as ae, oe, ue and ss.
///
/// `Gebäude`, `GEBÄUDE` and `Gebaeude` become the same word.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.nfc().flat_map(char::to_lowercase) {
        match letter {
            'ä' => folded.push_str("ae"),
            'ö' => folded.push_str("oe"),
            'ü' => folded.push_str("ue"),
            'ß' => folded.push_str("ss"),
            other => folded.push(other),
        }
    }
    folded
}

/// The words of a folded text: runs of letters and digits.
pub(crate) fn words(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// The text in normal form C and lower case, each run of blanks as one space.
pub(crate) fn collapse(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.extend(word.nfc().flat_map(char::to_lowercase));
    }
    collapsed
}
