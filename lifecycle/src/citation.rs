//! Citations of German statutes in running text: `§ 35 Abs. 1 BauGB`, `Art. 20 Abs. 3 GG`.

#[cfg(test)]
mod tests;

use std::ops::Range;

/// Words that go on with a citation after its first number.
const PARTS: [&str; 24] = [
    "abs",
    "absatz",
    "absätze",
    "nr",
    "nrn",
    "nummer",
    "s",
    "satz",
    "sätze",
    "halbs",
    "hs",
    "lit",
    "buchst",
    "buchstabe",
    "alt",
    "var",
    "unterabs",
    "f",
    "ff",
    "und",
    "bis",
    "oder",
    "i",
    "v",
];
/// Roman numerals and countries that belong to a statute's short name.
const AFTER_STATUTE: [&str; 18] = [
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIV", "NRW", "NW", "BW",
    "Bln", "LSA",
];

/// A citation in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    /// Where it stands, in bytes.
    pub place: Range<usize>,
    /// What it names, blanks and finer parts aside: `§ 35 BauGB`, or `§ 35` where no statute follows.
    pub provision: String,
}

/// All citations in `text`, in order and without overlap.
pub fn citations(text: &str) -> Vec<Citation> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some((start, sign, rest)) = next_sign(text, from) {
        match citation(text, start, sign, rest) {
            Some(citation) => {
                from = citation.place.end;
                found.push(citation);
            }
            None => from = rest,
        }
    }
    found
}

/// The next `§`, `Art.` or `Artikel` from byte `from` on: where it begins, its normal form, where it ends.
fn next_sign(text: &str, from: usize) -> Option<(usize, &'static str, usize)> {
    let mut before = text.get(..from).and_then(|before| before.chars().next_back());
    for (offset, character) in text.get(from..)?.char_indices() {
        let at = from + offset;
        let rest = text.get(at..)?;
        if character == '§' {
            let signs = rest.len() - rest.trim_start_matches('§').len();
            return Some((at, "§", at + signs));
        }
        if character == 'A' && before.is_none_or(|before| !before.is_alphanumeric()) {
            for name in ["Artikel", "Art.", "Art"] {
                if let Some(after) = rest.strip_prefix(name)
                    && after.chars().next().is_none_or(|next| !next.is_alphabetic())
                {
                    return Some((at, "Art.", at + name.len()));
                }
            }
        }
        before = Some(character);
    }
    None
}

fn citation(text: &str, start: usize, sign: &str, after_sign: usize) -> Option<Citation> {
    let mut words = words(text, after_sign);
    let number = words.next().filter(|word| is_number(word.text))?;
    let mut end = number.place.end;
    let mut statute = None;
    let mut rest = words.peekable();
    while let Some(word) = rest.next() {
        if is_number(word.text) || is_part(word.text) {
            // A connecting word alone ends no citation.
            if is_number(word.text) || matches!(word.text, "f" | "ff") {
                end = word.place.end;
            }
        } else if is_statute(word.text) {
            end = word.place.end;
            let mut name = word.text.to_owned();
            if let Some(next) = rest.peek()
                && AFTER_STATUTE.contains(&next.text)
            {
                name = format!("{name} {}", next.text);
                end = next.place.end;
            }
            statute = Some(name);
            break;
        } else if word.text.chars().count() == 1 && word.text.chars().all(char::is_lowercase) {
            end = word.place.end;
        } else {
            break;
        }
    }
    let number = number.text.to_lowercase();
    let provision = match statute {
        Some(statute) => format!("{sign} {number} {statute}"),
        None => format!("{sign} {number}"),
    };
    Some(Citation { place: start..end, provision })
}

#[derive(Debug, Clone)]
struct Word<'a> {
    text: &'a str,
    place: Range<usize>,
}

/// Words from byte `from` on, over blanks, commas, points and dashes, until something else stands between.
fn words(text: &str, from: usize) -> impl Iterator<Item = Word<'_>> {
    let mut at = from;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let trimmed =
            rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '.' | ',' | '-' | '–' | '/'));
        let begin = at + (rest.len() - trimmed.len());
        let length = trimmed.find(|c: char| !c.is_alphanumeric()).unwrap_or(trimmed.len());
        let word = trimmed.get(..length).filter(|word| !word.is_empty())?;
        at = begin + length;
        Some(Word { text: word, place: begin..at })
    })
}

/// `35`, `35a`.
fn is_number(word: &str) -> bool {
    let letters = word.trim_start_matches(|c: char| c.is_ascii_digit());
    letters.len() < word.len() && letters.chars().count() <= 1 && letters.chars().all(char::is_alphabetic)
}

fn is_part(word: &str) -> bool {
    PARTS.contains(&word.to_lowercase().as_str()) && !is_statute(word)
}

/// A short name has two capitals at least: `BauGB`, `GG`, `VwVfG`.
fn is_statute(word: &str) -> bool {
    word.starts_with(char::is_uppercase) && word.chars().filter(|c| c.is_uppercase()).count() > 1
}
