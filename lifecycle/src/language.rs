//! Which language a text is in, told only where the text leaves little doubt, and which words say nothing by themselves.

use whatlang::{Detector, Lang};

/// The languages that are told apart, by ISO 639-1.
const LANGUAGES: [(&str, Lang); 24] = [
    ("bg", Lang::Bul),
    ("cs", Lang::Ces),
    ("da", Lang::Dan),
    ("de", Lang::Deu),
    ("el", Lang::Ell),
    ("en", Lang::Eng),
    ("es", Lang::Spa),
    ("et", Lang::Est),
    ("fi", Lang::Fin),
    ("fr", Lang::Fra),
    ("hr", Lang::Hrv),
    ("hu", Lang::Hun),
    ("it", Lang::Ita),
    ("ja", Lang::Jpn),
    ("nl", Lang::Nld),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("ro", Lang::Ron),
    ("ru", Lang::Rus),
    ("sk", Lang::Slk),
    ("sv", Lang::Swe),
    ("tr", Lang::Tur),
    ("uk", Lang::Ukr),
    ("zh", Lang::Cmn),
];

/// Fewer letters say too little about a language.
const LEAST_LETTERS: usize = 40;

/// The most frequent function words of German, [folded](crate::text::fold), with blanks between them.
pub const GERMAN_FUNCTION_WORDS: &str = "\
     der die das und oder in im den dem des ein eine einer eines einem einen ist sind war wird werden \
     wurde worden hat haben nicht mit von vom zu zum zur auf fuer bei durch nach aus an am als auch wenn \
     dass sich er sie es wir ihr ich so nur noch kann koennen muss muessen soll sollen darf duerfen ueber \
     unter um bis gegen ohne soweit sowie diese dieser dieses diesem diesen sein seine seiner ihre ihrer \
     ihren ihrem man aber wie welche welcher deren dessen hierzu ob keine kein vor waehrend insbesondere \
     jeder jede jedes gilt gelten weil beim ins ihm ihn wer was sei zwischen da dies wann welches wo";

/// Whether a [folded](crate::text::fold) word is a function word of German.
pub fn is_german_function_word(word: &str) -> bool {
    GERMAN_FUNCTION_WORDS.split(' ').any(|known| known == word)
}

/// Whether `code` is the ISO 639-1 code of a language that is told apart.
pub fn is_known(code: &str) -> bool {
    LANGUAGES.iter().any(|(known, _)| *known == code)
}

/// All codes that [`detect`] may answer.
pub fn codes() -> impl Iterator<Item = &'static str> {
    LANGUAGES.iter().map(|(code, _)| *code)
}

/// The language of the text by ISO 639-1; `None` when the text is short or leaves doubt.
pub fn detect(text: &str) -> Option<&'static str> {
    if text.chars().filter(|character| character.is_alphabetic()).count() < LEAST_LETTERS {
        return None;
    }
    let detector = Detector::with_allowlist(LANGUAGES.iter().map(|(_, language)| *language).collect());
    let found = detector.detect(text).filter(whatlang::Info::is_reliable)?;
    LANGUAGES.iter().find(|(_, language)| *language == found.lang()).map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{GERMAN_FUNCTION_WORDS, detect, is_german_function_word, is_known};
    use crate::text::fold;

    #[test]
    fn sentences_of_a_statute_are_told_from_english_and_french() {
        let german =
            "Im Außenbereich ist ein Vorhaben nur zulässig, wenn öffentliche Belange nicht entgegenstehen.";
        let english =
            "In the outer zone a project is permitted only if no public interests conflict with it.";
        let french =
            "Un projet n'est autorisé que si aucun intérêt public ne s'y oppose et si l'accès est assuré.";
        assert_eq!([german, english, french].map(detect), [Some("de"), Some("en"), Some("fr")]);
    }

    #[test]
    fn function_words_are_folded_and_each_is_named_once() {
        let words: Vec<&str> = GERMAN_FUNCTION_WORDS.split(' ').collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        assert!(words.iter().all(|word| !word.is_empty() && fold(word) == *word), "{words:?}");
        assert!(is_german_function_word("fuer") && !is_german_function_word("bescheid"));
    }

    #[test]
    fn short_texts_and_bare_citations_have_no_language() {
        for text in
            ["", "Ja.", "§ 35 Abs. 1 Nr. 1 BauGB", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"]
        {
            assert_eq!(detect(text), None, "{text}");
        }
        assert!(is_known("de") && !is_known("deu") && !is_known("DE"));
    }
}
