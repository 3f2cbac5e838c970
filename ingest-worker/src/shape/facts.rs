//! What is known about a running text: its heading, its law and section, and where it is from.

use std::collections::BTreeMap;

use clara_lifecycle::id::Domain;
use serde_json::{Map, Value};

use crate::source::Document;

/// Metadata that may name the law of a document, the short name first.
pub(crate) const LAW_FIELDS: [&str; 5] = ["law", "jurabk", "gesetz", "statute", "law_title"];
/// Metadata that may name its section or article.
pub(crate) const SECTION_FIELDS: [&str; 4] = ["section", "paragraph", "enbez", "paragraf"];
/// Metadata that may be its heading.
const HEADING_FIELDS: [&str; 5] = ["heading", "title", "titel", "überschrift", "ueberschrift"];
/// Metadata that may say where a document is from.
const SOURCE_FIELDS: [&str; 4] = ["source", "url", "title", "file"];
/// A longer first line is no heading, in characters.
const HEADING_CHARS: usize = 100;

/// What is known about a running text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts<'a> {
    /// Its heading, on one line.
    pub(crate) heading: Option<String>,
    /// Law, section and both together, e.g. `§ 35 VwVfG`.
    pub(crate) law: Option<&'a str>,
    pub(crate) section: Option<String>,
    pub(crate) provision: Option<String>,
    /// The text, without the heading where that is its first line.
    pub(crate) body: &'a str,
    metadata: &'a BTreeMap<String, String>,
}

impl<'a> Facts<'a> {
    /// Looks at metadata, and at the first line where no metadata is a heading.
    pub(crate) fn of(document: &'a Document, text: &'a str) -> Self {
        let metadata = &document.metadata;
        let law = first_of(metadata, &LAW_FIELDS);
        let section = first_of(metadata, &SECTION_FIELDS).map(spelled_section);
        let provision = law.zip(section.as_ref()).map(|(law, section)| format!("{section} {law}"));
        let text = text.trim();
        let (heading, body) = match first_of(metadata, &HEADING_FIELDS) {
            Some(heading) => (Some(heading), without_heading(text, heading)),
            None => match first_line_heading(text) {
                Some((heading, body)) => (Some(heading), body),
                None => (None, text),
            },
        };
        let heading = heading.map(one_line).filter(|heading| !heading.is_empty());
        Self { heading, law, section, provision, body, metadata }
    }

    /// What stands over the text: `§ 35 VwVfG Begriff des Verwaltungsaktes`.
    pub(crate) fn title(&self) -> Option<String> {
        let parts = [self.provision.as_deref(), self.heading.as_deref()];
        let title = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        (!title.is_empty()).then_some(title)
    }

    /// Where the text is from, as a reader would cite it: the provision, or what metadata names.
    pub(crate) fn source(&self) -> Option<String> {
        let named = || first_of(self.metadata, &SOURCE_FIELDS).map(|source| format!("Quelle: {source}"));
        self.provision.clone().or_else(named)
    }

    /// What templates know: all metadata that is not blank, `a.b` as `b` of `a`; `id`, `domain`, and `heading`, `law`,
    /// `section`, `provision` whatever the fields are called.
    pub(crate) fn context(&self, document: &Document, domain: &Domain) -> Map<String, Value> {
        let mut context = Map::new();
        for (name, value) in self.metadata {
            if !value.trim().is_empty() {
                insert(&mut context, name, one_line(value));
            }
        }
        let domain = document.domain.clone().unwrap_or_else(|| domain.to_string());
        context.insert("id".into(), document.id.clone().into());
        context.insert("domain".into(), domain.into());
        let found = [
            ("heading", self.heading.clone()),
            ("law", self.law.map(one_line)),
            ("section", self.section.clone()),
            ("provision", self.provision.clone()),
        ];
        for (name, value) in found {
            if let Some(value) = value {
                context.insert(name.into(), value.into());
            }
        }
        context
    }
}

fn first_of<'a>(metadata: &'a BTreeMap<String, String>, fields: &[&str]) -> Option<&'a str> {
    let mut values = fields.iter().filter_map(|field| metadata.get(*field));
    values.find(|value| !value.trim().is_empty()).map(|value| value.trim())
}

/// `35` and `Art 14` as `§ 35` and `Art. 14`.
fn spelled_section(section: &str) -> String {
    match section.strip_prefix("Art ") {
        Some(number) => format!("Art. {number}"),
        None if section.starts_with(|first: char| first.is_ascii_digit()) => format!("§ {section}"),
        None => section.to_owned(),
    }
}

/// A first line that is a heading, and the text after it: a Markdown heading, or a short line without a full stop
/// before a blank line.
fn first_line_heading(text: &str) -> Option<(&str, &str)> {
    let (first, rest) = text.split_once('\n')?;
    let (first, body) = (first.trim(), rest.trim());
    let heading = match first.strip_prefix('#') {
        Some(marked) => marked.trim_start_matches('#').trim(),
        None => first,
    };
    let is_marked = heading.len() < first.len();
    let stands_alone = rest.lines().next().is_some_and(|line| line.trim().is_empty());
    let is_heading = is_marked || (stands_alone && !first.ends_with(['.', ',', ';', ':']));
    let is_short = heading.chars().count() <= HEADING_CHARS;
    (is_heading && is_short && !heading.is_empty() && !body.is_empty()).then_some((heading, body))
}

/// The text without first lines that are its heading: a page may have it as its title and over its text.
fn without_heading<'a>(text: &'a str, heading: &str) -> &'a str {
    let heading = one_line(heading);
    let mut body = text;
    while let Some((first, rest)) = body.split_once('\n') {
        if rest.trim().is_empty() || one_line(first.trim_start().trim_start_matches('#')) != heading {
            break;
        }
        body = rest.trim_start();
    }
    body
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn insert(context: &mut Map<String, Value>, name: &str, value: String) {
    let Some((outer, inner)) = name.split_once('.') else {
        context.insert(name.into(), value.into());
        return;
    };
    let fields = context.entry(outer).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(fields) = fields {
        insert(fields, inner, value);
    }
}
