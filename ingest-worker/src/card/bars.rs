//! A bar chart as SVG, readable on light and dark pages.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 168.0;
const BAR_WIDTH: f64 = WIDTH - LEFT - 96.0;
const TOP: f64 = 52.0;
const ROW: f64 = 24.0;
/// Colours are attributes, for programs that know no style sheets; the style sheet changes them on dark pages.
const STYLE: &str = "<style>
  @media (prefers-color-scheme: dark) {
    .page { fill: #161b22 } .ink { fill: #e6edf3 } .bar { fill: #6cb6ff }
  }
</style>";

/// One horizontal bar per row, in their order, with its count and its share of all.
pub fn bars(title: &str, rows: &[(String, u64)]) -> String {
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let all = rows.iter().map(|(_, count)| count).sum::<u64>().max(1);
    let height = TOP + ROW * real(rows.len() as u64) + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{0}</title>\n{STYLE}\n\
         <rect class=\"page\" fill=\"#ffffff\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"ink\" fill=\"#1f2328\" x=\"16\" y=\"30\" font-size=\"16\">{0}</text>\n",
        escaped(title)
    );
    let mut top = TOP;
    for (name, count) in rows {
        let width = BAR_WIDTH * real(*count) / real(most);
        let (end, base, share) = (LEFT + width + 8.0, top + 14.0, 100.0 * real(*count) / real(all));
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<text class=\"ink\" fill=\"#1f2328\" x=\"{0}\" y=\"{base}\" text-anchor=\"end\">{1}</text>\
             <rect class=\"bar\" fill=\"#1f6feb\" x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"18\"/>\
             <text class=\"ink\" fill=\"#1f2328\" x=\"{end:.1}\" y=\"{base}\">{count} ({share:.1} %)</text>",
            LEFT - 8.0,
            escaped(name)
        );
        top += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

#[expect(clippy::cast_precision_loss, reason = "places in a drawing need no more")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Text that stays text within XML; control characters, which XML cannot hold, are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
