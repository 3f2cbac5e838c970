//! Keeps pages away from the parser over which it would take hours.

/// The deepest nesting that is read. The parser looks through all open elements for each new one; pages have some fifty.
const MOST_LEVELS: usize = 1_000;
/// Elements that need no end: they hold nothing, or end where the next one begins.
const WITHOUT_END: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr", "p", "li", "dt", "dd", "td", "th", "tr", "thead", "tbody", "tfoot", "colgroup", "option",
    "optgroup", "rt", "rp",
];

/// Refuses elements that are nested deeper than any page for people.
pub(super) fn check(html: &str) -> Result<(), String> {
    let mut levels: usize = 0;
    for tag in html.split('<').skip(1) {
        let (is_end, rest) = match tag.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (false, tag),
        };
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default();
        let needs_none = WITHOUT_END.iter().any(|known| known.eq_ignore_ascii_case(name));
        if name.is_empty() || needs_none {
            continue;
        }
        levels = if is_end { levels.saturating_sub(1) } else { levels + 1 };
        if levels > MOST_LEVELS {
            return Err(format!("its elements are nested deeper than {MOST_LEVELS} levels"));
        }
    }
    Ok(())
}
