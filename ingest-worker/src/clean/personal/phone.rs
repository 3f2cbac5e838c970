//! Phone numbers in the forms that are usual in Germany.

use std::ops::Range;

use super::{context::Context, number::Run};

/// Digits of a number with the word `Tel.` or the like before it, and without.
const WITH_CONTEXT: std::ops::RangeInclusive<usize> = 6..=15;
const WITHOUT_CONTEXT: std::ops::RangeInclusive<usize> = 9..=13;

/// The phone number at a run of digits whose groups have these signs and lengths.
pub(super) fn find(
    text: &str,
    run: &Run,
    groups: &[(char, usize)],
    context: Context,
) -> Option<Range<usize>> {
    let written = text.get(run.start..run.end)?;
    let count = run.digits.len();
    let is_phone = match context {
        Context::OtherNumber | Context::Tax => false,
        Context::Phone => WITH_CONTEXT.contains(&count),
        Context::None if written.starts_with('+') => {
            (9..=15).contains(&count) && run.digits.first() != Some(&0)
        }
        Context::None if run.digits.starts_with(&[0, 0]) => {
            (11..=15).contains(&count) && run.digits.get(2).is_some_and(|digit| *digit != 0)
        }
        Context::None => {
            WITHOUT_CONTEXT.contains(&count) && is_national(run, groups) && !ends_in_year(run, groups)
        }
    };
    // The bracket before an area code belongs to the number, one that opens a sentence aside does not.
    let start = if written.starts_with('(') && !written.contains(')') { run.start + 1 } else { run.start };
    is_phone.then_some(start..run.end)
}

/// An area code that begins with one zero, a sign or blank after it, and a number that is no date: `030 1234567`, `(0761) 12-34 56`, or
/// all digits of a mobile number in one row: `01711234567`.
fn is_national(run: &Run, groups: &[(char, usize)]) -> bool {
    let area = groups.first().map(|(_, length)| *length).unwrap_or_default();
    let starts_well = run.digits.first() == Some(&0) && run.digits.get(1).is_some_and(|digit| *digit != 0);
    let is_mobile = run.digits.starts_with(&[0, 1]) && matches!(run.digits.get(2), Some(5..=7));
    if !starts_well {
        return false;
    }
    match groups {
        [_] => is_mobile && (11..=12).contains(&run.digits.len()),
        // Pairs such as `05-06 07-08` are days or months; a subscriber's number begins with a longer group or has few groups.
        _ => (3..=5).contains(&area) && groups.len() <= 6,
    }
}

/// File numbers end in a year: `0123 456/20`, `0123-456/2020`.
fn ends_in_year(run: &Run, groups: &[(char, usize)]) -> bool {
    let [.., (sign, length)] = groups else { return false };
    let is_long_year = *length == 4
        && matches!(run.digits.get(run.digits.len().saturating_sub(4)..), Some([1, 9, ..] | [2, 0, ..]));
    groups.len() > 2 && *sign == '/' && (*length == 2 || is_long_year)
}
