//! Finds the lines of page headers, footers and page numbers, by what repeats within one document.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::hashing::{Hashed, hash_bytes};

/// Headers and footers are looked for in so many lines at the edges of a page.
const EDGE_LINES: usize = 3;
/// A line must stand at so many edges, at least, to be a header or footer.
const LEAST_PAGES: usize = 3;
/// Longer lines, in bytes, are taken for text.
const LONGEST_LINE_BYTES: usize = 160;

/// The text without page headers, footers and page numbers, and how many lines went; `None` when it has none.
///
/// Pages end at form feeds, or where a page number stands alone on its line. A header or footer is a line that stands at the edge of at least
/// three pages and of half of them; digits in it do not matter. A line that is no page number and stands nowhere near one stays, however
/// often it repeats.
pub(crate) fn without_page_lines(text: &str) -> Option<(String, u64)> {
    let lines: Vec<&str> = text.split_inclusive(['\n', '\u{C}']).collect();
    let ends = page_ends(&lines);
    if ends.is_empty() {
        return None;
    }
    let edges = edges(&lines, &ends);
    let mut counts: HashMap<u64, usize, Hashed> = HashMap::default();
    for &(_, key) in &edges {
        *counts.entry(key).or_default() += 1;
    }
    let least = LEAST_PAGES.max(ends.len() / 2);
    let mut is_removed = vec![false; lines.len()];
    let repeated = edges.iter().filter(|(_, key)| counts.get(key).is_some_and(|count| *count >= least));
    for index in repeated.map(|(index, _)| *index) {
        mark(&mut is_removed, index);
    }
    for end in &ends {
        if let PageEnd::Number(index) = end {
            mark(&mut is_removed, *index);
        }
    }
    let removed = is_removed.iter().filter(|removed| **removed).count() as u64;
    let has_feeds = text.contains('\u{C}');
    (removed > 0 || has_feeds).then(|| (joined(&lines, &is_removed), removed))
}

/// Where a page ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageEnd {
    /// A form feed ends this line.
    Feed(usize),
    /// This line is a page number.
    Number(usize),
}

impl PageEnd {
    fn line(self) -> usize {
        match self {
            Self::Feed(line) | Self::Number(line) => line,
        }
    }
}

/// Ends of pages in order. Page numbers count when at least two of them rise, and fewer lines than every second are numbers.
fn page_ends(lines: &[&str]) -> Vec<PageEnd> {
    let mut numbers: Vec<(usize, u32)> = Vec::new();
    let mut ends: Vec<PageEnd> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if let Some(number) = page_number(line) {
            numbers.push((index, number));
        }
        if line.ends_with('\u{C}') {
            ends.push(PageEnd::Feed(index));
        }
    }
    let rising = numbers
        .windows(2)
        .filter(|pair| matches!(pair, [(_, one), (_, next)] if one.checked_add(1) == Some(*next)));
    // Numbers that count pages rise by one from page to page; those of a table or a list without text between them do not count.
    let are_pages =
        numbers.len() >= 2 && rising.count() + 1 == numbers.len() && lines.len() > 3 * numbers.len();
    if are_pages {
        ends.extend(numbers.into_iter().map(|(index, _)| PageEnd::Number(index)));
        ends.sort_by_key(|end| end.line());
    }
    ends
}

/// The number of a line such as `- 3 -`, `Seite 3`, `Seite 3 von 12`, `Page 3 of 12`, `3 / 12`.
fn page_number(line: &str) -> Option<u32> {
    let line = line.trim();
    if line.is_empty() || line.len() > 24 || !line.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let bare = line.trim_matches(['-', '–', '—', '[', ']', '|', ' ']);
    let is_framed = bare.len() < line.len();
    let words: Vec<&str> = bare.split([' ', '/', '\t']).filter(|word| !word.is_empty()).collect();
    let (is_named, numbers) = match words.split_first() {
        Some((&("Seite" | "SEITE" | "S." | "Page" | "page" | "Blatt"), rest)) => (true, rest),
        _ => (false, words.as_slice()),
    };
    let (number, is_counted) = match numbers {
        [number] => (number, false),
        [number, "von" | "of" | "/", total] | [number, total] if total.parse::<u32>().is_ok() => {
            (number, true)
        }
        _ => return None,
    };
    let number = number.parse().ok()?;
    // A bare number may be anything: `12` in a table, `3 / 12` in a form.
    (is_named || is_framed || is_counted && bare.contains('/')).then_some(number)
}

/// The lines at the edges of pages with what makes them equal: their letters, digits aside.
fn edges(lines: &[&str], ends: &[PageEnd]) -> Vec<(usize, u64)> {
    let mut edges: Vec<(usize, u64)> = Vec::new();
    for end in ends {
        let at = end.line();
        let before = match end {
            PageEnd::Feed(line) => 0..line + 1,
            PageEnd::Number(line) => 0..*line,
        };
        let upward = before.rev().filter(|index| has_text(lines, *index)).take(EDGE_LINES);
        let downward = (at + 1..lines.len()).filter(|index| has_text(lines, *index)).take(EDGE_LINES);
        edges.extend(upward.chain(downward).filter_map(|index| Some((index, key(lines.get(index)?)?))));
    }
    // The first page has an upper edge, too.
    let first = (0..lines.len()).filter(|index| has_text(lines, *index)).take(EDGE_LINES);
    edges.extend(first.filter_map(|index| Some((index, key(lines.get(index)?)?))));
    edges.sort_unstable();
    edges.dedup();
    edges
}

fn has_text(lines: &[&str], index: usize) -> bool {
    lines.get(index).is_some_and(|line| !line.trim().is_empty())
}

/// Equal for lines that differ in their digits alone; none for a line that reads like text.
fn key(line: &str) -> Option<u64> {
    let line = line.trim();
    if line.len() > LONGEST_LINE_BYTES {
        return None;
    }
    let letters: String = line.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    Some(hash_bytes(letters.as_bytes()))
}

fn mark(is_removed: &mut [bool], index: usize) {
    if let Some(removed) = is_removed.get_mut(index) {
        *removed = true;
    }
}

/// The lines that stay. Where a page broke a sentence, its halves stand on lines that follow each other.
fn joined(lines: &[&str], is_removed: &[bool]) -> String {
    let mut text = String::with_capacity(lines.iter().map(|line| line.len()).sum());
    let mut is_break = false;
    for (line, removed) in lines.iter().zip(is_removed) {
        if !removed {
            let bare = line.trim_end_matches(['\n', '\u{C}']);
            if is_break && bare.trim().is_empty() {
                is_break |= line.ends_with('\u{C}');
                continue;
            }
            if is_break {
                close_break(&mut text);
            }
            text.push_str(bare);
            if line.ends_with(['\n', '\u{C}']) {
                text.push('\n');
            }
            is_break = false;
        }
        is_break |= *removed || line.ends_with('\u{C}');
    }
    if is_break && !text.is_empty() {
        let end = text.trim_end().len();
        text.truncate(end);
        text.push('\n');
    }
    text
}

/// Leaves one line end where a sentence goes on behind the break, an empty line otherwise.
fn close_break(text: &mut String) {
    let end = text.trim_end().len();
    text.truncate(end);
    if !text.is_empty() {
        let is_whole = text.ends_with(['.', ':', ';', '!', '?', ')', '“', '"']);
        text.push_str(if is_whole { "\n\n" } else { "\n" });
    }
}
