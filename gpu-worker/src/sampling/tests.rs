//! Behaviour of the choice of tokens.

use super::*;

const LOGITS: [(u32, f32); 4] = [(3, 1.0), (5, 3.0), (8, 3.0), (9, -1.0)];

fn drawn(temperature: f32, top_p: f32, seed: u64, count: usize) -> Vec<u32> {
    let mut sampler = Sampler::new(Sampling { temperature, top_p, seed });
    (0..count).map(|_| sampler.choose(&LOGITS).unwrap()).collect()
}

#[test]
fn greedy_takes_the_lowest_of_equally_likely_tokens() {
    assert_eq!(Sampler::new(Sampling::GREEDY).choose(&LOGITS), Some(5));
}

#[test]
fn the_same_seed_draws_the_same_tokens_and_another_seed_others() {
    assert_eq!(drawn(1.0, 1.0, 7, 50), drawn(1.0, 1.0, 7, 50));
    assert_ne!(drawn(1.0, 1.0, 7, 50), drawn(1.0, 1.0, 8, 50));
}

#[test]
fn draws_follow_the_probabilities() {
    let tokens = drawn(1.0, 1.0, 11, 20_000);
    let count = |token: u32| u32::try_from(tokens.iter().filter(|&&t| t == token).count()).unwrap();
    let share = |token: u32| f64::from(count(token)) / 20_000.0;
    let sum: f64 = LOGITS.iter().map(|(_, logit)| f64::from(*logit).exp()).sum();
    for (token, logit) in LOGITS {
        assert!((share(token) - f64::from(logit).exp() / sum).abs() < 0.015, "token {token}");
    }
}

#[test]
fn the_nucleus_leaves_out_the_unlikely_tail() {
    assert!(drawn(1.0, 0.9, 3, 500).iter().all(|token| [5, 8].contains(token)));
    assert!(drawn(5.0, 0.01, 3, 100).iter().all(|token| *token == 5));
}

#[test]
fn logits_that_are_not_numbers_are_never_chosen() {
    let mut sampler = Sampler::new(Sampling { temperature: 1.0, top_p: 1.0, seed: 1 });
    assert_eq!(sampler.choose(&[(0, f32::NAN), (1, f32::INFINITY)]), None);
    assert_eq!(sampler.choose(&[(0, f32::NAN), (1, -4.0)]), Some(1));
    assert_eq!(sampler.choose(&[]), None);
}

#[test]
fn log_probabilities_are_normalised_and_sorted() {
    let found = logprobs(&LOGITS, 3, 2);
    assert_eq!(found.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [5, 8]);
    let all = logprobs(&LOGITS, 3, 10);
    let sum: f64 = all.top.iter().map(|(_, logprob)| f64::from(*logprob).exp()).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    assert_eq!(found.chosen.to_bits(), all.top[2].1.to_bits());
}
