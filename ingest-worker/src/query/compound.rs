//! Finds the German compounds that stand for a word of a query.

use std::collections::{BTreeMap, BTreeSet};

use tantivy::{Searcher, TantivyError, schema::Field};

/// A stem this long also matches words that begin with it.
const LEAST_PREFIX_CHARS: usize = 4;
/// A stem this long also matches words that hold it elsewhere; shorter ones occur in too many words by chance.
const LEAST_INNER_CHARS: usize = 6;
/// At most so many compounds of a stem are searched for; the most frequent ones.
const MOST_COMPOUNDS: usize = 1_000;
/// Shortest head and tail of a word that is taken apart.
const LEAST_HEAD_CHARS: usize = 3;
const LEAST_TAIL_CHARS: usize = 5;
/// What may stand between head and tail.
const JOINTS: [&str; 5] = ["", "s", "es", "n", "en"];

/// Indexed words that stand for a stem, the most frequent ones first.
#[derive(Debug, Default)]
pub(super) struct Compounds {
    /// Words that begin with the stem or hold it.
    pub(super) with: Vec<String>,
    /// Words that put something between its head and its tail: `Bauordnungsrecht` for `Baurecht`.
    pub(super) spread: Vec<String>,
}

/// The compounds of a stem.
pub(super) fn compounds(searcher: &Searcher, body: Field, stem: &str) -> Result<Compounds, TantivyError> {
    let mut with: BTreeMap<String, u64> = BTreeMap::new();
    let (mut heads, mut tails) = (BTreeSet::new(), BTreeSet::new());
    for_each_word(searcher, body, |word, documents| {
        if is_compound(word, stem) {
            *with.entry(word.to_owned()).or_default() += documents;
        } else if word != stem && is_long(word, LEAST_HEAD_CHARS) {
            if stem.starts_with(word) {
                heads.insert(word.to_owned());
            }
            if stem.ends_with(word) && is_long(word, LEAST_TAIL_CHARS) {
                tails.insert(word.to_owned());
            }
        }
    })?;
    let splits: Vec<(&str, &str)> = heads
        .iter()
        .flat_map(|head| tails.iter().map(move |tail| (head.as_str(), tail.as_str())))
        .filter(|(head, tail)| is_split(stem, head, tail))
        .collect();
    let mut spread: BTreeMap<String, u64> = BTreeMap::new();
    if !splits.is_empty() {
        for_each_word(searcher, body, |word, documents| {
            let is_spread = word.len() > stem.len()
                && !with.contains_key(word)
                && splits.iter().any(|(head, tail)| word.starts_with(head) && word.ends_with(tail));
            if is_spread {
                *spread.entry(word.to_owned()).or_default() += documents;
            }
        })?;
    }
    Ok(Compounds { with: most_frequent(with), spread: most_frequent(spread) })
}

fn for_each_word(
    searcher: &Searcher,
    body: Field,
    mut take: impl FnMut(&str, u64),
) -> Result<(), TantivyError> {
    for segment in searcher.segment_readers() {
        let inverted = segment.inverted_index(body)?;
        let mut terms = inverted.terms().stream()?;
        while let Some((word, info)) = terms.next() {
            if let Ok(word) = str::from_utf8(word) {
                take(word, info.doc_freq.into());
            }
        }
    }
    Ok(())
}

/// Whether `word` begins with `stem` or, for a long stem, holds it anywhere.
fn is_compound(word: &str, stem: &str) -> bool {
    let chars = stem.chars().count();
    let begins = chars >= LEAST_PREFIX_CHARS && word.starts_with(stem);
    word != stem && (begins || (chars >= LEAST_INNER_CHARS && word.contains(stem)))
}

/// Whether head, joint and tail make the stem.
fn is_split(stem: &str, head: &str, tail: &str) -> bool {
    let rest = stem.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
    rest.is_some_and(|joint| JOINTS.contains(&joint))
}

fn is_long(word: &str, least: usize) -> bool {
    word.chars().nth(least - 1).is_some()
}

fn most_frequent(words: BTreeMap<String, u64>) -> Vec<String> {
    let mut words: Vec<(String, u64)> = words.into_iter().collect();
    // A stable sort: words of equal frequency stay in alphabetical order.
    words.sort_by_key(|(_, documents)| std::cmp::Reverse(*documents));
    words.truncate(MOST_COMPOUNDS);
    words.into_iter().map(|(word, _)| word).collect()
}
