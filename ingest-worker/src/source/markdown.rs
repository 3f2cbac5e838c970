//! Reads Markdown files: the text without the front matter, which says something about it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::whole::{WholeText, plain};
use crate::clean::language::short_code;

const MARK: &str = "---";
const END_MARKS: [&str; 2] = [MARK, "..."];

/// The text of a `.md` file, with `title` and `language` of its front matter as metadata.
///
/// # Errors
/// When it is no UTF-8.
pub(super) fn understand(bytes: &[u8]) -> Result<WholeText, String> {
    let whole = plain(bytes)?;
    let Some((front, text)) = front_matter(&whole.text) else { return Ok(whole) };
    let about = |names: &[&str]| names.iter().find_map(|name| value(front, name));
    let language = about(&["lang", "language"]).map(|code| short_code(&code));
    let metadata = [("title", about(&["title"])), ("language", language)];
    let metadata: BTreeMap<String, String> =
        metadata.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Ok(WholeText { text: text.to_owned(), licence: about(&["license", "licence"]), metadata, missing: None })
}

/// The block of YAML that a text begins with and the text after it. Lines between two rules that are no YAML are text.
fn front_matter(text: &str) -> Option<(&str, &str)> {
    let block = text.strip_prefix(MARK)?.trim_start_matches([' ', '\t']).strip_prefix('\n')?;
    let mut has_entry = false;
    let mut bytes = 0;
    for line in block.split_inclusive('\n') {
        if END_MARKS.contains(&line.trim_end()) {
            let rest = block.get(bytes + line.len()..)?;
            return has_entry.then_some((block.get(..bytes)?, rest.trim_start_matches('\n')));
        }
        bytes += line.len();
        let is_continued = line.starts_with([' ', '\t', '-', '#', ']', '}']) || line.trim().is_empty();
        let is_entry = entry(line).is_some();
        if !is_entry && !is_continued {
            return None;
        }
        has_entry |= is_entry;
    }
    None
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
