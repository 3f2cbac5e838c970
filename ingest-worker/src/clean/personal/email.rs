//! E-mail addresses, also those that are written against programs that collect them: `peter [at] amt [dot] de`.

use std::ops::Range;

use clara_lifecycle::dataset::Mend;

use super::Finding;

/// Signs between name and host that are not disguised.
const SIGNS: [&str; 3] = ["@", "＠", "&#64;"];
const BRACKETS: [(char, char); 4] = [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>')];
/// Words for the sign and for a dot, in brackets of any kind and in any case.
const AT: [&str; 2] = ["at", "ät"];
const DOT: [&str; 3] = ["dot", "punkt", "."];
/// The same without brackets: common words, so that they count only where the rest of the address leaves no doubt.
const BARE_AT: [&str; 2] = [" at ", " AT "];
const BARE_DOT: [&str; 4] = [" dot ", " DOT ", " punkt ", " PUNKT "];
/// After a bare word for a dot, more letters than these are an ordinary word and no top-level domain.
const LONGEST_BARE_TOP: usize = 4;

/// How something is written, the plainest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Writing {
    Sign,
    Brackets,
    Bare,
}

/// A place that may stand between name and host.
#[derive(Debug, Clone)]
struct At {
    range: Range<usize>,
    writing: Writing,
    /// Whether it counts only beside dots that are disguised, too: ` (AT) ` is Austria.
    is_doubtful: bool,
}

/// All addresses of a text.
pub(super) fn find(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for at in places(text) {
        let (before, after) = (text.get(..at.range.start), text.get(at.range.end..));
        let name = before.and_then(|before| name(before, at.writing));
        let host = after.and_then(|after| host(after, at.writing));
        if let (Some((start, is_distinct)), Some((bytes, dots))) = (name, host) {
            let is_address = match at.writing {
                Writing::Sign => true,
                Writing::Brackets => !at.is_doubtful || dots > Writing::Sign,
                // `me at example dot com` names a site, `a.b at example dot com` an address.
                Writing::Bare => {
                    dots == Writing::Brackets || (dots == Writing::Bare && (!at.is_doubtful || is_distinct))
                }
            };
            if is_address {
                findings.push(Finding { range: start..at.range.end + bytes, kind: Mend::Email });
            }
        }
    }
    findings
}

fn places(text: &str) -> Vec<At> {
    let mut places = Vec::new();
    for sign in SIGNS {
        places.extend(text.match_indices(sign).map(|(start, sign)| At {
            range: start..start + sign.len(),
            writing: Writing::Sign,
            is_doubtful: false,
        }));
    }
    for (open, _) in BRACKETS {
        for (start, _) in text.match_indices(open) {
            let Some(rest) = text.get(start..).and_then(|rest| after_bracketed(rest, &AT)) else { continue };
            let blanks =
                text.get(..start).map_or(0, |before| before.len() - before.trim_end_matches(' ').len());
            let range = start - blanks..text.len() - rest.len();
            let is_upper = text.get(range.clone()).is_some_and(|at| at.contains("AT"));
            let is_doubtful = open == '(' && blanks > 0 && is_upper;
            places.push(At { range, writing: Writing::Brackets, is_doubtful });
        }
    }
    for word in BARE_AT {
        places.extend(text.match_indices(word).map(|(start, word)| At {
            range: start..start + word.len(),
            writing: Writing::Bare,
            is_doubtful: word == " at ",
        }));
    }
    places
}

/// Where the name at the end of `before` begins, and whether it has several parts.
fn name(before: &str, at: Writing) -> Option<(usize, bool)> {
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '%' | '+' | '-');
    let mut start = before.len();
    let mut rest = before;
    let mut is_distinct = false;
    loop {
        let above = rest.trim_end_matches(is_part);
        if above.len() == rest.len() {
            break;
        }
        start = above.len();
        is_distinct |= rest.get(start..).is_some_and(|part| part.trim_matches('.').contains(['.', '_']));
        let bare = BARE_DOT.iter().find_map(|dot| above.strip_suffix(dot)).filter(|_| at == Writing::Bare);
        let Some(longer) = before_bracketed(above, &DOT).or(bare) else { break };
        if !longer.ends_with(is_part) {
            break;
        }
        (rest, is_distinct) = (longer, true);
    }
    let name = before.get(start..)?;
    let skipped = name.len() - name.trim_start_matches(['.', '-', '%', '+']).len();
    (skipped < name.len()).then_some((start + skipped, is_distinct))
}

/// The bytes of the host that `after` begins with, and how its dots are written.
fn host(after: &str, at: Writing) -> Option<(usize, Writing)> {
    let mut rest = after_label(after)?;
    let mut dots = Writing::Sign;
    let mut has_sign = false;
    let mut found = None;
    loop {
        let bare = || {
            let is_allowed = at != Writing::Sign && !has_sign;
            BARE_DOT.iter().find_map(|dot| rest.strip_prefix(dot)).filter(|_| is_allowed)
        };
        let (writing, label) = if let Some(label) = rest.strip_prefix('.') {
            (Writing::Sign, label)
        } else if let Some(label) = after_bracketed(rest.trim_start_matches(' '), &DOT) {
            (Writing::Brackets, label)
        } else if let Some(label) = bare() {
            (Writing::Bare, label)
        } else {
            return found;
        };
        let Some(next) = after_label(label) else { return found };
        let top = label.get(..label.len() - next.len()).unwrap_or_default();
        let most = if writing == Writing::Bare { LONGEST_BARE_TOP } else { usize::MAX };
        (rest, dots, has_sign) = (next, dots.max(writing), has_sign || writing == Writing::Sign);
        if (2..=most).contains(&top.chars().count()) && top.chars().all(char::is_alphabetic) {
            found = Some((after.len() - rest.len(), dots));
        }
    }
}

/// What follows a part of a host's name.
fn after_label(text: &str) -> Option<&str> {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '-').unwrap_or(text.len());
    let label = text.get(..end)?.trim_end_matches('-');
    if label.is_empty() { None } else { text.get(label.len()..) }
}

/// What follows one of the words in brackets, and the blanks around it.
fn after_bracketed<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    let (open, close) = BRACKETS.into_iter().find(|(open, _)| text.starts_with(*open))?;
    let inner = text.strip_prefix(open)?.trim_start_matches(' ');
    let rest = words.iter().find_map(|word| {
        let found = inner.get(..word.len())?;
        if found.to_lowercase() == **word { inner.get(word.len()..) } else { None }
    })?;
    Some(rest.trim_start_matches(' ').strip_prefix(close)?.trim_start_matches(' '))
}

/// What precedes one of the words in brackets, and the blanks around it.
fn before_bracketed<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    let text = text.trim_end_matches(' ');
    let (open, close) = BRACKETS.into_iter().find(|(_, close)| text.ends_with(*close))?;
    let inner = text.strip_suffix(close)?.trim_end_matches(' ');
    let rest = words.iter().find_map(|word| {
        let start = inner.len().checked_sub(word.len())?;
        let found = inner.get(start..)?;
        if found.to_lowercase() == **word { inner.get(..start) } else { None }
    })?;
    Some(rest.trim_end_matches(' ').strip_suffix(open)?.trim_end_matches(' '))
}
