//! Which texts have a language that can be told.

use super::{is_known, language, language_code, short_code};

const GERMAN: &str =
    "Die Behörde entscheidet über den Antrag nach pflichtgemäßem Ermessen und teilt ihre Entscheidung mit.";
const ENGLISH: &str = "The authority decides on the application at its due discretion and communicates its decision in writing.";
const FRENCH: &str =
    "L'autorité statue sur la demande selon son pouvoir discrétionnaire et communique sa décision par écrit.";

#[test]
fn a_sentence_of_some_length_has_a_language() {
    for (text, code) in [(GERMAN, "de"), (ENGLISH, "en"), (FRENCH, "fr")] {
        assert_eq!(language(&[text]).map(|(code, _)| code), Some(code), "{text}");
        assert!(is_known(code));
    }
    assert!(!is_known("deu") && !is_known("xx"));
}

#[test]
fn a_short_text_has_none() {
    for text in [
        "",
        "§ 35 BauGB",
        "Der Antrag ist gestellt.",
        "12 345,67 / 89 – 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25",
    ] {
        assert_eq!(language(&[text]), None, "{text}");
    }
}

#[test]
fn the_longest_text_decides_and_of_a_long_one_its_middle() {
    assert_eq!(language(&[ENGLISH, &GERMAN.repeat(3)]).map(|(code, _)| code), Some("de"));
    let wrapped = format!("{}{}{}", ENGLISH, GERMAN.repeat(60), ENGLISH);
    assert_eq!(language(&[&wrapped]).map(|(code, _)| code), Some("de"));
}

#[test]
fn a_language_has_one_code_whatever_it_is_called_by() {
    for (code, short) in [
        ("de", "de"),
        ("deu", "de"),
        ("ger", "de"),
        (" DE-at ", "de"),
        ("de_DE", "de"),
        ("cmn", "zh"),
        ("zh-Hans", "zh"),
        ("eng", "en"),
        ("nds", "nds"),
        ("", ""),
    ] {
        assert_eq!(short_code(code), short, "{code}");
    }
}

#[test]
fn only_languages_that_can_be_told_have_a_code_to_keep_them_by() {
    for code in ["de", "DE", "deu", "ger", "de-AT"] {
        assert_eq!(language_code(code).as_deref(), Some("de"), "{code}");
    }
    for code in ["", "xx", "klingon", "nds"] {
        assert_eq!(language_code(code), None, "{code}");
    }
}
