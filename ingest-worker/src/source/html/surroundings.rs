//! Tells what surrounds the text of a page on every page of a site: navigation, headers and footers, scripts.

use scraper::{ElementRef, Selector};

/// Elements that never hold the main text.
const LEFT_OUT: &[&str] = &[
    "script", "style", "noscript", "template", "nav", "footer", "aside", "button", "select", "option",
    "input", "textarea", "svg", "canvas", "iframe", "object", "audio", "video", "dialog", "head", "title",
];
/// Roles of elements that never hold it.
const ROLES: &[&str] =
    &["navigation", "banner", "contentinfo", "search", "complementary", "menu", "menubar", "dialog"];
/// Classes and ids that authors give to them.
const NAMES: &[&str] = &[
    "nav",
    "navbar",
    "navigation",
    "menu",
    "breadcrumb",
    "breadcrumbs",
    "sidebar",
    "footer",
    "site-footer",
    "site-header",
    "page-header",
    "page-footer",
    "cookie",
    "cookies",
    "cookie-banner",
    "cookiebar",
    "skip-link",
    "skiplink",
    "skiplinks",
    "pagination",
    "pager",
    "toc",
    "share",
    "social",
];
/// Where a `header` holds the heading of a text, not of the site.
const OF_A_TEXT: &[&str] = &["article", "main", "section"];
/// A list of so many links, whose texts make up this share of its text, is a menu.
const LEAST_LINKS: usize = 3;
const LEAST_LINK_PERCENT: usize = 80;
/// Deeper lists are not looked at on their own: the outermost ones tell.
const MOST_LISTS: u32 = 8;

/// Whether an element, within so many lists, belongs to the surroundings.
pub(super) fn holds(element: ElementRef<'_>, lists: u32) -> bool {
    let value = element.value();
    let name = value.name();
    if LEFT_OUT.contains(&name) || value.attr("hidden").is_some() || value.attr("aria-hidden") == Some("true")
    {
        return true;
    }
    if value.attr("role").is_some_and(|role| ROLES.contains(&role.trim())) {
        return true;
    }
    if matches!(name, "body" | "main" | "article") {
        return false;
    }
    let is_named = |word: &str| NAMES.contains(&word.to_lowercase().as_str());
    if value.classes().any(is_named) || value.id().is_some_and(is_named) {
        return true;
    }
    match name {
        "header" => !is_within_text(element),
        "ul" | "ol" | "menu" => lists < MOST_LISTS && is_menu(element),
        _ => false,
    }
}

fn is_within_text(element: ElementRef<'_>) -> bool {
    let mut above = element.ancestors().filter_map(ElementRef::wrap);
    above.any(|above| OF_A_TEXT.contains(&above.value().name()) || above.value().attr("role") == Some("main"))
}

fn is_menu(list: ElementRef<'_>) -> bool {
    let Ok(link) = Selector::parse("a[href]") else { return false };
    let chars = |element: ElementRef<'_>| -> usize {
        element.text().map(|text| text.chars().filter(|letter| !letter.is_whitespace()).count()).sum()
    };
    let (mut links, mut linked) = (0, 0);
    for link in list.select(&link) {
        links += 1;
        linked += chars(link);
    }
    links >= LEAST_LINKS && linked * 100 >= chars(list) * LEAST_LINK_PERCENT
}
