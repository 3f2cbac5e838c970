//! Which texts count as the same.

use clara_lifecycle::dataset::TrainingContent;

use super::SeenTexts;
use crate::source::Origin;

fn text(text: &str) -> TrainingContent {
    TrainingContent::Text { text: text.into() }
}

fn at(line: u64) -> Origin {
    Origin::line("law.jsonl", line)
}

#[test]
fn blanks_case_and_unicode_form_do_not_make_a_new_text() {
    let mut seen = SeenTexts::default();
    assert_eq!(seen.earlier(&text("Das Gebäude ist genehmigt."), &at(1)), None);
    assert_eq!(seen.earlier(&text("das  Geba\u{308}ude\nIST genehmigt. "), &at(2)), Some(at(1)));
    assert_eq!(seen.earlier(&text("Das Gebäude ist nicht genehmigt."), &at(3)), None);
}

#[test]
fn the_same_words_split_elsewhere_are_another_record() {
    let pair = |prompt: &str, completion: &str| TrainingContent::PromptCompletion {
        prompt: prompt.into(),
        completion: completion.into(),
    };
    let mut seen = SeenTexts::default();
    assert_eq!(seen.earlier(&pair("Was gilt?", "Das gilt."), &at(1)), None);
    assert_eq!(seen.earlier(&pair("Was", "gilt? Das gilt."), &at(2)), None);
}
