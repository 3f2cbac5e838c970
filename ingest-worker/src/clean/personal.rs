//! Finds what identifies people: e-mail addresses, phone numbers, IBANs, tax numbers and dates of birth. Names are left.

mod birth;
mod check_digit;
mod context;
mod email;
mod number;
mod phone;

#[cfg(test)]
mod tests;

use std::ops::Range;

use clara_lifecycle::dataset::Mend;

/// What was found, in order, without overlaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Bytes of the text.
    pub(crate) range: Range<usize>,
    /// E-mail, phone, IBAN, tax number or date of birth.
    pub(crate) kind: Mend,
}

/// All personal data of a text.
pub(crate) fn find(text: &str) -> Vec<Finding> {
    let bytes = text.as_bytes();
    let mut findings = email::find(text);
    let mut at = 0;
    // All other kinds hold digits.
    while let Some(digit) = bytes.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit)) {
        let start = at + digit;
        let run = number::run(text, start);
        match number::classify(text, &run).or_else(|| birth::find(text, &run)) {
            Some(finding) => {
                at = finding.range.end.max(run.end);
                findings.push(finding);
            }
            None => at = run.end.max(start + 1),
        }
    }
    findings.sort_by_key(|finding| (finding.range.start, usize::MAX - finding.range.end));
    let mut end = 0;
    findings.retain(|finding| {
        let is_apart = finding.range.start >= end;
        end = if is_apart { finding.range.end } else { end };
        is_apart
    });
    findings
}

/// The text with a word in place of each finding.
pub(crate) fn masked(text: &str, findings: &[Finding]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    for finding in findings {
        masked.push_str(text.get(at..finding.range.start).unwrap_or_default());
        masked.push_str(mask(finding.kind));
        at = finding.range.end;
    }
    masked.push_str(text.get(at..).unwrap_or_default());
    masked
}

fn mask(kind: Mend) -> &'static str {
    match kind {
        Mend::Email => "[E-MAIL]",
        Mend::Phone => "[TELEFON]",
        Mend::Iban => "[IBAN]",
        Mend::TaxNumber => "[STEUERNUMMER]",
        Mend::BirthDate => "[GEBURTSDATUM]",
        Mend::Encoding
        | Mend::Unicode
        | Mend::Invisible
        | Mend::Hyphenation
        | Mend::Blanks
        | Mend::Boilerplate => "",
    }
}
