//! A made-up statute in the form of gesetze-im-internet.de.

use crate::source::{
    Document,
    fixtures::{gzip, read, text},
};

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8" ?>
<!DOCTYPE dokumente SYSTEM "http://www.example.org/dtd/1.01/gii-norm.dtd">
<dokumente builddate="20240126213607" doknr="X">
<norm><metadaten><jurabk>ÜbBauG 1999</jurabk><amtabk>ÜbBauG</amtabk><langue>Gesetz über das Bauen
 zur &#220;bung</langue></metadaten>
<textdaten><fussnoten><Content><P>(+++ Textnachweis ab: 1.1.1999 +++)</P></Content></fussnoten></textdaten></norm>
<norm><metadaten><jurabk>ÜbBauG 1999</jurabk><enbez>Inhaltsübersicht</enbez></metadaten>
<textdaten><text format="XML"><TOC><Ident>§ 1</Ident></TOC><Content><P>§ 1 Zweck</P></Content></text></textdaten></norm>
<norm><metadaten><jurabk>ÜbBauG 1999</jurabk><gliederungseinheit><gliederungskennzahl>010</gliederungskennzahl>
<gliederungsbez>Teil 1</gliederungsbez><gliederungstitel>Allgemeines</gliederungstitel></gliederungseinheit></metadaten></norm>
"#;

fn statute(norms: &str) -> String {
    format!("{HEAD}{norms}</dokumente>\n")
}

fn section(enbez: &str, titel: &str, content: &str) -> String {
    format!(
        "<norm><metadaten><jurabk>ÜbBauG 1999</jurabk><enbez>{enbez}</enbez><titel format=\"parat\">{titel}</titel></metadaten>\
         <textdaten><text format=\"XML\"><Content>{content}</Content></text><fussnoten/></textdaten></norm>\n"
    )
}

fn only(norms: &str) -> Document {
    let read = read("uebbaug.xml", statute(norms).as_bytes()).unwrap();
    assert_eq!(read.items.len(), 1, "{:?}", read.summary());
    read.documents()[0].clone()
}

