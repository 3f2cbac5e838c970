//! Shares of sources, and weights that cannot be met.

use std::collections::BTreeMap;

use super::{check, mix};
use crate::split::SplitKey;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn weights(weights: &[(&str, f64)]) -> BTreeMap<String, f64> {
    weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

/// Documents kept of each source, when the sources `a`, `b`, … have so many.
fn kept(available: &[usize], given: &[(&str, f64)]) -> Vec<u64> {
    let sources = names(&["a", "b", "c"].into_iter().take(available.len()).collect::<Vec<_>>());
    let of: Vec<u16> = available.iter().zip(0..).flat_map(|(count, source)| vec![source; *count]).collect();
    let keys: Vec<SplitKey> = (0..of.len()).map(|n| SplitKey::new(42, &format!("doc-{n}"))).collect();
    let mixture = mix(&keys, &of, &sources, &weights(given));
    let flags = mixture.kept.iter().filter(|flag| **flag).count() as u64;
    let counts: Vec<u64> = mixture.shares.iter().map(|share| share.kept).collect();
    assert_eq!(flags, counts.iter().sum::<u64>());
    counts
}

#[test]
fn the_source_with_too_few_sets_the_size_of_the_whole() {
    assert_eq!(kept(&[1_000, 100], &[("a", 0.5), ("b", 0.5)]), [100, 100]);
    assert_eq!(kept(&[1_000, 100], &[("a", 0.75), ("b", 0.25)]), [300, 100]);
    assert_eq!(kept(&[1_000, 100], &[("a", 9.0), ("b", 1.0)]), [900, 100]);
}

#[test]
fn sources_without_a_weight_are_taken_whole_and_set_the_size() {
    assert_eq!(kept(&[1_000, 100, 100], &[("a", 0.5)]), [200, 100, 100]);
    assert_eq!(kept(&[1_000, 90], &[("a", 0.1)]), [10, 90]);
}

#[test]
fn nothing_is_repeated_to_make_up_a_share() {
    assert_eq!(kept(&[20, 100], &[("a", 0.5)]), [20, 100]);
}

#[test]
fn a_source_without_documents_does_not_empty_the_others() {
    assert_eq!(kept(&[50, 0, 100], &[("a", 0.25), ("b", 0.5), ("c", 0.25)]), [50, 0, 50]);
    assert_eq!(kept(&[0, 10], &[("a", 0.5)]), [0, 10]);
}

#[test]
fn a_small_weight_still_takes_one() {
    assert_eq!(kept(&[100, 100], &[("a", 0.001), ("b", 0.999)]), [1, 100]);
}

#[test]
fn weights_that_cannot_be_met_are_refused() {
    let sources = names(&["a", "b"]);
    let problem = |given: &[(&str, f64)]| check(&weights(given), &sources).unwrap_err().to_string();
    assert!(problem(&[("c", 0.5)]).contains("`c`, which is not among the sources a, b"));
    assert!(problem(&[("a", 0.0)]).contains("gives `a` 0; expected more than 0"));
    assert!(problem(&[("a", f64::NAN)]).contains("expected more than 0"));
    assert!(problem(&[("a", 1.0)]).contains("leaves nothing for `b`"));
    assert!(check(&weights(&[("a", 2.0), ("b", 1.0)]), &sources).is_ok());
    assert!(check(&weights(&[("a", 0.5)]), &sources).is_ok());
}
