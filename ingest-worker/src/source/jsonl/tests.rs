//! Lines that are documents, lines that are not, and bytes that are counted.

use std::sync::Arc;

use clara_lifecycle::digest::Digest;

use super::JsonlSource;
use crate::source::{FileKind, MOST_DOCUMENT_BYTES, Source as _, SourceFile, SourceItem};

fn read(bytes: &[u8]) -> (Vec<SourceItem>, (u64, Digest)) {
    read_limited(bytes, MOST_DOCUMENT_BYTES)
}

fn read_limited(bytes: &[u8], most_line_bytes: u64) -> (Vec<SourceItem>, (u64, Digest)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("law.jsonl");
    std::fs::write(&path, bytes).unwrap();
    let file = SourceFile {
        path,
        name: "law.jsonl".into(),
        kind: FileKind::Jsonl,
        fields: Arc::default(),
        source: "test".into(),
    };
    let mut source = JsonlSource::open(&file).unwrap();
    source.most_line_bytes = most_line_bytes;
    let mut items = Vec::new();
    while let Some(item) = source.next_item().unwrap() {
        items.push(item);
    }
    (items, source.read_so_far())
}

fn summary(item: &SourceItem) -> String {
    match item {
        SourceItem::Document(document) => document.id.clone(),
        SourceItem::Broken(broken) => {
            let origin = broken.origin.to_string();
            format!("{} {}", origin.rsplit('/').next().unwrap(), broken.problem)
        }
    }
}

#[test]
fn blank_lines_a_byte_order_mark_and_a_missing_last_line_end_are_no_trouble() {
    let (items, _) = read("\u{feff}{\"text\":\"a\"}\r\n\r\n  \n{\"id\":\"x\",\"text\":\"b\"}".as_bytes());
    assert_eq!(items.iter().map(summary).collect::<Vec<_>>(), ["law.jsonl:1", "x"]);
}

#[test]
fn a_broken_line_is_named_with_file_and_line_and_the_next_one_is_read() {
    let (items, _) = read(b"{\"text\": \n\xff\xfe\n[1]\n{\"id\":\"x\",\"text\":\"b\"}\n");
    let items: Vec<_> = items.iter().map(summary).collect();
    assert!(items[0].starts_with("law.jsonl:1 not valid JSON"), "{items:?}");
    assert_eq!(items[1], "law.jsonl:2 not valid UTF-8 from byte 1");
    assert!(items[2].starts_with("law.jsonl:3 "), "{items:?}");
    assert_eq!(items[3], "x");
}

#[test]
fn the_digest_is_of_the_whole_file() {
    let bytes = b"{\"text\":\"a\"}\nbroken\n\n";
    assert_eq!(read(bytes).1, (bytes.len() as u64, Digest::of(bytes)));
}

#[test]
fn an_overlong_line_is_passed_over_without_being_held() {
    let bytes = format!("{}\n{{\"id\":\"x\",\"text\":\"b\"}}\n", "a".repeat(100_000));
    let (items, (size_bytes, _)) = read_limited(bytes.as_bytes(), 30);
    let items: Vec<_> = items.iter().map(summary).collect();
    assert_eq!(items, ["law.jsonl:1 the line is longer than 30 bytes", "x"]);
    assert_eq!(size_bytes, bytes.len() as u64);
}
