//! What function words tell.

use super::StopWords;
use crate::words::word_hashes;

const GERMAN: &str = "Die Behörde entscheidet über den Antrag nach pflichtgemäßem Ermessen. Sie hört die Beteiligten an, bevor sie einen \
                      Bescheid erlässt, und begründet ihn schriftlich.";
const ENGLISH: &str = "The authority decides on the application at its due discretion. It hears the parties before it issues a notice and \
                       gives the reasons for it in writing.";

fn is_surely(text: &str, languages: &[&str]) -> bool {
    let languages: Vec<String> = languages.iter().map(|code| (*code).to_owned()).collect();
    StopWords::new().is_surely(&word_hashes(text), &languages)
}

#[test]
fn a_text_with_many_function_words_is_surely_of_its_language_and_of_no_other() {
    assert!(is_surely(GERMAN, &["de"]) && is_surely(ENGLISH, &["fr", "en"]));
    assert!(!is_surely(GERMAN, &["en"]) && !is_surely(ENGLISH, &["de", "nl"]));
}

#[test]
fn short_and_mixed_texts_and_lists_are_not_sure() {
    assert!(!is_surely("Die Behörde entscheidet über den Antrag.", &["de"]));
    assert!(!is_surely(&format!("{GERMAN} {ENGLISH}"), &["de"]));
    assert!(!is_surely(&"Gebühr Frist Satzung Auflage Bescheid ".repeat(10), &["de"]));
}

#[test]
fn german_and_english_function_words_are_no_content() {
    let words = StopWords::new();
    let is_function_word = |word: &str| words.contains(word_hashes(word)[0]);
    assert!(is_function_word("für") && is_function_word("The") && is_function_word("WÄHREND"));
    assert!(!is_function_word("Bescheid") && !is_function_word("pour"));
}
