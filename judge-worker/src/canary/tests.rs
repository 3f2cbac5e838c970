//! Tests of drawing canaries.

use clara_lifecycle::{
    golden::{GoldenDataset, GoldenSample},
    rubric::Language,
};

use super::{ATTACKS, drawn};
use crate::injection::speaks_to_judge;

fn golden(samples: usize) -> GoldenDataset {
    let (id, domain) = ("golden".parse().unwrap(), "law".parse().unwrap());
    let mut golden = GoldenDataset::new(id, domain, "anna".into(), "2026-01-01T00:00:00Z".into());
    for number in 0..samples {
        golden.add(GoldenSample::new(format!("question {number}"), "expected".into()));
    }
    golden
}

#[test]
fn the_same_dataset_draws_the_same_canaries_and_another_one_others() {
    let names = |golden: &GoldenDataset| -> Vec<(String, &'static str)> {
        let canaries = drawn(golden, Language::German, 5);
        canaries.iter().map(|canary| (canary.sample.sample_id.clone(), canary.attack)).collect()
    };
    let (one, other) = (golden(30), golden(31));
    assert_eq!(names(&one), names(&one));
    assert_ne!(names(&one), names(&other));
    let attacks: std::collections::BTreeSet<_> = names(&one).into_iter().map(|(_, attack)| attack).collect();
    assert_eq!(attacks.len(), ATTACKS.len());
}

#[test]
fn a_small_dataset_has_enough_for_all_canaries_and_an_empty_one_has_none() {
    assert_eq!(drawn(&golden(2), Language::English, 7).len(), 7);
    assert_eq!(drawn(&golden(0), Language::English, 7).len(), 0);
}

#[test]
fn every_attack_but_the_bare_key_word_is_seen_by_the_detector() {
    for (name, german, english) in ATTACKS {
        let is_seen = name != "master_key";
        assert_eq!((speaks_to_judge(german), speaks_to_judge(english)), (is_seen, is_seen), "{name}");
    }
}
