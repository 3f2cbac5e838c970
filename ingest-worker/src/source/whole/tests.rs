//! Text files as documents.

use clara_lifecycle::digest::Digest;

use crate::source::fixtures::{read, text, zstd};

#[test]
fn a_text_file_is_one_document_named_by_its_path_below_the_source() {
    let bytes = "\u{feff}# Bau\r\n\r\nText".as_bytes();
    let read = read("bau.md", bytes).unwrap();
    assert_eq!(read.documents()[0].id, "bau.md");
    assert_eq!(read.documents()[0].metadata["file"], "bau.md");
    assert_eq!(read.texts(), ["# Bau\n\nText"]);
    assert_eq!(read.size_and_digest, (bytes.len() as u64, Digest::of(bytes)));
}

#[test]
fn a_packed_text_file_is_read_like_another() {
    let read = read("bau.txt.zst", &zstd("Gebäude".as_bytes())).unwrap();
    assert_eq!(text(read.documents()[0]), "Gebäude");
}

#[test]
fn a_text_file_in_another_encoding_is_broken() {
    assert_eq!(read("bau.md", b"Geb\xe4ude").unwrap().summary(), ["bau.md not valid UTF-8 from byte 4"]);
}
