//! The same answer to different prompts: a constant text can win over judges without knowing any prompt.

use clara_lifecycle::{
    answers::Answer,
    golden::GoldenSample,
    score::{CheckCode, CheckFinding},
    text::{collapse, fold, jaccard, visible, words},
};

/// From so many samples with one answer on it is no coincidence.
const CONSTANT: usize = 3;
/// Words per compared sequence.
const SEQUENCE: usize = 3;
/// Share of common sequences (Jaccard, 0–1) from which on two answers are the same.
const ALIKE: f64 = 0.9;
/// Shorter answers are the same only when they are equal.
const LEAST_WORDS: usize = 12;

/// For each answer the finding, if other samples that expect something else got the same one.
pub(super) fn duplicates(answers: &[(&GoldenSample, &Answer)]) -> Vec<Option<CheckFinding>> {
    let given: Vec<Given> = answers.iter().map(|(sample, answer)| Given::of(sample, answer)).collect();
    given
        .iter()
        .map(|one| {
            if one.is_expected() {
                return None;
            }
            let others = given.iter().filter(|other| other.expected != one.expected && other.is_like(one));
            finding(&others.map(|other| other.sample_id).collect::<Vec<_>>())
        })
        .collect()
}

fn finding(others: &[&str]) -> Option<CheckFinding> {
    let first = others.first()?;
    let same = others.len() + 1;
    let text = format!("{same} samples that expect different outputs got this answer, {first} among them");
    Some(if same >= CONSTANT { CheckCode::Duplicated.hard(text) } else { CheckCode::Duplicated.soft(text) })
}

/// An answer in the form in which it is compared.
struct Given<'a> {
    sample_id: &'a str,
    expected: String,
    text: String,
    words: usize,
    /// Hashes of its sequences, sorted.
    sequences: Vec<u64>,
}

impl<'a> Given<'a> {
    fn of(sample: &'a GoldenSample, answer: &Answer) -> Self {
        let seen = visible(&answer.text);
        let folded = fold(&seen);
        let words: Vec<&str> = words(&folded).collect();
        let mut sequences: Vec<u64> = words.windows(SEQUENCE).map(hash).collect();
        sequences.sort_unstable();
        sequences.dedup();
        Self {
            sample_id: &sample.sample_id,
            expected: collapse(&sample.expected_output),
            text: collapse(&seen),
            words: words.len(),
            sequences,
        }
    }

    /// The right answer to several prompts may be the same.
    fn is_expected(&self) -> bool {
        self.text == self.expected
    }

    fn is_like(&self, other: &Self) -> bool {
        if self.text == other.text {
            return true;
        }
        if self.words.min(other.words) < LEAST_WORDS {
            return false;
        }
        jaccard(&self.sequences, &other.sequences, ALIKE) >= ALIKE
    }
}

fn hash(words: &[&str]) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    // `new` uses fixed keys, so that equal input gives equal output on every machine.
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}
