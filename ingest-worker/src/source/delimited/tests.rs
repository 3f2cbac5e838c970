//! Tables of text, awkward ones included.

use clara_lifecycle::{
    dataset::{ChatMessage, TrainingContent},
    spec::FieldNames,
};

use super::{DelimitedSource, guess_delimiter};
use crate::source::{
    Source as _,
    fixtures::{file, gzip, read, read_fields, summary},
};

#[test]
fn each_row_is_a_record_whose_other_columns_are_metadata() {
    let table = "id,text,law\r\na,\"Eins, \"\"zwei\"\"\r\nund drei\",BauGB\r\nb,vier,\r\n\r\n";
    let read = read("laws.csv", table.as_bytes()).unwrap();
    assert_eq!(read.summary(), ["a", "b"]);
    assert_eq!(read.texts(), ["Eins, \"zwei\"\r\nund drei", "vier"]);
    assert_eq!(read.documents()[0].metadata["law"], "BauGB");
    assert!(read.documents()[1].metadata.is_empty());
    assert!(read.documents()[1].origin.to_string().ends_with("laws.csv:4"), "lines, not rows, are counted");
    assert_eq!(read.size_and_digest.0, table.len() as u64);
}

#[test]
fn the_delimiter_is_guessed_from_the_header() {
    for table in
        ["id;text\na;b, c\n", "id\ttext\na\tb, c\n", "id,text\na,\"b, c\"\n", "sep=;\nid;text\na;b, c\n"]
    {
        assert_eq!(read("t.csv", table.as_bytes()).unwrap().texts(), ["b, c"], "{table:?}");
    }
    assert_eq!(guess_delimiter(b"\"a;b;c;d\",\"e\""), b',');
    assert_eq!(guess_delimiter(b"text"), b',');
    assert_eq!(read("t.tsv", b"id,nr\ttext\n1\tb").unwrap().texts(), ["b"]);
}

#[test]
fn a_byte_order_mark_a_missing_last_line_end_and_packing_are_no_trouble() {
    let table = "\u{feff}id,text\na,ä";
    assert_eq!(read("t.csv", table.as_bytes()).unwrap().texts(), ["ä"]);
    assert_eq!(read("t.csv.gz", &gzip(table.as_bytes())).unwrap().texts(), ["ä"]);
}

#[test]
fn an_empty_file_and_a_mere_header_hold_no_document() {
    for table in ["", "\n\n", "id,text", "id,text\r\n\r\n", "sep=;"] {
        assert!(read("t.csv", table.as_bytes()).unwrap().items.is_empty(), "{table:?}");
    }
}

#[test]
fn windows_1252_is_read_where_the_first_special_letters_are_no_utf8() {
    let read = read("t.csv", b"id,text\na,plain\nb,Geb\xe4ude \x96 50 \x80\n").unwrap();
    assert_eq!(read.texts(), ["plain", "Gebäude – 50 €"]);
}

#[test]
fn a_row_that_is_no_utf8_in_a_file_of_utf8_is_broken() {
    let read = read("t.csv", b"id,text\na,Geb\xc3\xa4ude\nb,Geb\xe4ude\nc,gut\n").unwrap();
    assert_eq!(read.summary(), ["a", "t.csv:3 not valid UTF-8 from byte 6 of the row", "c"]);
}

#[test]
fn ragged_rows_are_broken_and_the_next_ones_are_read() {
    let read = read("t.csv", b"id,text\na\nb,gut,zu viel\nc,gut\nd,\n").unwrap();
    let summary = read.summary();
    assert_eq!(summary[0], "t.csv:2 the row has 1 cell, expected 2 as in the header");
    assert_eq!(summary[1], "t.csv:3 the row has 3 cells, expected 2 as in the header");
    assert_eq!(summary[2], "c");
    assert!(
        summary[3].starts_with("t.csv:5 expected the fields"),
        "an empty cell holds nothing: {summary:?}"
    );
}

#[test]
fn a_quote_within_a_cell_does_not_swallow_the_lines_after_it() {
    let read = read("t.csv", b"id,text\na,ein 5\" Rohr\nb,gut\n").unwrap();
    assert_eq!(read.texts(), ["ein 5\" Rohr", "gut"]);
}

#[test]
fn an_overlong_row_is_not_held() {
    let folder = tempfile::tempdir().unwrap();
    let table = format!("id,text\na,\"{}\nb,\"{}\"\nc,gut\n", "x\n".repeat(5_000) + "\"", "y".repeat(10));
    let file = file(folder.path(), "t.csv", table.as_bytes(), FieldNames::default());
    let mut source = DelimitedSource::open(&file).unwrap();
    source.rows.most_row_bytes = 100;
    let item = summary(&source.next_item().unwrap().unwrap());
    assert_eq!(item, "t.csv:2 the row is longer than 100 bytes; a quote may lack its end");
    assert!(source.rows.row.capacity() < 1_000);
    assert_eq!(summary(&source.next_item().unwrap().unwrap()), "b");
    assert_eq!(summary(&source.next_item().unwrap().unwrap()), "c");
}

