//! Full text as ThemisDB has it: all terms of a request, quoted phrases, BM25, no compounds.

use clara_lifecycle::text::{fold, words};
use serde_json::Value;

use super::store::Store;

/// Keys and scores of the documents that hold all terms of the query in `column`, best first.
#[expect(clippy::cast_precision_loss, reason = "documents and words of a test are few")]
pub(crate) fn search(store: &Store, column: &str, query: &str, limit: usize) -> Vec<(String, f64)> {
    let phrases: Vec<Vec<String>> = query
        .split('"')
        .enumerate()
        .flat_map(|(number, part)| {
            let stems = stems(part);
            if number % 2 == 1 { vec![stems] } else { stems.into_iter().map(|stem| vec![stem]).collect() }
        })
        .filter(|phrase| !phrase.is_empty())
        .collect();
    let texts: Vec<(&String, Vec<String>)> = store
        .documents
        .iter()
        .map(|(key, document)| {
            let document: Value = serde_json::from_slice(document).unwrap_or_default();
            (key, stems(document[column].as_str().unwrap_or_default()))
        })
        .collect();
    let average =
        texts.iter().map(|(_, stems)| stems.len()).sum::<usize>() as f64 / texts.len().max(1) as f64;
    let count = |stems: &[String], phrase: &[String]| {
        stems.windows(phrase.len()).filter(|window| *window == phrase).count()
    };
    let mut found: Vec<(String, f64)> = texts
        .iter()
        .filter(|(_, stems)| !phrases.is_empty() && phrases.iter().all(|phrase| count(stems, phrase) > 0))
        .map(|(key, stems)| {
            let relevance = |phrase: &Vec<String>| {
                let holding = texts.iter().filter(|(_, stems)| count(stems, phrase) > 0).count() as f64;
                let rarity = (1.0 + (texts.len() as f64 - holding + 0.5) / (holding + 0.5)).ln();
                let times = count(stems, phrase) as f64;
                rarity * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * stems.len() as f64 / average))
            };
            ((*key).clone(), phrases.iter().map(relevance).sum())
        })
        .collect();
    found.sort_by(|(left, left_score), (right, right_score)| {
        right_score.total_cmp(left_score).then(left.cmp(right))
    });
    found.truncate(limit);
    found
}

fn stems(text: &str) -> Vec<String> {
    words(&fold(text)).map(stem).collect()
}

/// A word without its German endings, as the server's simplified stemmer takes them off.
fn stem(word: &str) -> String {
    if word.len() <= 3 {
        return word.to_owned();
    }
    let inflected = ["ern", "em", "en", "er", "es", "e", "s"];
    let stem = inflected.iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    let derived = ["ung", "heit", "keit", "lich"];
    let root = derived.iter().find_map(|ending| stem.strip_suffix(ending)).filter(|_| stem.len() > 5);
    root.unwrap_or(stem).to_owned()
}
