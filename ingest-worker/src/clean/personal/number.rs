//! Runs of digits, and whether they are an IBAN, a tax number or a phone number.

use std::ops::Range;

use clara_lifecycle::dataset::Mend;

use super::{
    Finding,
    check_digit::{iban_length, is_iban, is_tax_id, is_vat_id},
    context::{Context, context},
    phone,
};

/// Digits and what separates groups of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// First byte: a digit, or the `+` or `(` before it.
    pub(super) start: usize,
    /// The byte after the last digit.
    pub(super) end: usize,
    /// The digits.
    pub(super) digits: Vec<u8>,
}

/// The run of digits that begins with the digit at `start`: groups separated by one or two of blank, `/`, `-`, `(`, `)`.
pub(super) fn run(text: &str, start: usize) -> Run {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let (mut end, mut at, mut gap) = (start, start, 0);
    let mut digits = Vec::new();
    loop {
        match byte(at) {
            digit @ b'0'..=b'9' => {
                digits.push(digit - b'0');
                end = at + 1;
                gap = 0;
            }
            b' ' | b'/' | b'-' | b'(' | b')' if gap < 3 => gap += 1,
            _ => break,
        }
        at += 1;
    }
    let mut first = start;
    while first > 0 && matches!(byte(first - 1), b'+' | b'(') {
        first -= 1;
    }
    Run { start: first, end, digits }
}

/// An IBAN, tax number or phone number at a run.
pub(super) fn classify(text: &str, run: &Run) -> Option<Finding> {
    let of = |range: Range<usize>, kind| Some(Finding { range, kind });
    if let Some(range) = iban(text, run) {
        return of(range, Mend::Iban);
    }
    if run.digits.len() < 6 || !stands_alone(text, run) {
        return vat_id(text, run).and_then(|range| of(range, Mend::TaxNumber));
    }
    let context = context(text, run.start);
    let range = run.start..run.end;
    let groups = groups(text, run);
    if is_tax_number(&groups, run, context, text) {
        return of(range, Mend::TaxNumber);
    }
    if let Some(range) = phone::find(text, run, &groups, context) {
        return of(range, Mend::Phone);
    }
    None
}

/// Two letters stand before the first digits of an IBAN.
fn iban(text: &str, run: &Run) -> Option<Range<usize>> {
    let start = run.start.checked_sub(2)?;
    let country = text.get(start..run.start)?;
    let length = iban_length(country)?;
    let is_inner = text.get(..start)?.ends_with(|letter: char| letter.is_alphanumeric());
    if is_inner {
        return None;
    }
    let mut compact = String::with_capacity(length);
    let mut gap = 0;
    for (offset, letter) in text.get(start..)?.char_indices() {
        if letter.is_ascii_alphanumeric() {
            compact.push(letter.to_ascii_uppercase());
            gap = 0;
        } else if letter == ' ' && gap == 0 {
            gap = 1;
        } else {
            return None;
        }
        if compact.len() == length {
            let end = start + offset + 1;
            let goes_on = text.get(end..)?.starts_with(|letter: char| letter.is_alphanumeric());
            return (!goes_on && is_iban(&compact)).then_some(start..end);
        }
    }
    None
}

/// `DE` and nine digits.
fn vat_id(text: &str, run: &Run) -> Option<Range<usize>> {
    let before =
        text.get(..run.start)?.strip_suffix("DE").or_else(|| text.get(..run.start)?.strip_suffix("DE "))?;
    let is_inner = before.ends_with(|letter: char| letter.is_alphanumeric());
    (!is_inner && is_vat_id(&run.digits)).then_some(before.len()..run.end)
}

/// Whether no letter, digit or sign ties the run to more, as in `1.000`, `A12` or `2,5`.
fn stands_alone(text: &str, run: &Run) -> bool {
    let before = text.get(..run.start).unwrap_or_default();
    let after = text.get(run.end..).unwrap_or_default();
    let is_tied = |letter: char| letter.is_alphanumeric() || letter == '_';
    if before.ends_with(is_tied) || after.starts_with(is_tied) {
        return false;
    }
    let mut before = before.chars().rev();
    let mut after = after.chars();
    let ties = |sign: Option<char>, next: Option<char>| {
        matches!(sign, Some('.' | ',' | ':' | '/' | '-')) && next.is_some_and(|next| next.is_ascii_digit())
    };
    !ties(before.next(), before.next()) && !ties(after.next(), after.next())
}

/// Lengths of the groups of digits and the sign before each.
pub(super) fn groups(text: &str, run: &Run) -> Vec<(char, usize)> {
    let mut groups: Vec<(char, usize)> = Vec::new();
    let mut sign = ' ';
    let mut is_open = false;
    for letter in text.get(run.start..run.end).unwrap_or_default().chars() {
        if letter.is_ascii_digit() {
            match groups.last_mut() {
                Some((_, length)) if is_open => *length += 1,
                _ => groups.push((sign, 1)),
            }
            is_open = true;
            sign = ' ';
        } else {
            is_open = false;
            // A slash between blanks is still a slash.
            sign = if letter == ' ' { sign } else { letter };
        }
    }
    groups
}

/// A tax id by its check digit; a tax number by its three groups, or by the word before it. The check digits of tax numbers
/// differ from state to state and are not looked at.
fn is_tax_number(groups: &[(char, usize)], run: &Run, context: Context, text: &str) -> bool {
    let lengths: Vec<usize> = groups.iter().map(|(_, length)| *length).collect();
    let is_id_form = matches!(lengths.as_slice(), [11] | [2, 3, 3, 3]);
    if is_id_form && is_tax_id(&run.digits) && context != Context::Phone {
        return true;
    }
    if context == Context::Tax && (10..=13).contains(&run.digits.len()) {
        return true;
    }
    let with_slashes =
        text.get(run.start..run.end).is_some_and(|run| run.matches('/').count() == 2 && !run.contains(' '));
    with_slashes
        && matches!(context, Context::None | Context::Tax)
        && matches!(lengths.as_slice(), [2 | 3, 3, 5] | [3, 4, 4])
}
