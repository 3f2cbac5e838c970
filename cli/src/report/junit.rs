//! A report as JUnit XML, as CI servers read it.

use std::fmt::Write as _;

use super::{Outcome, Report};

/// The whole file.
pub(super) fn text(report: &Report) -> String {
    let failures = report.cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(_))).count();
    let errors = report.cases.iter().filter(|case| matches!(case.outcome, Outcome::Broken(_))).count();
    let counts = format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\"", report.cases.len());
    let title = escaped(&report.title);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(xml, "<testsuites {counts}>\n  <testsuite name=\"{title}\" {counts}>\n    <properties>");
    for (name, value) in &report.facts {
        let _ = writeln!(xml, "      <property name=\"{}\" value=\"{}\"/>", escaped(name), escaped(value));
    }
    xml.push_str("    </properties>\n");
    for case in &report.cases {
        let _ = write!(
            xml,
            "    <testcase classname=\"{}\" name=\"{}\">",
            escaped(case.group),
            escaped(&case.name)
        );
        let (tag, said) = match &case.outcome {
            Outcome::Passed(said) => ("system-out", said),
            Outcome::Failed(said) => ("failure", said),
            Outcome::Broken(said) => ("error", said),
        };
        let first = escaped(said.lines().next().unwrap_or_default());
        let attribute = if tag == "system-out" { String::new() } else { format!(" message=\"{first}\"") };
        let _ = writeln!(xml, "<{tag}{attribute}>{}</{tag}></testcase>", escaped(said));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Text as it may stand in XML; characters that XML cannot hold at all are left out.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => {}
            c => safe.push(c),
        }
    }
    safe
}
