//! ROUGE-N and ROUGE-L, F measures, as `rouge-score` 0.1.2 computes them without a stemmer.
//!
//! Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.

use super::{common, counted, f_measure, share};

/// The tokens of an answer and of its reference.
#[derive(Debug)]
pub(super) struct Rouge {
    answer: Vec<String>,
    expected: Vec<String>,
}

impl Rouge {
    pub(super) fn new(answer: &str, expected: &str) -> Self {
        Self { answer: tokens(answer), expected: tokens(expected) }
    }

    /// ROUGE-N for n-grams of `length` tokens.
    pub(super) fn ngrams(&self, length: usize) -> f64 {
        let (answer, expected) = (self.answer.windows(length), self.expected.windows(length));
        let (answers, references) = (answer.len(), expected.len());
        let common = common(&counted(answer), &counted(expected));
        f_measure(share(common, answers), share(common, references))
    }

    /// ROUGE-L over the whole text.
    pub(super) fn longest_common_subsequence(&self) -> f64 {
        let common = longest_common_subsequence(&self.answer, &self.expected);
        f_measure(share(common, self.answer.len()), share(common, self.expected.len()))
    }
}

/// Runs of the letters a to z and of digits in the text in lower case; every other letter parts words.
fn tokens(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let runs = lower.split(|letter: char| !letter.is_ascii_lowercase() && !letter.is_ascii_digit());
    runs.filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

fn longest_common_subsequence(one: &[String], other: &[String]) -> usize {
    // Row by row of the usual table; only the row before is kept.
    let mut before = vec![0; other.len() + 1];
    for token in one {
        let mut row = Vec::with_capacity(before.len());
        row.push(0);
        let mut left = 0;
        for (other, pair) in other.iter().zip(before.windows(2)) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => (0, 0),
            };
            left = if token == other { diagonal + 1 } else { above.max(left) };
            row.push(left);
        }
        before = row;
    }
    before.last().copied().unwrap_or(0)
}
