//! Text files as documents.

use std::sync::Arc;

use clara_lifecycle::{dataset::TrainingContent, digest::Digest};

use super::PlainSource;
use crate::source::{FileKind, Source as _, SourceFile, SourceItem};

fn read(bytes: &[u8]) -> (SourceItem, (u64, Digest)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bau.md");
    std::fs::write(&path, bytes).unwrap();
    let file =
        SourceFile { path, name: "recht/bau.md".into(), kind: FileKind::Plain, fields: Arc::default() };
    let mut source = PlainSource::open(&file).unwrap();
    let item = source.next_item().unwrap().unwrap();
    assert_eq!(source.next_item().unwrap(), None);
    (item, source.read_so_far())
}

#[test]
fn a_text_file_is_one_document_named_by_its_path_below_the_source() {
    let bytes = "\u{feff}# Bau\r\n\r\nText".as_bytes();
    let (item, digest) = read(bytes);
    let SourceItem::Document(document) = item else { panic!("{item:?}") };
    assert_eq!(document.id, "recht/bau.md");
    assert_eq!(document.content, TrainingContent::Text { text: "# Bau\n\nText".into() });
    assert_eq!(digest, (bytes.len() as u64, Digest::of(bytes)));
}

#[test]
fn a_text_file_in_another_encoding_is_broken() {
    let (item, _) = read(b"Geb\xe4ude");
    let SourceItem::Broken(broken) = item else { panic!("{item:?}") };
    assert_eq!(broken.problem, "not valid UTF-8 from byte 4");
}
