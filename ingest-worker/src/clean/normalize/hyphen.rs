//! Words that were hyphenated at the end of a line.

/// Words that may follow the hyphen of a left-out word part: `Bau- und Planungsrecht`.
const LINKS: [&str; 14] = [
    "und",
    "oder",
    "bzw",
    "sowie",
    "als",
    "wie",
    "noch",
    "bis",
    "bzw.",
    "beziehungsweise",
    "statt",
    "and",
    "or",
    "et",
];

/// What becomes of a hyphen before a line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// Both parts are one word: hyphen and line end go.
    Word,
    /// Both parts are linked by the hyphen: the line end goes.
    Linked,
}

/// How the text before a hyphen and the text after the line end belong together; `None` when the line end stays.
pub(super) fn joint(text: &str, before: &str, after: &str) -> Option<Joint> {
    let first = last_word(before);
    let second = first_word(after);
    let next = second.chars().next()?;
    if first.is_empty() || LINKS.contains(&second) {
        return None;
    }
    let is_abbreviation = first.chars().all(char::is_uppercase);
    if next.is_uppercase() || is_abbreviation || is_pair(first, second) {
        return Some(Joint::Linked);
    }
    let is_written_so = text.contains(&format!("{first}-{second}"));
    Some(if is_written_so { Joint::Linked } else { Joint::Word })
}

/// `öffentlich-rechtlich`, but not `Öffentlich-keit`.
fn is_pair(first: &str, second: &str) -> bool {
    let is_adjective = first.ends_with("lich") || first.ends_with("isch");
    is_adjective && second.len() > 4 && !second.starts_with("keit") && !second.starts_with("heit")
}

fn last_word(text: &str) -> &str {
    let start = text.char_indices().rev().take_while(|(_, letter)| letter.is_alphabetic()).last();
    start.and_then(|(start, _)| text.get(start..)).unwrap_or_default()
}

fn first_word(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphabetic()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}
