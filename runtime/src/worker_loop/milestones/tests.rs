//! Each tenth once, with its figures.

use super::*;

fn progress(done: u64, total: Option<u64>) -> Progress {
    let figures = [("loss".to_owned(), 2.25)].into();
    Progress { done, total, unit: "steps".to_owned(), figures, ..Progress::default() }
}

#[test]
fn each_tenth_is_told_once() {
    let mut milestones = Milestones::default();
    let told: Vec<String> = [0, 9, 10, 15, 47, 48, 100, 100]
        .into_iter()
        .filter_map(|done| milestones.reached(&progress(done, Some(100))))
        .collect();
    assert_eq!(
        told,
        ["10 of 100 steps, loss 2.2500", "47 of 100 steps, loss 2.2500", "100 of 100 steps, loss 2.2500"]
    );
}

#[test]
fn a_figure_has_the_digits_that_say_something() {
    for (value, text) in [(2.25, "2.2500"), (0.0, "0.0000"), (2e-5, "2.000e-5"), (123_456_789.0, "123456789")]
    {
        assert_eq!(short(value), text);
    }
}

#[test]
fn without_a_total_nothing_is_told() {
    assert_eq!(Milestones::default().reached(&progress(5, None)), None);
    assert_eq!(Milestones::default().reached(&progress(0, Some(0))), None);
}
