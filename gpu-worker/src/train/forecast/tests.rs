//! Memory decides what is kept; what does not fit is refused with what would.

#![expect(clippy::cast_precision_loss, reason = "test values are small")]

use super::*;
use crate::{
    model::LoadedModel,
    train::tests::{input, options, tiny},
};

fn forecast(model: &LoadedModel, free_bytes: Option<u64>) -> Result<Forecast, TrainError> {
    let options = clara_lifecycle::spec::TrainingOptions { sequence_length: 256, ..options() };
    let input = input(model, options).unwrap();
    Forecast::new(&input, &model.base, &Place::Cpu, Machine { operations_per_second: 1e9, free_bytes })
}

#[test]
fn steps_tokens_and_time_are_known_before_the_first_step() {
    let model = tiny();
    let input = input(&model, options()).unwrap();
    let machine = Machine { operations_per_second: 1e9, free_bytes: None };
    let forecast = Forecast::new(&input, &model.base, &Place::Cpu, machine).unwrap();
    assert_eq!(forecast.tokens, 3 * input.train.report().tokens);
    assert_eq!(forecast.steps, 3 * (input.train.len() as u64).div_ceil(2));
    assert!((forecast.seconds - forecast.operations / 8e8).abs() < 1e-9);
    assert!(
        forecast
            .to_string()
            .starts_with(&format!("{} steps with {} tokens", forecast.steps, forecast.tokens))
    );
}

#[test]
fn the_arithmetic_is_that_of_a_hand_count() {
    let model = tiny();
    let input =
        input(&model, clara_lifecycle::spec::TrainingOptions { packing: false, ..options() }).unwrap();
    let config = &model.base.config;
    let (hidden, inner) = (config.hidden_size as f64, config.intermediate_size as f64);
    let key = (config.key_value_heads * config.head_dim) as f64;
    let linear = config.layers as f64 * (2.0 * hidden * hidden + 2.0 * hidden * key + 3.0 * hidden * inner);
    let work = Work::new(&model.base, &input.lora);
    assert!((work.linear - linear).abs() < 0.5, "{} and {linear}", work.linear);
    assert!((work.head - hidden * config.vocab_size as f64).abs() < 0.5);
}

#[test]
fn blocks_are_computed_twice_when_they_cannot_all_be_kept() {
    let model = tiny();
    let roomy = forecast(&model, None).unwrap();
    assert!(!roomy.recompute);
    let short = roomy.memory.added_bytes() as u64 - 1;
    let tight = forecast(&model, Some(short)).unwrap();
    assert!(tight.recompute);
    assert!(tight.memory.activation_bytes < roomy.memory.activation_bytes);
    assert!(tight.operations > roomy.operations);
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers_and_what_would() {
    let model = tiny();
    let roomy = forecast(&model, None).unwrap();
    let tight = forecast(&model, Some(roomy.memory.added_bytes() as u64 - 1)).unwrap();
    let refused = forecast(&model, Some(tight.memory.added_bytes() as u64 * 3 / 4)).unwrap_err();
    assert!(matches!(refused, TrainError::Memory(_)), "{refused}");
    assert!(!refused.is_retryable());
    let text = refused.to_string();
    assert!(text.contains("are free; it would fit with sequence_length "), "{text}");
    let refused = forecast(&model, Some(1000)).unwrap_err().to_string();
    assert!(refused.contains("use a machine with more memory"), "{refused}");
}
