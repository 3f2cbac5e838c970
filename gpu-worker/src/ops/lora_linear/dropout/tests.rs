//! Share, mean and repeatability of the zeroes.

#![expect(clippy::cast_precision_loss, reason = "test values are small")]

use super::*;

fn zeroes(values: &[f32]) -> usize {
    values.iter().filter(|value| **value == 0.0).count()
}

#[test]
fn the_share_is_zeroed_and_the_mean_stays() {
    let (x, mut into) = (vec![1.0_f32; 100_003], vec![f32::NAN; 100_003]);
    Dropout::new(0.1, 7).unwrap().apply(&x, &mut into);
    let share = zeroes(&into) as f64 / x.len() as f64;
    let mean = into.iter().map(|value| f64::from(*value)).sum::<f64>() / x.len() as f64;
    // Four standard deviations of a binomial share.
    assert!((share - 0.1).abs() < 4.0 * (0.09_f64 / 100_003.0).sqrt(), "{share}");
    assert!((mean - 1.0).abs() < 5e-3, "{mean}");
    assert!(into.iter().all(|value| *value == 0.0 || (value - 1.0 / 0.9).abs() < 1e-4));
}

#[test]
fn the_same_key_gives_the_same_zeroes_and_another_stream_others() {
    let x = vec![1.0_f32; 40_000];
    let run = |dropout: Dropout| {
        let mut into = vec![0.0; x.len()];
        dropout.apply(&x, &mut into);
        into
    };
    let dropout = Dropout::new(0.5, 1).unwrap();
    assert_eq!(run(dropout), run(dropout));
    let (one, other) = (run(dropout.stream(1)), run(dropout.stream(2)));
    let both = one.iter().zip(&other).filter(|(a, b)| **a == 0.0 && **b == 0.0).count();
    // A quarter, when the streams know nothing of each other.
    assert!((9_600..10_400).contains(&both), "{both}");
}

#[test]
fn the_gradient_is_zeroed_where_the_value_was() {
    let x: Vec<f32> = (1..=37).map(|value| value as f32).collect();
    let dropout = Dropout::new(0.3, 3).unwrap();
    let (mut forward, mut backward) = (vec![0.0; 37], vec![0.5; 37]);
    dropout.apply(&x, &mut forward);
    dropout.add_backward(&x, &mut backward);
    let expected: Vec<f32> = forward.iter().map(|value| value + 0.5).collect();
    assert_eq!(backward, expected);
}

#[test]
fn nothing_to_zero_is_no_dropout() {
    assert!(Dropout::new(0.0, 1).is_none());
}
