//! Which passages say the same as a golden answer.

use clara_lifecycle::dataset::TrainingContent;

use super::AnswerCheck;
use crate::{ingest::GoldenText, overlap::OverlapCheck, words::Words};

const ANSWER: &str = "Die Gemeinde kann den Bebauungsplan in einem vereinfachten Verfahren ändern, wenn die Grundzüge der Planung nicht berührt \
                      werden und keine Pflicht zur Prüfung der Umweltverträglichkeit besteht.";
/// The same with moved words, other forms and two other words; no eight words in a row are left.
const PARAPHRASE: &str = "Wenn keine Pflicht besteht, die Umweltverträglichkeit zu prüfen, und Grundzüge der Planung nicht berührt sind, kann \
                          im vereinfachten Verfahren der Bebauungsplan durch die Gemeinde geändert werden.";
const SAME_SUBJECT: &str = "Die Gemeinde stellt den Bebauungsplan als Satzung auf. Im Verfahren beteiligt sie die Öffentlichkeit und die \
                            Behörden; die Umweltverträglichkeit ist nach den Vorschriften des Gesetzes zu prüfen, soweit eine Pflicht dazu besteht.";

fn samples() -> Vec<GoldenText> {
    let sample = |id: &str, output: &str| GoldenText {
        sample_id: id.into(),
        prompt: "Wann darf vereinfacht geändert werden?".into(),
        expected_output: output.into(),
    };
    vec![sample("short", "Das ist nach § 13 BauGB zulässig."), sample("s-1", ANSWER)]
}

fn words(text: &str) -> Words {
    let mut words = Words::default();
    words.read(&TrainingContent::Text { text: text.into() });
    words
}

#[test]
fn an_answer_with_moved_words_is_found_where_ngrams_find_nothing() {
    let filler =
        "Die Gebühren der Verwaltung richten sich nach der Satzung über Gebühren und Auslagen. ".repeat(40);
    let document = words(&format!("{filler}{PARAPHRASE} {filler}"));
    assert_eq!(OverlapCheck::new(&samples(), 8, 0.2).find(&document), None);
    let found = AnswerCheck::new(&samples(), 0.7).find(&document).unwrap();
    assert_eq!(found.sample_id, "s-1");
    assert!((0.7..1.0).contains(&found.share), "{found:?}");
}

#[test]
fn the_answer_itself_is_wholly_similar() {
    let found = AnswerCheck::new(&samples(), 0.8).find(&words(ANSWER)).unwrap();
    assert!((found.share - 1.0).abs() < 1e-9, "{found:?}");
}

#[test]
fn other_texts_of_the_subject_and_short_answers_are_not_taken_for_it() {
    let mut check = AnswerCheck::new(&samples(), 0.8);
    assert_eq!(check.find(&words(SAME_SUBJECT)), None);
    assert_eq!(check.find(&words("Das ist nach § 13 BauGB zulässig.")), None);
    assert_eq!(check.find(&words("")), None);
}

#[test]
fn words_that_are_spread_over_a_document_are_no_passage() {
    let spread = ANSWER
        .split(' ')
        .map(|word| format!("{word} Gebühren Auslagen Satzung Kosten Haushalt Steuern Beiträge Umlagen"));
    let spread = spread.collect::<Vec<_>>().join(" ");
    assert_eq!(AnswerCheck::new(&samples(), 0.8).find(&words(&spread)), None);
}

#[test]
fn a_limit_of_one_finds_nothing() {
    assert_eq!(AnswerCheck::new(&samples(), 1.0).find(&words(ANSWER)), None);
}

/// The words of a text in other order: halves changed, neighbours swapped, one word of `without` left out.
fn moved(text: &str, without: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (first, second) = words.split_at(words.len() / 2);
    let turned = [second, first].concat();
    let kept = turned.chunks(2).flat_map(|pair| pair.iter().rev()).enumerate();
    kept.filter(|(index, _)| index % without != without - 1)
        .map(|(_, word)| *word)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
#[ignore = "needs CLARA_SECTIONS, a JSONL file of sections of statutes with `text`"]
fn planted_copies_and_paraphrases_are_found_among_real_sections_and_nothing_else() {
    let lines = std::fs::read_to_string(std::env::var("CLARA_SECTIONS").unwrap()).unwrap();
    let text = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned()
    };
    let sections: Vec<String> = lines.lines().map(text).collect();
    // Every twelfth section gives an answer: its first sentence of twenty words or more.
    let sentence = |text: &String| {
        text.split(". ")
            .find(|sentence| (20..60).contains(&sentence.split_whitespace().count()))
            .map(str::to_owned)
    };
    let answers: Vec<(usize, String)> = sections
        .iter()
        .enumerate()
        .step_by(12)
        .filter_map(|(index, text)| Some((index, sentence(text)?)))
        .collect();
    let samples: Vec<GoldenText> = answers
        .iter()
        .map(|(index, answer)| GoldenText {
            sample_id: format!("s-{index}"),
            prompt: "Was gilt?".into(),
            expected_output: answer.clone(),
        })
        .collect();
    let ngrams = OverlapCheck::new(&samples, 8, 0.2);
    let mut similar = AnswerCheck::new(&samples, 0.8);
    let (mut copies, mut paraphrases, mut by_ngrams) = (0, 0, 0);
    for (index, answer) in &answers {
        let host = &sections[(index + 6) % sections.len()];
        let id = format!("s-{index}");
        let copy = words(&format!("{host}\n\n{answer}."));
        copies += usize::from(ngrams.find_all(&copy).iter().any(|overlap| overlap.sample_id == id));
        let paraphrase = words(&format!("{host}\n\n{}.", moved(answer, 9)));
        by_ngrams += usize::from(ngrams.find_all(&paraphrase).iter().any(|overlap| overlap.sample_id == id));
        paraphrases += usize::from(similar.find(&paraphrase).is_some_and(|overlap| overlap.sample_id == id));
    }
    // Other sections than those with an answer, and than those that n-grams find already.
    let (mut others, mut wrong) = (0, Vec::new());
    for (index, section) in sections.iter().enumerate() {
        let section = words(section);
        if index % 12 != 0 && ngrams.find(&section).is_none() {
            others += 1;
            wrong.extend(similar.find(&section).map(|overlap| (index, overlap)));
        }
    }
    let planted = answers.len();
    eprintln!(
        "{planted} answers: {copies} copies found, {paraphrases} paraphrases found ({by_ngrams} by n-grams), {} of {others} other sections taken for one: {wrong:?}",
        wrong.len()
    );
    assert!(
        planted > 50 && copies == planted && paraphrases * 100 >= planted * 95,
        "{planted} {copies} {paraphrases}"
    );
    assert!(wrong.len() * 100 <= others, "{wrong:?}");
}
