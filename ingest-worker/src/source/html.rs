//! Finds the main text of HTML pages, without what surrounds it on every page of a site.

mod nesting;
mod surroundings;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap};

use scraper::{ElementRef, Html, Node, Selector};

use super::{
    flow::{Flow, Gap},
    whole::WholeText,
};
use crate::clean::language::short_code;

/// So far into a page its encoding may be named, in bytes.
const MOST_PRESCANNED_BYTES: usize = 1_024;

/// The main text of a page, with `title`, `heading`, `headings` and `language` as metadata.
///
/// # Errors
/// When its elements are nested too deep.
pub(super) fn understand(bytes: &[u8]) -> Result<WholeText, String> {
    let html = decoded(bytes);
    nesting::check(&html)?;
    let page = Html::parse_document(&html);
    let main = main_element(&page);
    let mut text = Text::default();
    text.read(main);
    let title = first(&page, "title").map(|title| line(title));
    let title = title.filter(|title| !title.is_empty()).or_else(|| text.headings.first().cloned());
    let language = page.root_element().attr("lang").map(short_code);
    let licence = first(&page, r#"link[rel~="license"], a[rel~="license"]"#);
    let about = [
        ("title", title),
        ("heading", text.headings.first().cloned()),
        ("headings", Some(text.headings.join("\n"))),
        ("language", language),
    ];
    let metadata: BTreeMap<String, String> = about
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| !value.trim().is_empty())?)))
        .collect();
    Ok(WholeText {
        text: text.flow.finish(),
        licence: licence.and_then(|link| link.attr("href")).map(str::to_owned),
        metadata,
        ..WholeText::default()
    })
}

/// By the byte order mark, as UTF-8 where it is that, by what the page says, or as Windows-1252 as browsers do.
fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    if encoding_rs::Encoding::for_bom(bytes).is_none()
        && let Ok(text) = str::from_utf8(bytes)
    {
        return Cow::Borrowed(text);
    }
    let start = bytes.get(..MOST_PRESCANNED_BYTES).unwrap_or(bytes);
    let start = String::from_utf8_lossy(start).to_lowercase();
    let named = start.split_once("charset=").map(|(_, rest)| rest.trim_start_matches(['"', '\'', ' ']));
    let named = named.and_then(|name| name.split(['"', '\'', ' ', '>', ';', '/']).next());
    let encoding = named.and_then(|name| encoding_rs::Encoding::for_label(name.as_bytes()));
    encoding.unwrap_or(encoding_rs::WINDOWS_1252).decode(bytes).0
}

/// The element that the author marked as the main one, or the body.
fn main_element(page: &Html) -> ElementRef<'_> {
    for marks in [r#"main, [role="main"]"#, "article"] {
        let Ok(selector) = Selector::parse(marks) else { continue };
        let mut elements = page.select(&selector);
        // Several articles are a list of them, such as a blog's.
        if let (Some(main), None) = (elements.next(), elements.next()) {
            return main;
        }
    }
    first(page, "body").unwrap_or_else(|| page.root_element())
}

fn first<'a>(page: &'a Html, marks: &str) -> Option<ElementRef<'a>> {
    page.select(&Selector::parse(marks).ok()?).next()
}

fn line(element: ElementRef<'_>) -> String {
    element.text().flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// The text of an element that grows while its tree is walked.
#[derive(Debug, Default)]
struct Text {
    flow: Flow,
    headings: Vec<String>,
    heading: Option<Flow>,
    /// Open `pre` elements.
    verbatim: u32,
    /// Open cells of tables.
    cells: u32,
    /// Open lists.
    lists: u32,
}

impl Text {
    /// Walks without recursion, so that no nesting fills the stack.
    fn read(&mut self, main: ElementRef<'_>) {
        let mut node = *main;
        loop {
            let is_read = match node.value() {
                Node::Text(text) => {
                    self.push(text);
                    false
                }
                // The main element itself is read whatever it is called.
                Node::Element(_) => ElementRef::wrap(node).is_some_and(|element| {
                    let is_read = element.id() == main.id() || !surroundings::holds(element, self.lists);
                    if is_read {
                        self.start(element);
                    }
                    is_read
                }),
                _ => false,
            };
            if is_read {
                if let Some(child) = node.first_child() {
                    node = child;
                    continue;
                }
                self.end(node.value());
            }
            while node.id() != main.id() && node.next_sibling().is_none() {
                let Some(parent) = node.parent() else { return };
                node = parent;
                self.end(node.value());
            }
            if node.id() == main.id() {
                return;
            }
            let Some(sibling) = node.next_sibling() else { return };
            node = sibling;
        }
    }

    fn push(&mut self, text: &str) {
        self.flow.push(text, self.verbatim > 0);
        if let Some(heading) = &mut self.heading {
            heading.push(text, false);
        }
    }

    fn start(&mut self, element: ElementRef<'_>) {
        let name = element.value().name();
        match name {
            "br" | "li" | "tr" | "dt" | "dd" => self.widen(Gap::Line),
            "td" | "th" => {
                let mut earlier = element.prev_siblings().filter_map(ElementRef::wrap);
                if earlier.any(|cell| matches!(cell.value().name(), "td" | "th")) {
                    self.flow.end_cell();
                }
                self.cells += 1;
            }
            _ if is_block(name) => self.widen(Gap::Paragraph),
            _ => {}
        }
        match name {
            "pre" => self.verbatim += 1,
            "ul" | "ol" | "menu" => self.lists += 1,
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading = Some(Flow::default()),
            _ => {}
        }
    }

    fn end(&mut self, node: &Node) {
        let Some(name) = node.as_element().map(scraper::node::Element::name) else { return };
        match name {
            "pre" => self.verbatim = self.verbatim.saturating_sub(1),
            "td" | "th" => self.cells = self.cells.saturating_sub(1),
            "ul" | "ol" | "menu" => self.lists = self.lists.saturating_sub(1),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                let heading = self.heading.take().map(|heading| heading.line());
                self.headings.extend(heading.filter(|heading| !heading.is_empty()));
            }
            _ => {}
        }
        if is_block(name) {
            self.widen(Gap::Paragraph);
        }
    }

    /// Asks for a gap, within a cell for a blank at most: a row is one line. So are the lines of a nested list.
    fn widen(&mut self, gap: Gap) {
        let most = match (self.cells, self.lists) {
            (0, 0 | 1) => Gap::Paragraph,
            (0, _) => Gap::Line,
            _ => Gap::Blank,
        };
        self.flow.widen(gap.min(most));
        if let Some(heading) = &mut self.heading {
            heading.widen(Gap::Blank);
        }
    }
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "blockquote"
            | "body"
            | "caption"
            | "center"
            | "details"
            | "div"
            | "dl"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hr"
            | "main"
            | "menu"
            | "ol"
            | "p"
            | "pre"
            | "section"
            | "summary"
            | "table"
            | "ul"
    )
}
