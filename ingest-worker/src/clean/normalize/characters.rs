//! The pass over all characters: line ends, blanks, invisible characters, hyphens at line ends.

use clara_lifecycle::{dataset::Mend, text::is_invisible};

use super::hyphen::{Joint, joint};
use crate::clean::Places;

/// The cleaned text, `None` when it is clean.
pub(super) fn clean(text: &str, keep_pages: bool, places: &mut Places) -> Option<String> {
    if is_clean(text.as_bytes()) {
        return None;
    }
    let out = String::with_capacity(text.len());
    let mut pass = Pass { text, out, at_indent: true, blanks: 0, invisible: 0, hyphens: 0 };
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        rest = pass.take(letter, rest, keep_pages);
    }
    for (mend, count) in
        [(Mend::Blanks, pass.blanks), (Mend::Invisible, pass.invisible), (Mend::Hyphenation, pass.hyphens)]
    {
        if count > 0 {
            *places.entry(mend).or_default() += count;
        }
    }
    (pass.out != text).then_some(pass.out)
}

/// Whether nothing in the text needs a closer look; decides for most texts at the speed of reading.
fn is_clean(bytes: &[u8]) -> bool {
    let (mut before, mut earlier) = (0, 0);
    for &byte in bytes {
        let is_suspect = match byte {
            b'\n' => matches!((earlier, before), (b'\n', b'\n') | (_, b' ' | b'-')),
            b' ' => before == b' ',
            0x80..=0xA0 | 0xAD => before == 0xC2,
            // Control characters, and first bytes of characters that are invisible or blank, among others.
            0..0x20 | 0x7F | 0xCD | 0xD8 | 0xE1 | 0xE3 | 0xEF | 0xF3 => true,
            _ => false,
        };
        // U+2000 to U+207F are dashes and quotation marks, but blanks and invisible characters, too.
        let is_odd_mark = earlier == 0xE2
            && ((before == 0x80 && matches!(byte, 0x80..=0x8F | 0x90 | 0xA8..=0xAF))
                || (before == 0x81 && byte >= 0x9F));
        if is_suspect || is_odd_mark {
            return false;
        }
        (earlier, before) = (before, byte);
    }
    true
}

struct Pass<'a> {
    text: &'a str,
    out: String,
    /// Nothing but blanks since the line began.
    at_indent: bool,
    blanks: u64,
    invisible: u64,
    hyphens: u64,
}

impl Pass<'_> {
    /// Takes the first letter of `rest` and gives back what is left.
    fn take<'b>(&mut self, letter: char, rest: &'b str, keep_pages: bool) -> &'b str {
        let after = rest.get(letter.len_utf8()..).unwrap_or_default();
        match letter {
            '\r' => {
                self.blanks += 1;
                self.end_line();
                after.strip_prefix('\n').unwrap_or(after)
            }
            '\n' => {
                self.end_line();
                after
            }
            '\u{C}' if keep_pages => {
                self.push(letter);
                after
            }
            '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{B}' | '\u{C}' => {
                self.blanks += 1;
                self.end_line();
                after
            }
            '-' | '\u{2010}' | '\u{AD}' => self.hyphen(letter, after),
            '\t' | ' ' => {
                self.blank(letter);
                after
            }
            blank if blank.is_whitespace() => {
                self.blanks += 1;
                self.blank(' ');
                after
            }
            '\u{200C}' | '\u{200D}' if self.joins_foreign_letters() => {
                self.push(letter);
                after
            }
            unseen if is_invisible(unseen) => {
                self.invisible += 1;
                after
            }
            seen => {
                self.push(seen);
                after
            }
        }
    }

    fn push(&mut self, letter: char) {
        self.out.push(letter);
        self.at_indent = false;
    }

    /// Ends a line without blanks before it; more than one empty line becomes one.
    fn end_line(&mut self) {
        while self.out.ends_with([' ', '\t']) {
            self.out.pop();
            self.blanks += 1;
        }
        if self.out.ends_with("\n\n") {
            self.blanks += 1;
        } else {
            self.out.push('\n');
        }
        self.at_indent = true;
    }

    /// Blanks that begin a line are its indentation and stay.
    fn blank(&mut self, blank: char) {
        if self.at_indent {
            self.out.push(blank);
        } else if self.out.ends_with(' ') {
            self.blanks += 1;
        } else {
            self.blanks += u64::from(blank == '\t');
            self.out.push(' ');
        }
    }

    /// Between letters of scripts that need them, joiners are part of the spelling.
    fn joins_foreign_letters(&self) -> bool {
        self.out.chars().next_back().is_some_and(|before| before > '\u{58F}')
    }

    fn hyphen<'b>(&mut self, hyphen: char, after: &'b str) -> &'b str {
        let next = next_line(after);
        if let Some(next) = next
            && let Some(joint) = joint(self.text, &self.out, next)
        {
            self.hyphens += 1;
            if joint == Joint::Linked {
                self.push('-');
            }
            return next;
        }
        if hyphen == '\u{AD}' {
            self.invisible += 1;
        } else {
            self.push(hyphen);
        }
        after
    }
}

/// The text of the next line, when nothing but one line end and blanks lie before it.
fn next_line(after: &str) -> Option<&str> {
    let line_end = after.trim_start_matches([' ', '\t', '\r']).strip_prefix('\n')?;
    let next = line_end.trim_start_matches([' ', '\t']);
    (!next.starts_with(['\n', '\r'])).then_some(next)
}
