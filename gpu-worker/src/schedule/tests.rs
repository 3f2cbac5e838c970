//! Values as `get_{linear,cosine,constant}_schedule_with_warmup` of transformers give them.

use super::*;

fn rates(schedule: Schedule, warmup_ratio: f32, total_steps: u64) -> Vec<f64> {
    let options = TrainingOptions { schedule, warmup_ratio, ..TrainingOptions::default() };
    rates_of(options, total_steps)
}

fn rates_of(options: TrainingOptions, total_steps: u64) -> Vec<f64> {
    let options = TrainingOptions { learning_rate: 1e-3, ..options };
    let rate = LearningRate::new(&options, total_steps);
    (0..total_steps).map(|step| rate.at(step)).collect()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 1e-12, "step {step}: {found}, expected {expected}");
    }
}

#[test]
fn linear_rises_to_its_peak_and_falls_to_zero() {
    let expected = [0.0, 5e-4, 1e-3, 8.75e-4, 7.5e-4, 6.25e-4, 5e-4, 3.75e-4, 2.5e-4, 1.25e-4];
    assert_close(&rates(Schedule::Linear, 0.2, 10), &expected);
}

#[test]
fn cosine_falls_along_half_a_wave() {
    let expected = [
        0.0,
        5e-4,
        1e-3,
        9.619_397_662_556_434e-4,
        8.535_533_905_932_737e-4,
        6.913_417_161_825_449e-4,
        5e-4,
        3.086_582_838_174_551e-4,
        1.464_466_094_067_262_6e-4,
        3.806_023_374_435_663e-5,
    ];
    assert_close(&rates(Schedule::Cosine, 0.2, 10), &expected);
}

#[test]
fn a_floor_is_what_the_rate_falls_to() {
    // get_cosine_with_min_lr_schedule_with_warmup(optimizer, 2, 10, min_lr_rate=0.1)
    let expected = [
        0.0,
        5e-4,
        1e-3,
        9.657_457_896_3e-4,
        8.681_980_515_339e-4,
        7.222_075_445_643e-4,
        5.5e-4,
        3.777_924_554_357e-4,
        2.318_019_484_661e-4,
        1.342_542_103_699e-4,
    ];
    let (schedule, warmup_ratio, min_lr_ratio) = (Schedule::Cosine, 0.2, 0.1);
    let options = TrainingOptions { schedule, warmup_ratio, min_lr_ratio, ..TrainingOptions::default() };
    assert_close(&rates_of(options, 10), &expected);
}

#[test]
fn a_stable_schedule_falls_in_its_last_steps() {
    // get_wsd_schedule(optimizer, 2, 4, num_training_steps=10, min_lr_ratio=0.2), whose warm-up starts at the floor.
    let expected =
        [0.0, 5e-4, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 8.828_427_124_746_191e-4, 6e-4, 3.171_572_875_253_81e-4];
    let options = TrainingOptions {
        schedule: Schedule::WarmupStableDecay,
        warmup_ratio: 0.2,
        decay_ratio: 0.4,
        min_lr_ratio: 0.2,
        ..TrainingOptions::default()
    };
    assert_close(&rates_of(options, 10), &expected);
}

#[test]
fn constant_stays_at_its_peak_after_warm_up() {
    assert_close(&rates(Schedule::Constant, 0.5, 4), &[0.0, 5e-4, 1e-3, 1e-3]);
}

#[test]
fn without_warm_up_the_first_step_is_at_the_peak() {
    for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine] {
        assert_close(&rates(schedule, 0.0, 3)[..1], &[1e-3]);
    }
}

#[test]
fn a_fraction_of_a_warm_up_step_counts_as_one() {
    assert_close(&rates(Schedule::Constant, 0.05, 10)[..2], &[0.0, 1e-3]);
}

#[test]
fn a_rate_is_the_decimal_number_that_was_written() {
    assert_eq!(as_written(2e-4).to_bits(), 2e-4_f64.to_bits());
}
