//! A report as Markdown, for a pull request.

use std::fmt::Write as _;

use super::{Outcome, Report};

/// The whole file.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!("# {}\n\n", escaped(&report.title));
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in &report.facts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {} |", escaped(name), escaped(value));
    }
    text.push_str("\n| | check | result |\n|---|---|---|\n");
    for case in &report.cases {
        let (mark, said) = match &case.outcome {
            Outcome::Passed(said) => ("passed", said),
            Outcome::Failed(said) => ("**failed**", said),
            Outcome::Broken(said) => ("**no result**", said),
        };
        let _ = writeln!(text, "| {mark} | {} {} | {} |", case.group, escaped(&case.name), escaped(said));
    }
    text
}

/// Text in one cell of a table: no markup, no HTML, no line end of its own.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\n' => safe.push_str("<br>"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' | '~' => {
                safe.push('\\');
                safe.push(c);
            }
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    safe
}
