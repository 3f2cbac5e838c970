//! Tests of scores as expectations.

use clara_lifecycle::score::Criterion;

use super::{Distribution, distributions};
use crate::client::TokenLogprob;

fn token(text: &str, top: &[(&str, f64)]) -> TokenLogprob {
    let own = top.iter().find(|(other, _)| *other == text).map_or(0.9, |(_, p)| *p);
    let top = top.iter().map(|(text, p)| ((*text).to_owned(), p.ln())).collect();
    TokenLogprob { token: text.to_owned(), logprob: own.ln(), top }
}

/// A reply with two scores whose second token is `score` with its rivals.
fn reply(before: &str, score: TokenLogprob, after: &str) -> (String, Vec<TokenLogprob>) {
    let tokens = vec![token("{\"scores\": {\"style\":", &[]), token(before, &[]), score, token(after, &[])];
    (tokens.iter().map(|token| token.token.as_str()).collect(), tokens)
}

fn style(text: &str, tokens: &[TokenLogprob], mark: f64) -> Option<(f64, f64, f64)> {
    let found = distributions(text, tokens, &[(Criterion::Style, mark)].into())?;
    let vote = found[&Criterion::Style].vote(None)?;
    Some((vote.mean, vote.mode, vote.entropy))
}

#[test]
fn a_score_is_the_expectation_over_its_tokens() {
    let (text, tokens) = reply(" ", token("4", &[("4", 0.5), ("3", 0.25), ("5", 0.25)]), "}}");
    let (mean, mode, entropy) = style(&text, &tokens, 4.0).unwrap();
    assert!((mean - 8.0).abs() < 1e-9 && (mode - 8.0).abs() < 1e-9 && (entropy - 1.5).abs() < 1e-9);
}

#[test]
fn blanks_in_tokens_and_numbers_of_several_digits_are_seen_through() {
    // " 4" and "4" are the same score; "10" and "45" are none; "x" carries no score.
    let rivals = [(" 4", 0.3), ("4", 0.2), (" 2", 0.25), (" 10", 0.1), ("45", 0.1), ("x", 0.05)];
    let (text, tokens) = reply("", token(" 4", &rivals), "}}");
    let (mean, mode, _) = style(&text, &tokens, 4.0).unwrap();
    assert!((mean - 2.0 * (4.0 * 0.5 + 2.0 * 0.25) / 0.75).abs() < 1e-9, "{mean}");
    assert!((mode - 8.0).abs() < 1e-9);
}

#[test]
fn a_token_may_hold_more_than_the_score() {
    let (text, tokens) = reply("", token(" \"3\"}", &[(" \"3\"}", 0.6), (" \"1\"}", 0.4)]), "}");
    let (mean, ..) = style(&text, &tokens, 3.0).unwrap();
    assert!((mean - 2.0 * (3.0 * 0.6 + 0.4)).abs() < 1e-9, "{mean}");
}

#[test]
fn the_chosen_token_counts_where_it_is_not_told_among_the_likeliest() {
    let (text, mut tokens) = reply(" ", token("2", &[("3", 0.1)]), "}}");
    tokens[2].logprob = 0.7_f64.ln();
    let (mean, ..) = style(&text, &tokens, 2.0).unwrap();
    assert!((mean - 2.0 * (2.0 * 0.7 + 3.0 * 0.1) / 0.8).abs() < 1e-9, "{mean}");
}

#[test]
fn without_a_clear_place_or_enough_probability_there_is_no_expectation() {
    let (text, tokens) = reply(" ", token("4", &[("4", 0.2), ("x", 0.8)]), "}}");
    assert_eq!(style(&text, &tokens, 4.0), None, "too little probability");
    let (text, tokens) = reply(" ", token("4", &[("4", 1.0)]), ".5}}");
    assert_eq!(style(&text, &tokens, 4.5), None, "no whole number");
    assert_eq!(style(&text, &tokens, 3.0), None, "another number was read");
    assert_eq!(style("{\"scores\": {\"style\": 4}} other text", &tokens, 4.0), None, "other tokens");
    assert_eq!(style(&text, &[], 4.0), None, "no tokens");
}

#[test]
fn the_scores_are_found_where_reasons_name_the_criteria_too() {
    let parts = [
        ("{\"reasoning\": {\"style\": \"5 Mängel\"}, \"scores\": {\"style\": ", vec![]),
        ("1", vec![("1", 0.9), ("0", 0.1)]),
        ("}}", vec![]),
    ];
    let tokens: Vec<_> = parts.iter().map(|(text, top)| token(text, top)).collect();
    let text: String = tokens.iter().map(|token| token.token.as_str()).collect();
    let (mean, ..) = style(&text, &tokens, 1.0).unwrap();
    assert!((mean - 1.8).abs() < 1e-9, "{mean}");
}

#[test]
fn repeats_give_mean_mode_and_entropy() {
    let vote = Distribution::of_marks([5.0, 3.0, 3.0, 5.0]).vote(Some("why".into())).unwrap();
    assert!((vote.mean - 8.0).abs() < 1e-9 && (vote.mode - 6.0).abs() < 1e-9);
    assert!((vote.entropy - 1.0).abs() < 1e-9);
    assert_eq!(Distribution::of_marks([]).vote(None), None);
}
