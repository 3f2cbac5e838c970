//! Tests of traps and notes.

use std::io::Write as _;

use clara_lifecycle::stage::Stage;

use super::{Action, Note, Notebook, Point, Snare, read_notes};

#[test]
fn a_trap_is_read_as_it_is_written() {
    for (point, stage) in Point::OF_WORKER
        .into_iter()
        .chain(Point::OF_COORDINATOR)
        .zip([None, Some(Stage::Train)].into_iter().cycle())
    {
        let snare = Snare { action: Action::Kill, point, stage };
        assert_eq!(snare.to_string().parse(), Ok(snare));
    }
    let example = Snare { action: Action::Stop, point: Point::MidStage, stage: Some(Stage::Train) };
    assert_eq!("stop@mid-stage:train".parse(), Ok(example));
    assert!("kill@nowhere".parse::<Snare>().unwrap_err().contains("kill@nowhere"));
}

#[test]
fn a_note_that_a_kill_cut_off_is_left_out_and_the_others_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    Notebook::open("worker-1", &path).unwrap().write(Note::Ended { number: 7 });
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"at\":1,\"pro").unwrap();
    let notes = read_notes(&path).unwrap();
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].process, "worker-1");
    assert!(matches!(notes[0].note, Note::Ended { number: 7 }));
}
