//! E-mail addresses, those with `(at)` or `[at]` too.

use clara_lifecycle::dataset::Mend;

use super::Finding;

/// What stands between name and host.
const SIGNS: [&str; 7] = ["@", "(at)", "[at]", " (at) ", " [at] ", "{at}", "(AT)"];

/// All addresses of a text.
pub(super) fn find(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.bytes().any(|byte| matches!(byte, b'@' | b'(' | b'[' | b'{')) {
        return findings;
    }
    for sign in SIGNS {
        for (at, _) in text.match_indices(sign) {
            let name = name_before(text, at);
            let end = host_after(text, at + sign.len());
            if let (Some(start), Some(end)) = (name, end) {
                findings.push(Finding { range: start..end, kind: Mend::Email });
            }
        }
    }
    findings
}

fn name_before(text: &str, at: usize) -> Option<usize> {
    let before = text.get(..at)?;
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '%' | '+' | '-');
    let start = before.char_indices().rev().take_while(|(_, letter)| is_part(*letter)).last()?.0;
    let name = before.get(start..)?;
    let skipped = name.len() - name.trim_start_matches(['.', '-', '%', '+']).len();
    (skipped < name.len()).then_some(start + skipped)
}

fn host_after(text: &str, at: usize) -> Option<usize> {
    let after = text.get(at..)?;
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-');
    let end = after.find(|letter: char| !is_part(letter)).unwrap_or(after.len());
    let host = after.get(..end)?.trim_end_matches(['.', '-']);
    let (name, top) = host.rsplit_once('.')?;
    let is_host = !name.is_empty() && top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
    is_host.then_some(at + host.len())
}
