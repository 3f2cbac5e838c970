//! Running text that grows piece by piece, with the gap that is due before the next word.

/// Text with normal blanks.
#[derive(Debug, Default)]
pub(super) struct Flow {
    text: String,
    gap: Gap,
}

/// What is due before the next word, the smallest first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    /// Nothing.
    #[default]
    None,
    /// A blank.
    Blank,
    /// A new line.
    Line,
    /// A blank line.
    Paragraph,
}

impl Flow {
    /// Asks for a gap before the next word; the greatest that was asked for counts.
    pub(super) fn widen(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    /// Takes text; each run of blanks counts as one, and as a new line where `keeps_lines` and it holds one.
    pub(super) fn push(&mut self, text: &str, keeps_lines: bool) {
        for letter in text.chars() {
            match letter {
                '\n' if keeps_lines => self.widen(Gap::Line),
                // A no-break space is a blank, too.
                _ if letter.is_whitespace() => self.widen(Gap::Blank),
                _ => {
                    self.write_gap();
                    self.text.push(letter);
                }
            }
        }
    }

    /// Ends a cell of a table row, in front of another one.
    pub(super) fn end_cell(&mut self) {
        self.write_gap();
        if !self.text.is_empty() && !self.text.ends_with(['\n', ' ']) {
            self.text.push(' ');
        }
        self.text.push('|');
        self.gap = Gap::Blank;
    }

    /// What was written so far, without the gap that is due.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Puts `letter` in the place of all from byte `start` on.
    pub(super) fn replace_from(&mut self, start: usize, letter: char) {
        if self.text.is_char_boundary(start) {
            self.text.truncate(start);
            self.text.push(letter);
        }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// The text in one line.
    pub(super) fn line(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn write_gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push_str(match self.gap {
                Gap::None => "",
                Gap::Blank => " ",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
        }
        self.gap = Gap::None;
    }
}
