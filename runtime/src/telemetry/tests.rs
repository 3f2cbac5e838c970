//! Filters that can be read and those that cannot.

use super::*;

#[test]
fn levels_and_levels_by_module_are_filters() {
    for text in ["info", "warn,clara_runtime=debug", "off"] {
        assert!(is_filter(text), "{text}");
    }
}

#[test]
fn what_is_no_filter_is_told_with_an_example() {
    let error = filter("clara=loud").unwrap_err().to_string();
    assert!(error.contains("clara=loud") && error.contains("clara_runtime=debug"), "{error}");
}
