//! Foreign text within Markdown that is written for people.

/// Text that stays in its place: no line breaks, no cells, no HTML.
pub fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' => safe.push_str("\\|"),
            '<' => safe.push_str("&lt;"),
            '`' => safe.push('\''),
            character if character.is_control() => safe.push(' '),
            character => safe.push(character),
        }
    }
    safe
}

/// The same, shown as code.
pub fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}
