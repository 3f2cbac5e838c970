//! Dates of birth: dates after words that say so.

use clara_lifecycle::dataset::Mend;

use super::{Finding, number::Run};

/// So much text before a date is looked at, in bytes.
const CONTEXT_BYTES: usize = 48;
/// Words that announce a date of birth.
const ANNOUNCED: [&str; 9] = [
    "geboren",
    "geb.",
    "geburtsdatum",
    "geburtstag",
    "geburtsdaten",
    "geb.-datum",
    "born",
    "date of birth",
    "geb.dat.",
];
/// Between the announcement and the date these make it another date: `geboren nach dem 1. Januar 1964`.
const LIMITS: [&str; 8] = [" vor ", " nach ", " bis ", " seit ", " ab ", " before ", " after ", " since "];
/// Beginnings of the names of months.
const MONTHS: [&str; 16] = [
    "jan", "feb", "mär", "maer", "mar", "apr", "mai", "may", "jun", "jul", "aug", "sep", "okt", "oct", "nov",
    "de",
];

/// A date of birth that begins with the digits of a run.
pub(super) fn find(text: &str, run: &Run) -> Option<Finding> {
    let start = run.start + text.get(run.start..)?.find(|letter: char| letter.is_ascii_digit())?;
    let end = start + date_length(text.get(start..)?)?;
    is_announced(text, start).then_some(Finding { range: start..end, kind: Mend::BirthDate })
}

fn is_announced(text: &str, at: usize) -> bool {
    let before = text.get(text.floor_char_boundary(at.saturating_sub(CONTEXT_BYTES))..at).unwrap_or_default();
    let before = before.to_lowercase();
    let last =
        ANNOUNCED.iter().filter_map(|word| before.rfind(word).map(|place| (place, place + word.len()))).max();
    let star = before.trim_end().ends_with('*').then_some((before.len(), before.len()));
    let Some((start, end)) = last.or(star) else { return false };
    let is_inner = before.get(..start).is_some_and(|before| before.ends_with(char::is_alphanumeric));
    let between = before.get(end..).unwrap_or_default();
    let is_near = between.split_whitespace().count() <= 5 && !between.contains([';', '!', '?', '§']);
    let is_limit = LIMITS.iter().any(|limit| format!(" {between}").contains(limit));
    let has_digit = between.contains(|letter: char| letter.is_ascii_digit());
    !is_inner && is_near && !is_limit && !has_digit
}

/// Bytes of the date at the start of a text: `3.5.1970`, `03. Mai 1970`, `1970-05-03`, `3/5/1970`.
fn date_length(text: &str) -> Option<usize> {
    let day = number(text)?;
    let rest = text.get(day.1..)?;
    if day.1 == 4 {
        let (month, rest_at) = after_sign(rest, '-')?;
        let (last, last_at) = after_sign(rest.get(rest_at..)?, '-')?;
        let is_date = is_year(day.0) && (1..=12).contains(&month.0) && (1..=31).contains(&last.0);
        return is_date.then_some(day.1 + rest_at + last_at);
    }
    if !(1..=31).contains(&day.0) || day.1 > 2 {
        return None;
    }
    let sign = rest.chars().next().filter(|sign| matches!(sign, '.' | '/' | '-'))?;
    let after = rest.get(1..)?;
    let blanks = after.len() - after.trim_start_matches(' ').len();
    let after = after.trim_start_matches(' ');
    let so_far = day.1 + 1 + blanks;
    if let Some(month) = number(after) {
        if !(1..=12).contains(&month.0) || month.1 > 2 {
            return None;
        }
        let (year, year_at) = after_sign(after.get(month.1..)?, sign)?;
        return year_of(year).then_some(so_far + month.1 + year_at);
    }
    let name_end = after.find(|letter: char| !letter.is_alphabetic())?;
    let name = after.get(..name_end)?.to_lowercase();
    if !MONTHS.iter().any(|month| name.starts_with(month)) || name.len() > 10 {
        return None;
    }
    let rest = after.get(name_end..)?;
    let year_text = rest.trim_start_matches(['.', ' ']);
    let year = number(year_text)?;
    (year.1 == 4 && is_year(year.0)).then_some(so_far + name_end + rest.len() - year_text.len() + year.1)
}

/// The number after a sign and blanks, and the byte after it.
fn after_sign(text: &str, sign: char) -> Option<((u32, usize), usize)> {
    let after = text.strip_prefix(sign)?;
    let bare = after.trim_start_matches(' ');
    let found = number(bare)?;
    Some((found, 1 + after.len() - bare.len() + found.1))
}

/// The number at the start of a text and its digits.
fn number(text: &str) -> Option<(u32, usize)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    Some((text.get(..end)?.parse().ok()?, end))
}

fn year_of((year, digits): (u32, usize)) -> bool {
    digits == 2 || digits == 4 && is_year(year)
}

fn is_year(year: u32) -> bool {
    (1880..=2100).contains(&year)
}
