//! Speed follows the newest steps.

use super::*;

fn step(tokens: u64, seconds: f64) -> StepRecord {
    StepRecord {
        step: 1,
        loss: 1.0,
        learning_rate: 0.1,
        grad_norm: 1.0,
        tokens,
        target_tokens: tokens,
        seconds,
    }
}

#[test]
fn speed_and_time_left_come_from_the_newest_steps_alone() {
    let mut speed = Speed::default();
    for _ in 0..100 {
        speed.add(&step(100, 10.0));
    }
    assert!((speed.tokens_per_second() - 10.0).abs() < 1e-9);
    for _ in 0..STEPS / 2 {
        speed.add(&step(300, 2.0));
    }
    assert!((speed.tokens_per_second() - 400.0 / 12.0).abs() < 1e-9);
    assert!((speed.seconds_left(5) - 30.0).abs() < 1e-9);
}

#[test]
fn before_the_first_step_nothing_is_known() {
    let speed = Speed::default();
    assert!(speed.tokens_per_second().abs() < 1e-9 && speed.seconds_left(7).abs() < 1e-9);
}
