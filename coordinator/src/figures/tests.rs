//! Tests of figures for people.

use std::time::Duration;

use super::*;

#[test]
fn a_missing_number_is_a_dash_and_never_a_zero() {
    assert_eq!(number(None, 1), "–");
    assert_eq!(percent(None), "–");
    assert_eq!(number(Some(0.0), 1), "0.0");
}

#[test]
fn what_is_counted_has_no_decimals() {
    assert_eq!(number(Some(2.0), decimals("golden_evaluations")), "2");
    assert_eq!(number(Some(2.0), decimals("llm_judge_score")), "2.000");
}

#[test]
fn spans_name_at_most_two_units() {
    assert_eq!(span(Duration::from_secs(59)), "59 s");
    assert_eq!(span(Duration::from_secs(61)), "1 min 1 s");
    assert_eq!(span(Duration::from_secs(3_725)), "1 h 2 min");
}

#[test]
fn sizes_use_the_largest_unit_that_leaves_at_least_one() {
    assert_eq!(bytes(0), "0 B");
    assert_eq!(bytes(1023), "1023 B");
    assert_eq!(bytes(1536), "1.5 KiB");
    assert_eq!(bytes(3 << 30), "3.0 GiB");
}

#[test]
fn text_of_a_model_cannot_steer_the_terminal() {
    assert_eq!(plain("a\u{1b}[31mb\nc"), "a[31mb\nc");
    assert_eq!(excerpt("one\n two   three", 9), "one two …");
}

#[test]
fn times_are_shown_in_utc_to_the_second() {
    assert_eq!(time(Timestamp(1_500)), "1970-01-01 00:00:01");
}
