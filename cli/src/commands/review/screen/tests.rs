//! Keys and pictures of the review screen, without a terminal.

use clara_lifecycle::{
    adapter::AdapterStatus,
    gate::GatePolicy,
    golden::{GoldenDataset, GoldenSample},
    review::{ReviewNotes, Reviewer, Subject},
    samples::{self, JudgedAnswers},
    score::AnswerDetails,
};
use ratatui::{Terminal, backend::TestBackend};

use super::*;

const ADAPTER: &str = "law-lora-v1.0.0";
const AT: &str = "2026-01-01T00:00:00Z";

fn subject(champion: bool) -> Subject {
    let mut golden =
        GoldenDataset::new("law-golden".parse().unwrap(), "law".parse().unwrap(), "anna".into(), AT.into());
    for number in 1..=3 {
        let mut sample =
            GoldenSample::new(format!("Frage {number}?"), "Nach § 35 BauGB zulässig.".to_owned());
        sample.sample_id = format!("s-{number}");
        golden.add(sample);
    }
    let (answers, evaluation) = samples::evaluation_of(&golden, ADAPTER, |_| JudgedAnswers {
        candidate: (
            "Nach § 34 BauGB \u{1b}[31munzulässig.".to_owned(),
            samples::judged(9.0, AnswerDetails::default()),
        ),
        champion: champion
            .then(|| ("Nach § 35 BauGB.".to_owned(), samples::judged(8.0, AnswerDetails::default()))),
    });
    let policy = GatePolicy::default();
    Subject { evaluation, answers: Some(answers), golden: Some(golden), policy, report: None }
}

fn screen(subject: &Subject, record: &ReviewNotes, is_blind: bool) -> Screen {
    let sheet = subject.sheet(ADAPTER, AdapterStatus::InReview, record, "anna");
    let item = subject.item("s-1", record, "anna").unwrap();
    Screen::new("anna", sheet, item, is_blind)
}

fn press(screen: &mut Screen, keys: &str) -> Todo {
    let mut last = Todo::Nothing;
    for character in keys.chars() {
        let code = match character {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            other => KeyCode::Char(other),
        };
        last = screen.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

fn picture(screen: &Screen, width: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, 40)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width));
    rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n").collect()
}

#[test]
fn the_answers_stand_beside_each_other_with_scores_and_without_control_characters() {
    let screen = screen(&subject(true), &ReviewNotes::default(), false);
    for width in [140, 60] {
        let picture = picture(&screen, width);
        for part in ["Expected", "Champion 80.0", "Candidate 90.0", "accuracy", "1 of 3", "Frage 1?"] {
            assert!(picture.contains(part), "`{part}` is missing at {width} columns:\n{picture}");
        }
        assert!(!picture.contains('\u{1b}'));
    }
}

#[test]
fn the_keys_go_on_and_back_and_say_where_it_ends() {
    let mut screen = screen(&subject(true), &ReviewNotes::default(), false);
    assert_eq!(press(&mut screen, "j"), Todo::Show("s-2".into()));
    assert_eq!(press(&mut screen, "k"), Todo::Nothing);
    assert!(picture(&screen, 100).contains("this is the first answer"));
    press(&mut screen, "?");
    assert!(picture(&screen, 100).contains("any key goes back"));
    assert_eq!(press(&mut screen, "jq"), Todo::Quit);
}

#[test]
fn a_verdict_wants_a_reason_and_keeps_one_that_was_begun() {
    let mut screen = screen(&subject(true), &ReviewNotes::default(), false);
    assert_eq!(press(&mut screen, "r\n"), Todo::Nothing);
    assert!(picture(&screen, 100).contains("a reason is required"));
    assert_eq!(press(&mut screen, "cites\u{1b}"), Todo::Save(ReviewChange::Draft { text: "cites".into() }));
    let done = press(&mut screen, "asound\n");
    assert_eq!(done, Todo::Decide { approve: true, reason: "sound".into() });
}

#[test]
fn digits_score_the_criteria_one_after_another_and_a_reason_keeps_them() {
    let mut screen = screen(&subject(true), &ReviewNotes::default(), false);
    let saved = press(&mut screen, "s25\ntoo vague\n");
    let scores = [(Criterion::Accuracy, 4.0), (Criterion::Relevance, 10.0)];
    let expected = ReviewChange::Override {
        sample_id: "s-1".into(),
        scores: scores.into(),
        reason: "too vague".into(),
        based_on: 0,
    };
    assert_eq!(saved, Todo::Save(expected));
}

#[test]
fn blind_mode_tells_neither_names_nor_scores_before_the_choice() {
    let (subject, mut record) = (subject(true), ReviewNotes::default());
    let mut hidden = screen(&subject, &record, true);
    assert_eq!(hidden.unseen(), None);
    let before = picture(&hidden, 140);
    assert!(before.contains("Answer 1") && before.contains("Answer 2"), "{before}");
    for told in ["Champion", "Candidate", "90.0", "80.0", "mean"] {
        assert!(!before.contains(told), "`{told}` is told:\n{before}");
    }
    assert_eq!(press(&mut hidden, "s"), Todo::Nothing);
    let Todo::Save(change) = press(&mut hidden, "1") else { panic!("a choice") };
    let first = candidate_stands_first(ADAPTER, "s-1", "anna");
    let preference = if first { Preference::Candidate } else { Preference::Champion };
    assert_eq!(change, ReviewChange::Prefer { sample_id: "s-1".into(), preference });
    record.apply(&change, Reviewer { name: "anna", at: AT }, &subject).unwrap();
    let item = subject.item("s-1", &record, "anna");
    hidden.saved(&change, SavedReview { revision: 0, item });
    assert!(picture(&hidden, 140).contains("Candidate 90.0"));
    assert_eq!(hidden.unseen(), Some("s-1".into()));
}

#[test]
fn without_a_champion_there_is_nothing_to_compare_blindly() {
    let mut screen = screen(&subject(false), &ReviewNotes::default(), false);
    press(&mut screen, "b");
    assert!(picture(&screen, 100).contains("no champion's answer"));
}
