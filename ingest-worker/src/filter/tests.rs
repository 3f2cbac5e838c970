//! The borders of the filters.

use clara_lifecycle::{
    dataset::{DropReason, TrainingContent},
    spec::IngestOptions,
};

use super::{domain, length};

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
