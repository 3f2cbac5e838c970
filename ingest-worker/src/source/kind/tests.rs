//! Kinds of files by their names.

use std::path::Path;

use super::FileKind;

#[test]
fn a_kind_is_told_by_the_ending_and_texts_may_be_packed() {
    for (name, kind) in [
        ("a.jsonl", Some(FileKind::Jsonl)),
        ("a.b.NDJSON.GZ", Some(FileKind::Jsonl)),
        ("a.json.zst", Some(FileKind::Json)),
        ("a.tsv", Some(FileKind::Delimited)),
        ("a.MD", Some(FileKind::Markdown)),
        ("a.txt.gz", Some(FileKind::Plain)),
        ("a.htm", Some(FileKind::Html)),
        ("a.xml.gz", Some(FileKind::Statutes)),
        ("a.feather", Some(FileKind::Arrow)),
        ("a.parquet", Some(FileKind::Parquet)),
        ("a.pdf", Some(FileKind::Pdf)),
        ("a.parquet.gz", None),
        ("a.pdf.zst", None),
        ("a.gz", None),
        ("gz", None),
        ("a.docx", None),
    ] {
        assert_eq!(FileKind::of(Path::new(name)), kind, "{name}");
    }
}
