//! What all pages share: head, navigation, and small pieces.

use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::{Visitor, assets};

/// The part of the site that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Jobs,
    Registry,
    Review,
    Golden,
    Api,
    None,
}

/// Title and place of a page.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    title: String,
    section: Section,
    scripts: Vec<&'static str>,
    is_live: bool,
}

const SECTIONS: [(Section, &str, &str); 6] = [
    (Section::Overview, "/", "Overview"),
    (Section::Jobs, "/jobs", "Jobs"),
    (Section::Registry, "/registry", "Registry"),
    (Section::Review, "/review", "Review"),
    (Section::Golden, "/golden", "Golden datasets"),
    (Section::Api, "/api", "API"),
];

impl Page {
    pub(crate) fn new(title: impl Into<String>, section: Section) -> Self {
        Self { title: title.into(), section, scripts: Vec::new(), is_live: false }
    }

    /// With a script file of the assets that makes it nicer; it must be readable without.
    #[must_use]
    pub(crate) fn with_script(mut self, path: &'static str) -> Self {
        self.scripts.push(path);
        self
    }

    /// Its parts with `data-live` and an id are loaded again every few seconds.
    #[must_use]
    pub(crate) fn live(mut self) -> Self {
        self.is_live = true;
        self
    }

    /// The whole page around `body`.
    pub(crate) fn show(&self, visitor: &Visitor, body: &Markup) -> Response {
        Html(self.text(visitor, body)).into_response()
    }

    fn text(&self, visitor: &Visitor, body: &Markup) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Clara" }
                    link rel="icon" href=(assets::versioned("icon.svg")) type="image/svg+xml";
                    link rel="stylesheet" href=(assets::versioned("clara.css"));
                    script src=(assets::versioned("clara.js")) defer {}
                    @for script in &self.scripts { script src=(assets::versioned(script)) defer {} }
                }
                body data-refresh[self.is_live] {
                    a.skip href="#content" { "Skip to the content" }
                    header.top {
                        a.brand href="/" { "Clara" }
                        nav aria-label="Main" {
                            @for (section, path, name) in SECTIONS {
                                a href=(path) aria-current=[(section == self.section).then_some("page")] { (name) }
                            }
                        }
                        a.who href="/name" title="Your name in the audit log" { (visitor.name().unwrap_or("who are you?")) }
                    }
                    main id="content" { (body) }
                }
            }
        };
        page.into_string()
    }
}

/// A state as a small coloured word; the class is made of the word's letters alone.
pub(crate) fn badge(state: &str) -> Markup {
    let class: String = state.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let words = state.replace('_', " ");
    html! { span class={ "badge " (class) } { (words) } }
}

/// Long text in a fold, short text as it is; nothing in it can become markup.
pub(crate) fn folded(summary: &str, text: &str) -> Markup {
    html! {
        @if text.chars().count() <= FOLD_FROM && text.lines().count() <= FOLD_FROM_LINES {
            div.text { (text) }
        } @else {
            details { summary { (summary) } div.text { (text) } }
        }
    }
}

const FOLD_FROM: usize = 280;
const FOLD_FROM_LINES: usize = 6;

/// A mean with its one-sided bounds on a bar from 0 to 100.
pub(crate) fn score_bar(mean: Option<f64>, bounds: Option<(f64, f64)>) -> Markup {
    let Some(mean) = mean else { return html! { span.faint { "no score" } } };
    let label = bounds.map_or_else(
        || format!("{mean:.1} of 100"),
        |(low, high)| format!("{mean:.1} of 100, bounds {low:.1} to {high:.1}"),
    );
    html! {
        span.score {
            svg.bar viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label=(label) {
                title { (label) }
                rect.track x="0" y="4" width="100" height="4" rx="2" {}
                @if let Some((low, high)) = bounds {
                    rect.interval x=(low.clamp(0.0, 100.0)) y="2" width=((high - low).clamp(0.6, 100.0)) height="8" rx="2" {}
                }
                rect.mean x=((mean - 0.8).clamp(0.0, 98.4)) y="0" width="1.6" height="12" {}
            }
            b { (format!("{mean:.1}")) }
        }
    }
}

/// Names and values side by side.
pub(crate) fn fields(rows: &[(&str, Markup)]) -> Markup {
    html! { dl.fields { @for (name, value) in rows { dt { (name) } dd { (value) } } } }
}

/// Text as markup, escaped.
pub(crate) fn text(words: impl AsRef<str>) -> Markup {
    html! { (words.as_ref()) }
}
