//! Markdown with and without front matter.

use super::understand;
use crate::source::fixtures::read;

const TEXT: &str = "# Bauen\n\nText.";

#[test]
fn front_matter_is_no_text_and_its_title_language_and_licence_are_taken() {
    let front = "---\ntitle: \"Bauen: \\\"kurz\\\"\" \nlang: de-DE\nlicense: CC0-1.0 # frei\ntags:\n  - bau\n- recht\n# Notiz\n\nlist: [a, b]\n---\n\n";
    for text in [format!("{front}{TEXT}"), format!("\u{feff}{front}{TEXT}").replace('\n', "\r\n")] {
        let read = read("bau.md", text.as_bytes()).unwrap();
        assert_eq!(read.texts(), [TEXT]);
        let document = read.documents()[0];
        let about: Vec<_> = document.metadata.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(about, [("file", "bau.md"), ("language", "de"), ("title", "Bauen: \"kurz\"")]);
        assert_eq!(document.licence.as_deref(), Some("CC0-1.0"));
    }
}

#[test]
fn what_is_no_text_in_front_matter_says_nothing() {
    for title in ["", " |\n  Bauen", " [a]", " # x", " 'Bau"] {
        let read = read("bau.md", format!("---\ntitle:{title}\n...\n{TEXT}").as_bytes()).unwrap();
        assert_eq!((read.texts(), read.documents()[0].metadata.get("title")), (vec![TEXT], None), "{title}");
    }
    let quoted = read("bau.md", b"---\nTitle: 'Der ''Bau'''\n---\nText").unwrap();
    assert_eq!(quoted.documents()[0].metadata["title"], "Der 'Bau'");
}

#[test]
fn rules_and_texts_between_them_stay() {
    for text in [
        "---\n\nErster Satz.\n\n---\n\nZweiter.",
        "---\ntitle: Bauen\n\nohne Ende",
        "---\n- eins\n- zwei\n---\nText",
        "--- \nDer Satz gilt: immer.\n---\n",
        "----\ntitle: x\n---\n",
        "---",
        "Text\n---\ntitle: x\n---\n",
    ] {
        assert_eq!(read("bau.md", text.as_bytes()).unwrap().texts(), [text]);
    }
    let text = "---\ntitle: x\n---\nText";
    assert_eq!(read("bau.txt", text.as_bytes()).unwrap().texts(), [text]);
}

#[test]
fn the_domain_of_front_matter_is_that_of_the_document() {
    let read = read("bau.md", b"---\ndomain: baurecht\n---\nText").unwrap();
    assert_eq!((read.texts(), read.documents()[0].domain.as_deref()), (vec!["Text"], Some("baurecht")));
}

#[test]
fn front_matter_that_is_not_closed_stays_in_the_text_and_the_line_is_named() {
    for (text, line) in [
        ("---\ntitle: Bauen\n\nohne Ende", Some(4)),
        ("---\ntitle: Bauen\ntags: [a]\n", Some(4)),
        ("---\ntitle: Bauen\nEin Satz.\n---\n", Some(3)),
        ("---\n---\ntitle: x\n---\nText", None),
        ("---\n\nErster Satz.\n\n---\n", None),
    ] {
        let whole = understand(text.as_bytes()).unwrap();
        assert_eq!(whole.text, text);
        match (whole.doubt, line) {
            (Some(doubt), Some(line)) => {
                assert!(doubt.contains(&format!("before line {line},")), "{text}: {doubt}");
            }
            (doubt, line) => assert_eq!((doubt, line), (None, None), "{text}"),
        }
    }
}
