//! The Markdown of model cards as HTML: front matter, headings, tables, lists, code and bold words. The rest is text.

use maud::{Markup, html};

/// Everything in it is escaped.
pub(super) fn show(markdown: &str) -> Markup {
    let (front, body) = front_matter(markdown);
    html! {
        @for part in body.split("\n\n").filter(|part| !part.trim().is_empty()) { (block(part.trim_matches('\n'))) }
        @if let Some(front) = front {
            details { summary { "Front matter" } pre.code { (front) } }
        }
    }
}

/// What stands between the first two lines of `---`, and the rest.
fn front_matter(markdown: &str) -> (Option<&str>, &str) {
    let split = markdown.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    split.map_or((None, markdown), |(front, body)| (Some(front), body))
}

fn block(part: &str) -> Markup {
    if let Some(title) = part.strip_prefix("# ") {
        return html! { h1 { (inline(title)) } };
    }
    if let Some(title) = part.strip_prefix("## ") {
        return html! { h2 { (inline(title)) } };
    }
    let is_list = |line: &str| line.trim_start().starts_with("- ");
    let lines: Vec<&str> = part.lines().collect();
    if lines.iter().all(|line| is_list(line)) {
        return list(&lines);
    }
    let cells = lines.iter().take_while(|line| line.starts_with('|')).count();
    let (rows, rest) = lines.split_at(cells);
    html! {
        @if !rows.is_empty() { (table(rows)) }
        @if !rest.is_empty() { p { (inline(&rest.join(" "))) } }
    }
}

fn list(lines: &[&str]) -> Markup {
    html! {
        ul {
            @for line in lines {
                li class=[line.starts_with(' ').then_some("deeper")] { (inline(line.trim_start().trim_start_matches("- "))) }
            }
        }
    }
}

fn table(rows: &[&str]) -> Markup {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row)).collect();
    let (head, body) = rows.split_at(rows.len().min(2));
    let titles = head.first().filter(|titles| titles.iter().any(|title| !title.is_empty()));
    html! {
        table {
            @if let Some(titles) = titles { thead { tr { @for title in titles { th { (inline(title)) } } } } }
            tbody { @for row in body { tr { @for cell in row { td { (inline(cell)) } } } } }
        }
    }
}

/// The cells of a row; a bar after a backslash belongs to its cell.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|').replace("\\|", "\u{1}");
    let row = row.strip_suffix('|').unwrap_or(&row);
    row.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

/// Code between backticks and bold words between double stars.
fn inline(text: &str) -> Markup {
    html! {
        @for (number, part) in text.split('`').enumerate() {
            @if number % 2 == 1 { code { (plain(part)) } }
            @else {
                @for (number, part) in part.split("**").enumerate() {
                    @if number % 2 == 1 { b { (plain(part)) } } @else { (plain(part)) }
                }
            }
        }
    }
}

/// As the card's writer had it before it made it safe.
fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("\\|", "|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_lists_headings_and_marks_become_html_and_foreign_markup_stays_text() {
        let card = "---\nlicense: x\n---\n\n# law\n\nA **good** `§ 35 \\| x`.\n\n## Data\n\n| | |\n|---|---|\n| sources | `a\\|b`, &lt;b> |\n\
                    \nMore <i>.\n\n- gate: **review**\n  - `code`: why\n";
        let html = show(card).into_string();
        for part in [
            "<h1>law</h1>",
            "A <b>good</b> <code>§ 35 | x</code>.",
            "<h2>Data</h2>",
            "<td>sources</td><td><code>a|b</code>, &lt;b&gt;</td>",
            "<p>More &lt;i&gt;.</p>",
            "<li>gate: <b>review</b></li><li class=\"deeper\"><code>code</code>: why</li>",
            "<pre class=\"code\">license: x</pre>",
        ] {
            assert!(html.contains(part), "`{part}` is missing in {html}");
        }
        assert!(!html.contains("<thead>"), "{html}");
    }
}
