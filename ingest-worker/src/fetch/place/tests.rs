//! Names of sources.

use super::Place;

#[test]
fn a_source_is_told_by_its_name_alone() {
    for (source, place) in [
        ("@gesetze", Place::Server("@gesetze")),
        ("s3://eimer/recht/", Place::Url("s3://eimer/recht/")),
        ("https://host/a.jsonl?x=1", Place::Url("https://host/a.jsonl?x=1")),
        ("ftp://host/a.jsonl", Place::Url("ftp://host/a.jsonl")),
        ("recht/@alt.jsonl", Place::Local("recht/@alt.jsonl")),
        ("C:/recht", Place::Local("C:/recht")),
        ("recht/**/*.xml", Place::Local("recht/**/*.xml")),
        ("ä://x", Place::Local("ä://x")),
    ] {
        assert_eq!(Place::of(source), place);
        assert_eq!(place.is_remote(), !matches!(place, Place::Local(_)));
    }
}
