//! The most frequent function words of some languages, in the folded spelling of [`fold`](clara_lifecycle::text::fold).

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use clara_lifecycle::language::GERMAN_FUNCTION_WORDS;

use crate::hashing::{Hashed, hash_bytes};

/// Languages whose texts can be told from lists of words, in the order of these.
const CODES: [&str; 7] = ["de", "en", "fr", "it", "es", "nl", "pt"];
const LANGUAGES: [&str; 7] = [
    GERMAN_FUNCTION_WORDS,
    "the of and to in a is that for it as was with be by on not he his at are this or from have an they which you were \
     all she there would their we him been has when who will no if out so up what about than into could can only other some do \
     its may must shall should any such these those but",
    "le la les de des du un une et est en que qui dans pour pas sur au aux ce il elle ils ne se par plus avec sont ou son sa ses \
     cette ces mais comme leur nous vous on y a ete etre fait sans tout lui aussi",
    "il lo la i gli le di del della dei delle che e un una in per con non si da sono al alla come anche ha piu ma o dal nel nella \
     questo questa essere stato sua suo loro se",
    "el la los las de del que y en un una por con no se es lo como mas para su al o este esta son ha pero sus le ya si porque \
     cuando muy sin sobre ser tambien fue hay entre",
    "de het een en van in is dat op te zijn met voor niet aan er om ook als dan maar bij of uit nog naar heeft worden werd deze \
     dit door over tot hun zij hij wordt",
    "o a os as de do da dos das que e em um uma para com nao no na por mais se como mas ao ele sua seu ou quando muito nos ja \
     tambem foi ser sao entre pela pelo",
];

/// Fewer words tell no language.
const LEAST_WORDS: usize = 20;
/// The first two languages are those of the documents that Clara is made for.
const OURS: u8 = 0b11;

/// Function words by their hashes, with a bit for each language that has them.
#[derive(Debug)]
pub(crate) struct StopWords(HashMap<u64, u8, Hashed>);

impl StopWords {
    pub(crate) fn new() -> Self {
        let mut languages: HashMap<u64, u8, Hashed> = HashMap::default();
        for (language, words) in LANGUAGES.iter().enumerate() {
            for word in words.split_whitespace() {
                *languages.entry(hash_bytes(word.as_bytes())).or_default() |= 1 << language;
            }
        }
        Self(languages)
    }

    /// How many of the words are function words, in the language that has most of them.
    pub(crate) fn most(&self, words: &[u64]) -> u64 {
        self.counts(words).into_iter().max().unwrap_or_default()
    }

    /// Whether the words are surely those of one of the languages: every fifth is a function word of it, and twice as many as of any
    /// other language. A quick yes for most texts; what is not sure may still be so.
    pub(crate) fn is_surely(&self, words: &[u64], languages: &[String]) -> bool {
        let counts = self.counts(words);
        let most = counts.into_iter().max().unwrap_or_default();
        let are_many = words.len() >= LEAST_WORDS && most * 5 >= words.len() as u64;
        let are_alone = counts.iter().filter(|count| **count * 2 > most).count() == 1;
        let code = CODES.iter().zip(counts).find(|(_, count)| *count == most).map(|(code, _)| *code);
        are_many && are_alone && languages.iter().any(|language| Some(language.as_str()) == code)
    }

    fn counts(&self, words: &[u64]) -> [u64; LANGUAGES.len()] {
        let mut counts = [0; LANGUAGES.len()];
        for languages in words.iter().filter_map(|word| self.0.get(word)) {
            for (language, count) in counts.iter_mut().enumerate() {
                *count += u64::from(languages >> language & 1);
            }
        }
        counts
    }

    /// Whether the word is a function word of German or English.
    pub(crate) fn contains(&self, word: u64) -> bool {
        self.0.get(&word).is_some_and(|languages| languages & OURS != 0)
    }
}
