//! Checks the generator of initial values.

use super::{SplitMix64, fill_uniform};

#[test]
fn the_generator_gives_the_published_sequence() {
    let mut generator = SplitMix64(1_234_567);
    assert_eq!(generator.next(), 6_457_827_717_110_365_317);
    assert_eq!(generator.next(), 3_203_168_211_198_807_973);
}

#[test]
fn values_fill_the_range_evenly_and_streams_differ() {
    let (mut first, mut again, mut second) = (vec![0.0; 10_000], vec![0.0; 10_000], vec![0.0; 10_000]);
    fill_uniform(&mut first, 0.25, 7, 0);
    fill_uniform(&mut again, 0.25, 7, 0);
    fill_uniform(&mut second, 0.25, 7, 1);
    assert_eq!(first, again);
    assert_ne!(first, second);
    assert!(first.iter().all(|v| (-0.25..0.25).contains(v)));
    let mean = first.iter().sum::<f32>() / 10_000.0;
    let variance = first.iter().map(|v| v * v).sum::<f32>() / 10_000.0;
    assert!(
        mean.abs() < 0.005 && (variance - 0.0625 / 3.0).abs() < 0.001,
        "mean {mean}, variance {variance}"
    );
}
