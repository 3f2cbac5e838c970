//! The figures are those of `rouge-score` and `sacrebleu`; see `tests/fixtures/text_metrics/README.md`.

use clara_lifecycle::score::TextMetrics;
use serde::Deserialize;

use super::measure;

#[derive(Deserialize)]
struct Case {
    answer: String,
    expected: String,
    metrics: TextMetrics,
}

#[test]
fn figures_are_those_of_the_libraries_of_reference() {
    let text = include_str!("../../tests/fixtures/text_metrics/text_metrics.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    for Case { answer, expected, metrics: wanted } in cases {
        let found = measure(&answer, &expected);
        let pairs = [
            ("rouge_1", found.rouge_1, wanted.rouge_1),
            ("rouge_2", found.rouge_2, wanted.rouge_2),
            ("rouge_l", found.rouge_l, wanted.rouge_l),
            ("chrf", found.chrf, wanted.chrf),
            ("token_f1", found.token_f1, wanted.token_f1),
            ("exact_match", found.exact_match, wanted.exact_match),
        ];
        for (name, found, wanted) in pairs {
            assert!(
                (found - wanted).abs() < 1e-9,
                "{name} of {answer:?} by {expected:?}: {found}, not {wanted}"
            );
        }
    }
}

#[test]
fn equal_texts_have_full_marks_and_strangers_none() {
    let text = "Der Verwaltungsakt wird mit der Bekanntgabe wirksam.";
    let same = measure(text, text);
    let figures = [same.rouge_1, same.rouge_2, same.rouge_l, same.chrf, same.token_f1, same.exact_match];
    assert!(figures.iter().all(|figure| (figure - 1.0).abs() < 1e-12), "{same:?}");
    let strange = measure("xyz", "Bau");
    let figures = [strange.rouge_1, strange.chrf, strange.token_f1, strange.exact_match];
    assert!(figures.iter().all(|figure| figure.abs() < 1e-12), "{strange:?}");
}
