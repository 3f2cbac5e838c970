//! The words of a document are those of the shared spelling.

use clara_lifecycle::{
    dataset::TrainingContent,
    text::{fold, words},
};

use super::{Words, word_hashes};

#[test]
fn words_and_hashes_equal_those_of_the_folded_text() {
    let mut found = Words::default();
    for text in [
        "Das GEBÄUDE (§ 35 Abs. 1) ist größer als 3,5 m².",
        "Geba\u{308}ude, Œuvre, ĲSSEL, İstanbul, ΑΣ – ẞ",
        "  ",
        "",
        "ﬁnal Ⅳ 中文 и кириллица",
    ] {
        found.read(&TrainingContent::Text { text: text.into() });
        let folded = fold(text);
        let expected: Vec<&str> = words(&folded).collect();
        let got: Vec<String> = found.folded_texts().flatten().map(str::to_owned).collect();
        assert_eq!(got, expected, "{text}");
        assert_eq!(found.hashes(), word_hashes(text), "{text}");
    }
}

#[test]
fn each_text_of_a_document_keeps_its_words() {
    let mut words = Words::default();
    words.read(&TrainingContent::PromptCompletion {
        prompt: "Was gilt?".into(),
        completion: "Das gilt nicht.".into(),
    });
    assert_eq!(words.texts().map(<[u64]>::len).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((words.word(1), words.word(4), words.word(5)), ("gilt", "nicht", ""));
}
