//! The score tells good texts from bad ones.

use std::cmp::Ordering;

use clara_lifecycle::dataset::TrainingContent;
use serde_json::Value;

use super::{Quality, quality};
use crate::{share::share, stop_words::StopWords, words::Words};

struct Example {
    is_good: bool,
    kind: String,
    text: String,
}

fn examples() -> Vec<Example> {
    let lines = include_str!("examples.jsonl").lines();
    let example = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        Example { is_good: text("label") == "good", kind: text("kind"), text: text("text") }
    };
    lines.map(example).collect()
}

fn measure(text: &str) -> Quality {
    let content = TrainingContent::Text { text: text.into() };
    let mut words = Words::default();
    words.read(&content);
    quality(&content, &words, &StopWords::new())
}

/// Share of the pairs of a good and a bad text in which the good one has the greater value.
fn separation(examples: &[&Example], value: impl Fn(&str) -> f64) -> f64 {
    let values = |is_good| {
        let texts = examples.iter().filter(move |example| example.is_good == is_good);
        texts.map(|example| value(&example.text)).collect::<Vec<_>>()
    };
    let (good, bad) = (values(true), values(false));
    let mut halves = 0;
    for (good, bad) in good.iter().flat_map(|good| bad.iter().map(move |bad| (good, bad))) {
        halves += match good.total_cmp(bad) {
            Ordering::Greater => 2,
            Ordering::Equal => 1,
            Ordering::Less => 0,
        };
    }
    share(halves, 2 * (good.len() * bad.len()) as u64)
}

#[test]
fn good_texts_score_above_the_documented_border_and_bad_ones_below() {
    let examples = examples();
    for example in &examples {
        let quality = measure(&example.text);
        eprintln!("{:.3} {} {} {:?}", quality.score(), example.is_good, example.kind, quality.weakest());
    }
    let wrong = |kept: usize| {
        let half = examples.iter().enumerate().filter(|(line, _)| line % 2 == kept);
        half.filter(|(_, example)| (measure(&example.text).score() >= 0.5) != example.is_good)
            .map(|(_, example)| &example.kind)
            .collect::<Vec<_>>()
    };
    // At most one of twenty may be on the wrong side, in the half that nobody looked at, too.
    eprintln!(
        "wrong: {:?} of the even lines, {:?} of the odd ones, of {} each",
        wrong(0),
        wrong(1),
        examples.len() / 2
    );
    assert!(examples.len() >= 60);
    for half in [0, 1] {
        assert!(wrong(half).len() * 20 <= examples.len() / 2, "{:?}", wrong(half));
    }
}

#[test]
fn the_score_separates_what_length_does_not() {
    let examples = examples();
    let all: Vec<&Example> = examples.iter().collect();
    let by_score = separation(&all, |text| measure(text).score());
    let by_length = separation(&all, |text| f64::from(u32::try_from(text.len()).unwrap()));
    eprintln!("separation by score {by_score:.3}, by length {by_length:.3}");
    assert!(by_score > 0.97, "{by_score}");
    assert!((0.3..0.7).contains(&by_length), "{by_length}");
}

#[test]
fn a_text_said_ten_times_scores_as_if_said_once() {
    for example in examples() {
        let once = measure(&example.text).score();
        let often = measure(&[example.text.as_str(); 10].join("\n\n")).score();
        assert!((once - often).abs() < 0.01, "{}: {once} and {often}", example.kind);
    }
}

#[test]
fn the_weakest_part_is_named() {
    assert_eq!(measure("0,5 12,7 8,3 1,1 99,0 17,2 4,4 6,1 7,0 3,3 2,0").weakest().0, "letters");
    let noise = "Dcr Vcrw4ltungs4kt 1st n1cht1g, w3nn cr 4n e1nem bes0nders schwcr w1egenden Fehlcr leidct.";
    assert_eq!(measure(noise).weakest().0, "spelling");
}
