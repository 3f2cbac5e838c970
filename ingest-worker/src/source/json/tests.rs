//! Lists of records, and what is wrong with some.

use super::JsonSource;
use crate::source::{
    Source as _,
    fixtures::{file, gzip, read, summary},
};

#[test]
fn each_element_of_a_list_is_a_record_whatever_stands_between_them() {
    let list = "\u{feff} [ {\"id\":\"a\",\"text\":\"eins, [zwei] \\\"}\\\" \\\\\"},\r\n{\"text\":\"b\"} ,\n\t{\"id\":\"c\",\"text\":\"d\"}\n]\n";
    let read = read("laws.json", list.as_bytes()).unwrap();
    assert_eq!(read.summary(), ["a", "laws.json:2", "c"]);
    assert_eq!(read.texts()[0], "eins, [zwei] \"}\" \\");
    assert_eq!(read.size_and_digest.0, list.len() as u64);
}

#[test]
fn a_packed_list_is_read_like_another() {
    assert_eq!(read("laws.json.gz", &gzip(b"[{\"id\":\"a\",\"text\":\"t\"}]")).unwrap().summary(), ["a"]);
}

#[test]
fn objects_one_after_the_other_and_a_single_one_are_records_too() {
    let lines = b"{\"id\":\"a\",\"text\":\"eins\"}\n{\"id\":\"b\",\n \"text\":\"zwei\"}\n";
    assert_eq!(read("laws.json", lines).unwrap().summary(), ["a", "b"]);
    assert_eq!(read("laws.json", b"{\"text\":\"eins\"}").unwrap().summary(), ["laws.json:1"]);
}

#[test]
fn empty_files_and_lists_hold_no_document() {
    for empty in ["", " \n", "[]", " [ ] \n", "\u{feff}"] {
        assert!(read("laws.json", empty.as_bytes()).unwrap().items.is_empty(), "{empty:?}");
    }
}

#[test]
fn a_broken_element_is_named_and_the_next_one_is_read() {
    let list = b"[{\"id\":\"a\" \"text\":\"t\"}, 17, \"x\", null, [1,[2]], {\"id\":\"\xff\"}, {\"id\":\"b\",\"text\":\"t\"}]";
    let summary = read("laws.json", list).unwrap().summary();
    assert!(summary[0].starts_with("laws.json:1 not valid JSON"), "{summary:?}");
    assert_eq!(summary[1], "laws.json:2 expected a JSON object, found a number");
    assert_eq!(summary[2], "laws.json:3 expected a JSON object, found a text");
    assert_eq!(summary[3], "laws.json:4 expected a JSON object, found null");
    assert_eq!(summary[4], "laws.json:5 expected a JSON object, found a list");
    assert_eq!(summary[5], "laws.json:6 not valid UTF-8 from byte 8 of the element");
    assert_eq!(summary[6], "b");
}

#[test]
fn a_file_that_is_no_json_is_one_broken_document() {
    let summary = read("laws.json", b"<html>").unwrap().summary();
    assert_eq!(summary, ["laws.json expected a list of objects, or an object, at its start"]);
}

#[test]
fn a_list_that_cannot_be_followed_is_an_error_with_the_place() {
    for (list, problem) in [
        (r#"[{"text":"a"}"#, "at element 1: the list ends too early"),
        (r#"[{"text":"a"}, {"text":"b"#, "at element 2: the text ends within it"),
        (r#"[{"text":"a"} {"text":"b"}]"#, "at element 1: expected a comma or the end of the list"),
        (r#"[{"text":"a"},]"#, "at element 1: expected an element after the comma"),
        (r#"[{"text":"a"}] []"#, "at element 1: expected nothing after the list"),
        (r#"{"text":"a"}, {"text":"b"}"#, "at element 1: expected an object or the end of the file"),
    ] {
        let error = read("laws.json", list.as_bytes()).unwrap_err();
        assert!(!error.is_retryable());
        assert!(error.to_string().contains(problem), "{list}: {error}");
    }
}

#[test]
fn an_overlong_element_is_passed_over_without_being_held() {
    let folder = tempfile::tempdir().unwrap();
    let list = format!("[{{\"text\":\"{}\"}},{{\"id\":\"x\",\"text\":\"b\"}}]", "a".repeat(200_000));
    let file =
        file(folder.path(), "laws.json", list.as_bytes(), clara_lifecycle::spec::FieldNames::default());
    let mut source = JsonSource::open(&file).unwrap();
    source.most_element_bytes = 30;
    assert_eq!(
        summary(&source.next_item().unwrap().unwrap()),
        "laws.json:1 the element is longer than 30 bytes"
    );
    assert!(source.buffer.capacity() < 1_000);
    assert_eq!(summary(&source.next_item().unwrap().unwrap()), "x");
    assert_eq!(source.next_item().unwrap(), None);
}