#[test]
fn a_quote_that_is_never_closed_costs_its_own_row_alone() {
    let problem = |line| format!("t.csv:{line} a quote opened in line {line} is never closed");
    for (rest, quotes, ids) in [
        ("b,gut\nc,gut\n", &[2][..], &["b", "c"][..]),
        ("b,gut\nc,gut", &[2], &["b", "c"]),
        ("b,\"gut\"\nc,\"auch\ngut\"\n", &[2], &["b", "c"]),
        ("\"b\",\"gut\"\n", &[2], &["b"]),
        ("b,\"auch offen\nc,gut\n", &[2, 3], &["c"]),
        ("b,\"Er sagte \"\"nein\"\".\nc,gut\n", &[2, 3], &["c"]),
        ("", &[2], &[]),
    ] {
        let read = read("t.csv", format!("id,text\na,\"offen\n{rest}").as_bytes()).unwrap();
        let expected: Vec<_> =
            quotes.iter().map(problem).chain(ids.iter().map(|id| (*id).to_owned())).collect();
        assert_eq!(read.summary(), expected, "{rest:?}");
    }
    let whole = read("t.csv", b"id,text\na,\"eins\nzwei\",\"offen\nb,gut\n").unwrap();
    assert_eq!(whole.summary(), ["t.csv:2 a quote opened in line 3 is never closed", "b"]);
}

#[test]
fn many_rows_after_an_unclosed_quote_are_all_read() {
    let rows = (0..10_000).map(|row| format!("{row},Zeile {row}\n")).collect::<Vec<_>>().concat();
    let table = format!("id,text\n{rows}x,\"offen\n{}", rows.replace(',', "b,"));
    let read = read("t.csv", table.as_bytes()).unwrap();
    assert_eq!(read.items.len(), 20_001);
    assert_eq!(read.summary()[10_000], "t.csv:10002 a quote opened in line 10002 is never closed");
    assert_eq!(read.summary()[20_000], "9999b");
    assert_eq!(read.size_and_digest.0, table.len() as u64);
}

#[test]
fn rows_that_cannot_be_held_after_an_unclosed_quote_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let table = format!("id,text\na,\"{}", "x\n".repeat(5_000));
    let file = file(folder.path(), "t.csv", table.as_bytes(), FieldNames::default());
    let mut source = DelimitedSource::open(&file).unwrap();
    source.rows.most_row_bytes = 100;
    let message = source.next_item().unwrap_err().to_string();
    assert!(
        message.contains("a quote opened in line 2 is not closed within 100 bytes of its row"),
        "{message}"
    );
}

#[test]
fn rows_within_a_cell_that_ends_by_chance_are_broken_each() {
    let rows = (0..30).map(|row| format!("{row};Zeile, {row};x\n")).collect::<Vec<_>>().concat();
    let read =
        read("t.csv", format!("id;text;law\na;\"offen;x\n{rows}b;Rohr 5\";x\nc;gut;x\n").as_bytes()).unwrap();
    let summary = read.summary();
    assert_eq!(summary.len(), 33, "{summary:?}");
    assert!(
        summary[0].starts_with("t.csv:2 a cell goes on to line 33 over lines that look like rows"),
        "{summary:?}"
    );
    assert_eq!(summary[31], "t.csv:33 it stands within a quoted cell that may lack its end");
    assert_eq!(summary[32], "c");
}

#[test]
fn long_texts_and_tables_of_another_width_in_a_cell_are_no_rows() {
    let prose = "Die Behörde entscheidet.\nSie hört die Beteiligten an, bevor sie entscheidet.\n".repeat(50);
    let table = "Gebiet,Maß,Zahl\n".repeat(50);
    let read = read("t.csv", format!("id,text\na,\"{prose}\"\nb,\"{table}\"\n").as_bytes()).unwrap();
    assert_eq!(read.summary(), ["a", "b"]);
}

#[test]
fn a_file_of_one_line_by_its_line_ends_is_refused() {
    let message = read("t.csv", b"text,id\reins,a\rzwei,b\r").unwrap_err().to_string();
    assert!(message.contains("end with a carriage return alone"), "{message}");
}

#[test]
fn columns_can_be_mapped_and_messages_are_json() {
    let fields = FieldNames { messages: "chat".into(), id: "nr".into(), ..FieldNames::default() };
    let table = "nr;chat\n7;\"[{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"q\"\"},{\"\"role\"\":\"\"assistant\"\",\"\"content\"\":\"\"a\"\"}]\"\n8;nein\n";
    let read = read_fields("t.csv", table.as_bytes(), fields).unwrap();
    assert_eq!(read.items.len(), 2);
    let crate::source::SourceItem::Document(document) = &read.items[0] else { panic!("{:?}", read.items) };
    let turn = |role: &str, content: &str| ChatMessage { role: role.into(), content: content.into() };
    let messages = vec![turn("user", "q"), turn("assistant", "a")];
    assert_eq!((document.id.as_str(), &document.content), ("7", &TrainingContent::Chat { messages }));
    assert!(read.summary()[1].contains("field `chat` is a text, expected a list of messages"));
}

#[test]
fn a_table_without_a_known_shape_is_refused_with_its_columns() {
    let error = read("t.csv", b"id;inhalt\n1;x\n").unwrap_err();
    assert!(!error.is_retryable());
    let message = error.to_string();
    assert!(
        message.contains("`text`; found `id`, `inhalt`")
            && message.contains("`--field text=COLUMN` (`ingest.fields`)"),
        "{message}"
    );
}

#[test]
fn a_header_that_names_a_column_twice_is_refused() {
    let message = read("t.csv", b"text,a,text\n1,2,3\n").unwrap_err().to_string();
    assert!(message.contains("`text` more than once"), "{message}");
}
