//! Packed files, damaged ones and bombs.

use clara_lifecycle::digest::Digest;

use crate::source::fixtures::{gzip, read, zstd};

const LINES: &[u8] = b"{\"id\":\"a\",\"text\":\"eins\"}\n{\"id\":\"b\",\"text\":\"zwei\"}\n";

#[test]
fn packed_lines_are_read_and_the_digest_is_of_the_bytes_as_stored() {
    for packed in [gzip(LINES), zstd(LINES)] {
        for name in ["law.jsonl.gz", "law.jsonl.zst", "law.jsonl"] {
            let read = read(name, &packed).unwrap();
            assert_eq!(read.summary(), ["a", "b"]);
            assert_eq!(read.size_and_digest, (packed.len() as u64, Digest::of(&packed)));
        }
    }
}

#[test]
fn parts_that_were_packed_one_by_one_are_read_as_one() {
    let gzip_parts = [gzip(LINES), gzip(b"{\"id\":\"c\",\"text\":\"drei\"}")].concat();
    let zstd_parts = [zstd(LINES), zstd(b"{\"id\":\"c\",\"text\":\"drei\"}")].concat();
    for packed in [gzip_parts, zstd_parts] {
        assert_eq!(read("law.jsonl.gz", &packed).unwrap().summary(), ["a", "b", "c"]);
    }
}

#[test]
fn a_file_that_is_named_as_packed_but_is_not_is_read_as_it_is() {
    assert_eq!(read("law.jsonl.gz", LINES).unwrap().summary(), ["a", "b"]);
}

#[test]
fn packed_lines_that_end_too_early_are_an_error_that_says_so_and_no_repetition_helps() {
    let lines = LINES.repeat(1_000);
    for (packed, packing) in [(gzip(&lines), "gzip"), (zstd(&lines), "zstd")] {
        let error = read("law.jsonl.gz", &packed[..packed.len() - 9]).unwrap_err();
        assert!(!error.is_retryable());
        let message = error.to_string();
        assert!(message.contains(&format!("its {packing} data ends too early")), "{message}");
        assert!(message.contains("law.jsonl.gz"), "{message}");
    }
}

#[test]
fn damaged_packed_lines_are_an_error_that_says_so() {
    let mut packed = gzip(&LINES.repeat(1_000));
    let middle = packed.len() / 2;
    packed[middle] ^= 0x55;
    let message = read("law.jsonl.gz", &packed).unwrap_err().to_string();
    assert!(message.contains("its gzip data is damaged"), "{message}");
}

#[test]
fn a_packed_text_that_ends_too_early_is_one_broken_document() {
    let packed = gzip("Text über das Bauen. ".repeat(1_000).as_bytes());
    let read = read("law.txt.gz", &packed[..packed.len() - 9]).unwrap();
    assert_eq!(read.summary(), ["law.txt.gz its gzip data ends too early"]);
    assert_eq!(read.size_and_digest.0, packed.len() as u64 - 9);
}

#[test]
fn a_bomb_of_200_megabytes_is_broken_and_what_follows_is_read() {
    let mut lines = b"{\"text\":\"".to_vec();
    lines.resize(200 << 20, b'a');
    let broken_text = "the file is longer than 67108864 bytes";
    for (name, packed) in
        [("a.txt.gz", gzip(&lines)), ("a.txt.zst", zstd(&lines)), ("a.html.gz", gzip(&lines))]
    {
        assert!(packed.len() < 1 << 20);
        assert_eq!(read(name, &packed).unwrap().summary(), [format!("{name} {broken_text}")]);
    }
    lines.extend_from_slice(b"\"}\n{\"id\":\"b\",\"text\":\"zwei\"}\n");
    let packed = zstd(&lines);
    let expected = ["a.jsonl.zst:1 the line is longer than 67108864 bytes", "b"];
    let read = read("a.jsonl.zst", &packed).unwrap();
    assert_eq!(read.summary(), expected);
    assert_eq!(read.size_and_digest, (packed.len() as u64, Digest::of(&packed)));
}

#[test]
fn a_bomb_without_an_end_stops_at_a_limit() {
    // Each part of a few hundred bytes unpacks to 8 MiB of blanks.
    let packed = zstd(&vec![b' '; 8 << 20]).repeat(200);
    let message = read("a.jsonl.zst", &packed).unwrap_err().to_string();
    assert!(message.contains("it unpacks to more than 500 times its size"), "{message}");
}

#[test]
fn a_packed_file_without_a_byte_holds_no_document() {
    assert!(read("a.jsonl.gz", &gzip(b"")).unwrap().items.is_empty());
    assert!(read("a.jsonl.gz", b"").unwrap().items.is_empty());
}

/// The bytes of a text in UTF-16.
fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(to_bytes).collect()
}

#[test]
fn utf16_is_read_by_its_mark_or_by_the_empty_halves_of_its_letters() {
    for (name, text) in [
        ("law.csv", "id\ttext\r\na\tGebäude für 50 € 𝄞\r\n"),
        ("law.jsonl", "{\"id\":\"a\",\"text\":\"Gebäude für 50 € 𝄞\"}\r\n"),
        ("law.json", "[{\"id\":\"a\",\"text\":\"Gebäude für 50 € 𝄞\"}]"),
        ("law.txt", "Gebäude für 50 € 𝄞"),
        ("law.md", "Gebäude für 50 € 𝄞"),
        ("law.html", "<meta charset=\"utf-16\"><p>Gebäude für 50 € 𝄞"),
    ] {
        for mark in ["", "\u{feff}"] {
            let text = format!("{mark}{text}");
            for bytes in [utf16(&text, u16::to_le_bytes), utf16(&text, u16::to_be_bytes)] {
                for stored in [bytes.clone(), gzip(&bytes)] {
                    let read = read(name, &stored).unwrap();
                    assert_eq!(read.texts(), ["Gebäude für 50 € 𝄞"], "{name} {mark:?}");
                    assert_eq!(read.size_and_digest, (stored.len() as u64, Digest::of(&stored)));
                }
            }
        }
    }
}

#[test]
fn a_long_text_in_utf16_is_read_piece_by_piece() {
    let line = "{\"id\":\"a\",\"text\":\"Gebäude\"}\n";
    let bytes = utf16(&format!("\u{feff}{}", line.repeat(50_000)), u16::to_le_bytes);
    assert_eq!(read("law.jsonl", &bytes).unwrap().documents().len(), 50_000);
}

#[test]
fn half_a_letter_of_utf16_breaks_its_own_document() {
    let mut bytes = utf16("\u{feff}{\"id\":\"a\",\"text\":\"eins", u16::to_le_bytes);
    bytes.extend_from_slice(&[0x00, 0xd8]);
    bytes.extend(utf16("\"}\n{\"id\":\"b\",\"text\":\"zwei\"}\n", u16::to_le_bytes));
    assert_eq!(
        read("law.jsonl", &bytes).unwrap().summary(),
        ["law.jsonl:1 not valid UTF-8 from byte 23", "b"]
    );
    let odd = &utf16("\u{feff}Gebäude", u16::to_le_bytes)[..13];
    assert_eq!(read("law.txt", odd).unwrap().summary(), ["law.txt not valid UTF-8 from byte 10"]);
}
