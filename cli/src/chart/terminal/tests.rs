//! Fixed drawings, and when there is none.

use clara_lifecycle::curve::{CurvePoint, StepPoint, ValidationPoint};

use super::*;

const ROOM: Room = Room { width: 30, height: 8 };

fn curve(losses: &[f64], validations: &[(u64, f64)]) -> TrainingCurve {
    let mut curve = TrainingCurve::default();
    for (step, loss) in (1..).zip(losses) {
        curve.add(CurvePoint::Step(StepPoint { step, loss: *loss, learning_rate: 1e-4, grad_norm: 1.0 }));
    }
    let point = |(step, validation_loss): &(u64, f64)| ValidationPoint {
        step: *step,
        validation_loss: *validation_loss,
    };
    curve.validations = validations.iter().map(point).collect();
    curve
}

fn drawn(curve: &TrainingCurve, room: Room) -> String {
    draw(curve, room).unwrap_or_default().join("\n")
}

#[test]
fn a_falling_loss_and_its_validations_are_drawn_with_their_ends() {
    let falling = curve(&[3.0, 2.5, 2.0, 1.5, 1.0], &[(0, 3.5), (2, 2.75), (5, 1.25)]);
    let expected = "\
3.500 ┤o
      │    ⠈⠑⠢⢄⡀o
      │        ⠈⠉⠒⠢⠤⣀⡀
      │              ⠈⠑⠢⢄⣀
1.000 ┤                   ⠉⠒⠤o
      └───────────────────────
       step 0                5
       ⠒ loss 1.000   o validation 1.250";
    assert_eq!(drawn(&falling, ROOM), expected);
}

#[test]
fn of_many_steps_each_column_shows_the_mean() {
    let up_and_down: Vec<f64> = (0..4000).map(|step| if step % 2 == 0 { 0.0 } else { 2.0 }).collect();
    let expected = "\
2.000 ┤
      │
      │⠔⠔⠤⠢⠢⠢⠔⠔⠔⠤⠢⠢⠢⠔⠔⠔⠔⠤⠢⠢⠢⠔⠔
      │
0.000 ┤
      └───────────────────────
       step 1             4000
       ⠒ loss 2.000";
    assert_eq!(drawn(&curve(&up_and_down, &[]), ROOM), expected);
}

#[test]
fn no_line_is_wider_than_the_room_and_there_are_no_more_than_fit() {
    let long: Vec<f64> = (1..500_u32).map(|step| 900.0 / f64::from(step)).collect();
    for room in [Room { width: 20, height: 6 }, ROOM, Room { width: 100, height: 14 }] {
        let lines = draw(&curve(&long, &[(100, 5.0)]), room).unwrap();
        assert_eq!(lines.len(), room.height);
        let (plot, legend) = lines.split_at(room.height - 1);
        assert!(plot.iter().all(|line| line.chars().count() <= room.width), "{lines:#?}");
        assert!(legend[0].ends_with("o validation 5.000"), "{legend:?}");
    }
}

#[test]
fn before_two_steps_and_without_room_nothing_is_drawn() {
    for losses in [&[][..], &[2.0]] {
        assert_eq!(draw(&curve(losses, &[(0, 3.0)]), ROOM), None);
    }
    let two = curve(&[2.0, 2.0], &[]);
    assert!(draw(&two, ROOM).is_some());
    for room in [Room { width: 16, height: 8 }, Room { width: 30, height: 5 }, Room { width: 0, height: 0 }] {
        assert_eq!(draw(&two, room), None, "{room:?}");
    }
}