#[test]
fn each_section_is_a_document_with_law_paragraph_and_heading() {
    let document = only(&section(
        "§ 35a",
        "Bauen im<BR/>Außenbereich<FnR ID=\"F1\"/>",
        "<P>(1) Es ist zulässig.</P><P>(2) Nein.</P>",
    ));
    assert_eq!(document.id, "uebbaug-35a");
    assert_eq!(text(&document), "(1) Es ist zulässig.\n\n(2) Nein.");
    let expected = [
        ("heading", "Bauen im Außenbereich"),
        ("law", "ÜbBauG"),
        ("law_title", "Gesetz über das Bauen zur Übung"),
        ("paragraph", "§ 35a"),
        ("structure", "Teil 1 Allgemeines"),
    ];
    let found: Vec<_> =
        document.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn lists_become_paragraphs_with_their_marks() {
    let content = "<P>(1) Zulässig ist, was\n <DL Font=\"normal\" Type=\"arabic\"><DT>1.</DT><DD Font=\"normal\"><LA Size=\"normal\">dient:\n\
         <DL Type=\"alpha\"><DT>a)</DT><DD><LA>dem Wald,</LA></DD><DT>b)</DT><DD><LA>dem Feld,</LA></DD></DL></LA></DD>\
         <DT>2.</DT><DD><LA>nicht stört</LA></DD></DL>und erschlossen ist.</P>";
    assert_eq!(
        text(&only(&section("§ 1", "Zweck", content))),
        "(1) Zulässig ist, was\n\n1. dient:\n\na) dem Wald,\n\nb) dem Feld,\n\n2. nicht stört\n\nund erschlossen ist."
    );
}

#[test]
fn a_row_of_a_table_is_a_line() {
    let content = "<P>Es gilt:</P><table frame=\"all\"><tgroup cols=\"2\"><colspec colname=\"c1\"/><thead><row><entry>Gebiet</entry>\
         <entry>Maß</entry></row></thead><tbody><row><entry><P>Dorf<BR/>gebiet</P></entry><entry>0,6</entry></row>\
         <row><entry/><entry>10 m<SUP>2</SUP></entry></row></tbody></tgroup></table><P>Danach.</P>";
    assert_eq!(
        text(&only(&section("Anlage 1 (zu § 3)", "", content))),
        "Es gilt:\n\nGebiet | Maß\nDorf gebiet | 0,6\n| 10 m²\n\nDanach."
    );
}

#[test]
fn entities_are_resolved_and_marks_of_footnotes_left_out() {
    let content = "<P>A &amp; B &lt; C &#167;&nbsp;5 &auml; &#xDF; &fremd; <![CDATA[<roh>]]><FnR ID=\"F1\"/> x<SUP>1</SUP></P>\
         <Footnotes><Footnote ID=\"F1\">Siehe § 2.</Footnote></Footnotes>";
    let document = only(&section("§ 2", "", content));
    assert_eq!(text(&document), "A & B < C § 5 ä ß &fremd; <roh> x1");
    assert_eq!(document.metadata["footnotes"], "Siehe § 2.");
}

#[test]
fn repealed_sections_have_no_text_so_that_they_are_dropped_and_counted() {
    let norms = section("§ 3", "", "<P>(weggefallen)</P>")
        + &section("§§ 4 bis 6", "(weggefallen)", "<P>-</P>")
        + &section("§ 7", "", "<P>Die Pflicht ist weggefallen.</P>");
    let read = read("uebbaug.xml", statute(&norms).as_bytes()).unwrap();
    assert_eq!(read.summary(), ["uebbaug-3", "uebbaug-4-bis-6", "uebbaug-7"]);
    assert_eq!(read.texts(), ["", "", "Die Pflicht ist weggefallen."]);
}

#[test]
fn headings_follow_their_levels() {
    let heading = |mark: &str, name: &str| {
        format!(
            "<norm><metadaten><jurabk>ÜbBauG 1999</jurabk><gliederungseinheit><gliederungskennzahl>{mark}</gliederungskennzahl>\
             <gliederungsbez>{name}</gliederungsbez></gliederungseinheit></metadaten></norm>"
        )
    };
    let norms = heading("010010", "Abschnitt 1")
        + &section("§ 1", "", "<P>a</P>")
        + &heading("010020", "Abschnitt 2")
        + &section("§ 2", "", "<P>b</P>")
        + &heading("020", "Teil 2")
        + &section("Art 3", "", "<P>c</P>");
    let read = read("uebbaug.xml", statute(&norms).as_bytes()).unwrap();
    let structures: Vec<_> =
        read.documents().iter().map(|document| document.metadata["structure"].as_str()).collect();
    assert_eq!(
        structures,
        ["Teil 1 Allgemeines > Abschnitt 1", "Teil 1 Allgemeines > Abschnitt 2", "Teil 2"]
    );
    assert_eq!(read.summary()[2], "uebbaug-art-3");
}

#[test]
fn a_packed_statute_is_read_with_the_digest_of_its_bytes() {
    let packed = gzip(statute(&section("§ 1", "", "<P>a</P>")).as_bytes());
    let read = read("uebbaug.xml.gz", &packed).unwrap();
    assert_eq!((read.summary(), read.size_and_digest.0), (vec!["uebbaug-1".to_owned()], packed.len() as u64));
}

#[test]
fn a_section_without_a_name_has_an_id_of_its_own() {
    let unnamed = "<norm doknr=\"BJNR010530005BJNE000100000\"><textdaten><text><Content><P>Vorspruch</P></Content></text></textdaten></norm>\n";
    let norms = section("§ 5", "", "<P>a</P>")
        + unnamed
        + &unnamed.replace(" doknr=\"BJNR010530005BJNE000100000\"", "")
        + &section("§ 6", "", "<P>b</P>");
    let read = read("uebbaug.xml", statute(&norms).as_bytes()).unwrap();
    let expected = ["uebbaug-5", "uebbaug-bjnr010530005bjne000100000", "uebbaug-norm-6", "uebbaug-6"];
    assert_eq!(read.summary(), expected);
}

#[test]
fn a_statute_in_utf16_is_read() {
    let xml = statute(&section("§ 1", "", "<P>Gebäude</P>")).replace("UTF-8", "UTF-16");
    let bytes: Vec<u8> = format!("\u{feff}{xml}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read("uebbaug.xml", &bytes).unwrap().texts(), ["Gebäude"]);
}

#[test]
fn another_xml_is_one_broken_document() {
    for (xml, found) in
        [("<?xml version=\"1.0\"?>\n<project/>", "project"), ("", "none"), ("kein XML", "none")]
    {
        let summary = read("pom.xml", xml.as_bytes()).unwrap().summary();
        let expected = format!(
            "pom.xml expected the XML of a statute with the root element `dokumente`, found `{found}`"
        );
        assert_eq!(summary, [expected]);
    }
}

#[test]
fn damaged_statutes_are_errors_that_name_the_section_before() {
    let whole = statute(&(section("§ 1", "", "<P>a</P>") + &section("§ 2", "", "<P>b</P>")));
    let bytes = whole.as_bytes();
    let mismatched = whole.replace("<P>b</P>", "<P>b</Q>").into_bytes();
    let place = whole.find("<P>b").unwrap() + 3;
    let cut = &bytes[..=place];
    let between = &bytes[..whole.find("<norm><metadaten><jurabk>ÜbBauG 1999</jurabk><enbez>§ 2").unwrap()];
    let mut invalid = bytes.to_vec();
    invalid[place] = 0xe4;
    let near = format!("it is not valid UTF-8 near byte {}, after § 1 ÜbBauG", place + 1);
    for (xml, problem) in [
        (cut, "the file ends within a section, after § 1 ÜbBauG"),
        (between, "the file ends without `</dokumente>`, after § 1 ÜbBauG"),
        (mismatched.as_slice(), "it is no well-formed XML"),
        (invalid.as_slice(), near.as_str()),
    ] {
        let error = read("uebbaug.xml", xml).unwrap_err();
        assert!(!error.is_retryable());
        assert!(error.to_string().contains(problem), "{problem}: {error}");
    }
}

#[test]
fn a_section_without_an_end_is_not_held() {
    let bomb = statute(&section("§ 1", "", &format!("<P>{}</P>", "a".repeat(200 << 20))));
    let message = read("uebbaug.xml.gz", &gzip(bomb.as_bytes())).unwrap_err().to_string();
    assert!(
        message.contains("a section is longer than 67108864 bytes, before its first section"),
        "{message}"
    );
}
