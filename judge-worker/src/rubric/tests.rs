//! Tests of the rubric.

use clara_lifecycle::score::Criterion;

use super::{Language, Rubric};

#[test]
fn every_rubric_covers_every_criterion_from_10_to_0() {
    for language in [Language::German, Language::English] {
        let rubric = Rubric::of(language);
        let criteria: Vec<_> = rubric.entries.iter().map(|entry| entry.criterion).collect();
        assert_eq!(criteria, Criterion::ALL);
        for entry in &rubric.entries {
            assert!(entry.anchors.windows(2).all(|pair| pair[0].0 > pair[1].0), "{entry:?}");
            assert_eq!((entry.anchors[0].0, entry.anchors[4].0), (10, 0));
        }
    }
}

#[test]
fn a_changed_text_needs_a_new_version() {
    // When this fails, raise the version of the rubric and write its new digest here.
    let known = [(Language::German, "de-1", "07aee9bd4c25"), (Language::English, "en-1", "5007004d6493")];
    for (language, version, digest) in known {
        let rubric = Rubric::of(language);
        assert_eq!((rubric.version, rubric.digest().short()), (version, digest));
    }
}
