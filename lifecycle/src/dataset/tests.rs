//! The shapes of dataset files on disk.

use super::{ChatMessage, DropReason, TrainingContent, TrainingRecord};

fn record(content: TrainingContent) -> TrainingRecord {
    TrainingRecord { document_id: "vwvfg-35".into(), content }
}

#[test]
fn every_kind_of_record_survives_a_round_trip() {
    let chat = vec![ChatMessage { role: "user".into(), content: "Was ist ein Verwaltungsakt?".into() }];
    let records = [
        record(TrainingContent::Chat { messages: chat }),
        record(TrainingContent::PromptCompletion { prompt: "§ 35".into(), completion: "VwVfG".into() }),
        record(TrainingContent::Text { text: "Verwaltungsakt ist jede Verfügung.".into() }),
    ];
    for record in records {
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<TrainingRecord>(&line).unwrap(), record, "{line}");
    }
}

#[test]
fn a_running_text_is_written_flat() {
    let line = serde_json::to_string(&record(TrainingContent::Text { text: "Text".into() })).unwrap();
    assert_eq!(line, r#"{"document_id":"vwvfg-35","text":"Text"}"#);
}

#[test]
fn length_leaves_out_roles_and_outer_blanks() {
    let content =
        TrainingContent::PromptCompletion { prompt: " Größe ".into(), completion: "\n1 m\n".into() };
    assert_eq!(content.chars(), 8);
}

#[test]
fn a_drop_reason_is_shown_as_it_is_stored() {
    for reason in DropReason::ALL {
        assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
        assert_eq!(reason.as_str().parse(), Ok(reason));
    }
}
