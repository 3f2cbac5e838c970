//! Reads Markdown files: the text without the front matter, which says something about it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::whole::{WholeText, plain};
use crate::clean::language::short_code;

const MARK: &str = "---";
const END_MARKS: [&str; 2] = [MARK, "..."];

/// How a text begins.
enum Front<'a> {
    /// With text.
    Missing,
    /// With entries of a block that ends nowhere, or not before this line, which is no part of such a block.
    Unclosed { line: usize },
    /// With this block of YAML, and the text after it.
    Block(&'a str, &'a str),
}

/// The text of a `.md` file, with domain, licence, `title` and `language` of its front matter.
///
/// # Errors
/// When it is no UTF-8.
pub(super) fn understand(bytes: &[u8]) -> Result<WholeText, String> {
    let whole = plain(bytes)?;
    let (front, text) = match front_matter(&whole.text) {
        Front::Missing => return Ok(whole),
        Front::Unclosed { line } => {
            let doubt = format!(
                "its front matter is not closed before line {line}, so that it stays in the text; end it by a line `---`"
            );
            return Ok(WholeText { doubt: Some(doubt), ..whole });
        }
        Front::Block(front, text) => (front, text),
    };
    let about = |names: &[&str]| names.iter().find_map(|name| value(front, name));
    let language = about(&["lang", "language"]).map(|code| short_code(&code));
    let metadata = [("title", about(&["title"])), ("language", language)];
    let metadata: BTreeMap<String, String> =
        metadata.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Ok(WholeText {
        text: text.to_owned(),
        domain: about(&["domain"]),
        licence: about(&["license", "licence"]),
        metadata,
        ..WholeText::default()
    })
}

/// What a text begins with. Lines between two rules that are no YAML are text.
fn front_matter(text: &str) -> Front<'_> {
    let opened = text.strip_prefix(MARK).map(|rest| rest.trim_start_matches([' ', '\t']));
    let Some(block) = opened.and_then(|rest| rest.strip_prefix('\n')) else { return Front::Missing };
    let mut has_entry = false;
    let (mut bytes, mut number) = (0, 1);
    for line in block.split_inclusive('\n') {
        number += 1;
        if END_MARKS.contains(&line.trim_end()) {
            if !has_entry {
                return Front::Missing;
            }
            let (front, rest) = block.split_at(bytes);
            let rest = rest.strip_prefix(line).unwrap_or(rest);
            return Front::Block(front, rest.trim_start_matches('\n'));
        }
        bytes += line.len();
        let is_continued = line.starts_with([' ', '\t', '-', '#', ']', '}']) || line.trim().is_empty();
        let is_entry = entry(line).is_some();
        if !is_entry && !is_continued {
            return if has_entry { Front::Unclosed { line: number } } else { Front::Missing };
        }
        has_entry |= is_entry;
    }
    if has_entry { Front::Unclosed { line: number + 1 } } else { Front::Missing }
}

/// Name and value of a line such as `title: Bauen`.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_end().split_once(':')?;
    let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let is_entry =
        !name.is_empty() && name.chars().all(is_name) && (value.is_empty() || value.starts_with(' '));
    is_entry.then_some((name, value.trim()))
}

/// A text that the front matter names; lists, objects and texts of several lines are none.
fn value(front: &str, name: &str) -> Option<String> {
    let mut entries = front.lines().filter_map(entry);
    let (_, value) = entries.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    for quote in ['"', '\''] {
        if let Some(quoted) = value.strip_prefix(quote) {
            let (text, _) = quoted.rsplit_once(quote)?;
            return Some(if quote == '"' { text.replace("\\\"", "\"") } else { text.replace("''", "'") });
        }
    }
    let value = value.split(" #").next().unwrap_or(value).trim_end();
    let is_text = !value.is_empty() && !value.starts_with(['|', '>', '[', '{', '&', '*', '#']);
    is_text.then(|| value.to_owned())
}
