//! Axes, points and names of a drawing.

use clara_lifecycle::curve::{CurvePoint, ValidationPoint};

use super::{axis::ticks, *};

fn heading() -> Heading {
    Heading { title: "Training of <a> & \"b\"\u{7}".to_owned(), subtitle: "job-1 · lora".to_owned() }
}

fn curve(steps: u32) -> TrainingCurve {
    let mut curve = TrainingCurve::default();
    curve.add(CurvePoint::Validation(ValidationPoint { step: 0, validation_loss: 4.0 }));
    for step in 1..=steps {
        let loss = 4.0 - 2.0 * f64::from(step) / f64::from(steps);
        let point = StepPoint { step: step.into(), loss, learning_rate: 2e-4, grad_norm: 1.0 };
        curve.add(CurvePoint::Step(point));
    }
    let end = ValidationPoint { step: steps.into(), validation_loss: 3.0 };
    curve.add(CurvePoint::Validation(end));
    curve
}

/// Elements that hold some text.
fn elements<'a>(svg: &'a str, with: &str) -> Vec<&'a str> {
    svg.lines().filter(|line| line.contains(with)).collect()
}

#[test]
fn names_are_escaped_and_lose_what_xml_cannot_hold() {
    let svg = draw(&curve(4), &heading()).unwrap();
    assert_eq!(elements(&svg, "<title>"), ["<title>Training of &lt;a&gt; &amp; &quot;b&quot;</title>"]);
    assert!(!svg.contains('\u{7}') && svg.contains(">job-1 · lora</text>"));
}

#[test]
fn axes_have_names_units_and_round_values() {
    let svg = draw(&curve(4), &heading()).unwrap();
    for words in ["loss, nats per token", "learning rate", "optimiser step"] {
        assert_eq!(elements(&svg, &format!(">{words}</text>")).len(), 1, "{words}");
    }
    for tick in ["2.5", "4", "2e-4", "0"] {
        assert!(!elements(&svg, &format!(">{tick}</text>")).is_empty(), "{tick} is missing in\n{svg}");
    }
}

#[test]
fn each_point_is_at_its_place() {
    let svg = draw(&curve(4), &heading()).unwrap();
    let training = elements(&svg, "<polyline fill=\"none\" stroke-linejoin=\"round\" class=\"train\"");
    // Loss 3.5 at the first of four steps: a quarter of the width, a quarter of the height.
    assert_eq!(training.len(), 1);
    assert!(
        training[0].contains("points=\"270.0,174.0 464.0,244.0 658.0,314.0 852.0,384.0\""),
        "{training:?}"
    );
    let dots = elements(&svg, "<circle");
    assert_eq!(dots.len(), 2);
    assert!(
        dots[0].contains("cx=\"76.0\" cy=\"104.0\"") && dots[1].contains("cx=\"852.0\" cy=\"244.0\""),
        "{dots:?}"
    );
}

#[test]
fn of_many_steps_a_mean_is_drawn_over_the_faint_points() {
    let svg = draw(&curve(200), &heading()).unwrap();
    let training = elements(&svg, "<polyline fill=\"none\" stroke-linejoin=\"round\" class=\"train\"");
    assert_eq!(training.len(), 2);
    assert!(training[0].contains("opacity=\"0.35\"") && !training[1].contains("opacity"));
    assert_eq!(elements(&svg, "training, mean of 11 points").len(), 1);
}

#[test]
fn a_mean_takes_the_neighbours_that_there_are() {
    let steps = curve(5).steps.into_iter().map(|point| StepPoint { loss: real(point.step), ..point });
    let steps: Vec<StepPoint> = steps.collect();
    let means: Vec<(u64, f64)> = smooth(&steps, 1).collect();
    for ((step, mean), expected) in means.into_iter().zip([1.5, 2.0, 3.0, 4.0, 4.5]) {
        assert!((mean - expected).abs() < 1e-12, "{step}: {mean}");
    }
}

#[test]
fn one_step_can_be_drawn_and_none_cannot() {
    let one = draw(&curve(1), &heading()).unwrap();
    assert!(one.ends_with("</svg>\n") && !one.contains("NaN") && !one.contains("inf"));
    assert_eq!(draw(&TrainingCurve::default(), &heading()), None);
}

#[test]
fn ticks_are_round_and_as_many_as_asked_for_at_most_by_one() {
    let labels = |low, high, wanted| -> Vec<String> {
        ticks(Range { low, high }, wanted).into_iter().map(|(_, label)| label).collect()
    };
    assert_eq!(labels(0.0, 57.0, 8.0), ["0", "10", "20", "30", "40", "50"]);
    assert_eq!(labels(1.23, 2.31, 5.0), ["1.5", "2"]);
    assert_eq!(labels(0.0, 2e-4, 3.0), ["0", "1e-4", "2e-4"]);
    assert_eq!(labels(-0.1, 0.1, 4.0), ["-0.1", "-0.05", "0", "0.05", "0.1"]);
}
