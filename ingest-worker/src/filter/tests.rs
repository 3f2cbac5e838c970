//! The borders of the filters.

use clara_lifecycle::{
    dataset::{DropReason, TrainingContent},
    spec::{CleanOptions, IngestOptions},
};

use super::{allowed, domain, length};
use crate::source::{Document, Origin};

#[test]
fn both_length_limits_are_inclusive_and_count_characters() {
    let options = IngestOptions { min_chars: 3, max_chars: 5, ..IngestOptions::default() };
    let reason =
        |text: &str| length(&TrainingContent::Text { text: text.into() }, &options).map(|(reason, _)| reason);
    assert_eq!(reason("äö"), Some(DropReason::TooShort));
    assert_eq!(reason("äöü"), None);
    assert_eq!(reason("äöüäö"), None);
    assert_eq!(reason("äöüäöü"), Some(DropReason::TooLong));
    assert_eq!(reason(" äöüäö "), None);
}

#[test]
fn an_empty_document_is_too_short_even_without_a_limit() {
    let options = IngestOptions { min_chars: 0, ..IngestOptions::default() };
    let empty = TrainingContent::Text { text: " \n".into() };
    assert_eq!(length(&empty, &options).map(|(reason, _)| reason), Some(DropReason::TooShort));
}

#[test]
fn only_a_document_that_names_another_domain_is_refused() {
    let expected = "verwaltungsrecht".parse().unwrap();
    assert_eq!(domain(None, &expected), None);
    assert_eq!(domain(Some(" "), &expected), None);
    assert_eq!(domain(Some("Verwaltungsrecht"), &expected), None);
    assert_eq!(domain(Some("steuerrecht"), &expected).unwrap().0, DropReason::OtherDomain);
}

#[test]
fn a_licence_or_classification_must_be_among_those_asked_for_and_none_is_not() {
    let document = |licence: Option<&str>, classification: Option<&str>| Document {
        id: "d".into(),
        origin: Origin::file("d.md"),
        domain: None,
        licence: licence.map(str::to_owned),
        classification: classification.map(str::to_owned),
        content: TrainingContent::Text { text: "Text".into() },
        metadata: std::collections::BTreeMap::new(),
    };
    let open =
        CleanOptions { licences: vec!["CC-BY-4.0".into(), "dl-de/by-2-0".into()], ..CleanOptions::default() };
    assert_eq!(allowed(&document(Some(" cc-by-4.0"), None), &open), None);
    let (reason, detail) = allowed(&document(Some("proprietary"), None), &open).unwrap();
    assert_eq!(
        (reason, detail.as_str()),
        (DropReason::NotAllowed, "the licence is `proprietary`, expected `CC-BY-4.0`, `dl-de/by-2-0`")
    );
    assert!(allowed(&document(None, None), &open).unwrap().1.starts_with("the licence is none"));
    let public = CleanOptions { classifications: vec!["public".into()], ..CleanOptions::default() };
    assert!(allowed(&document(None, Some("internal")), &public).is_some());
    assert_eq!(allowed(&document(None, Some("Public")), &public), None);
    assert_eq!(allowed(&document(None, None), &CleanOptions::default()), None);
}
