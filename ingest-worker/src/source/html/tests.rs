//! Pages with and without what surrounds their texts.

use super::understand;
use crate::source::whole::WholeText;

fn page(html: &str) -> WholeText {
    understand(html.as_bytes()).unwrap()
}

#[test]
fn the_main_text_is_left_without_what_surrounds_it() {
    let read = page(
        r##"<!DOCTYPE html><html lang="de-DE"><head><title> Bauen | Amt </title><style>p{}</style><script>var x="y";</script></head>
        <body><a class="skip-link" href="#x">Zum Inhalt</a><header>Amt für Bau<nav><ul><li><a href="/">Start</a></ul></nav></header>
        <div id="breadcrumb">Start &gt; Bauen</div>
        <main><header><h1>Bauen im <em>Außenbereich</em></h1></header><p>Erster Satz.<br>Zweite Zeile.</p>
        <h2>Ausnahmen</h2><ul><li>Wald</li><li>Feld mit <a href="/f">Zaun</a></li></ul>
        <aside>Werbung</aside><p hidden>Versteckt</p><p>Schluss.</p></main>
        <footer>Impressum</footer></body></html>"##,
    );
    assert_eq!(
        read.text,
        "Bauen im Außenbereich\n\nErster Satz.\nZweite Zeile.\n\nAusnahmen\n\nWald\nFeld mit Zaun\n\nSchluss."
    );
    assert_eq!(read.metadata["title"], "Bauen | Amt");
    assert_eq!(read.metadata["heading"], "Bauen im Außenbereich");
    assert_eq!(read.metadata["headings"], "Bauen im Außenbereich\nAusnahmen");
    assert_eq!(read.metadata["language"], "de");
}

#[test]
fn a_page_without_marks_loses_its_menus_but_not_its_lists() {
    let read = page(
        r#"<body><ul><li><a href="a">Start</a><li><a href="b">Ämter</a><li><a href="c">Kontakt</a></ul>
        <article><h2>Eins</h2><p>Text.</p></article><article><p>Zwei.</p></article>
        <ul><li>Frist: <a href="x">§ 31</a> gilt entsprechend</li><li>Form</li></ul></body>"#,
    );
    assert_eq!(read.text, "Eins\n\nText.\n\nZwei.\n\nFrist: § 31 gilt entsprechend\nForm");
    assert_eq!(read.metadata["title"], "Eins");
}

#[test]
fn a_row_of_a_table_is_a_line_and_preformatted_lines_stay() {
    let read = page(
        "<table><tr><th>Maß<th>Wert</tr><tr><td><p>GRZ</p><td>0,6</tr></table><pre>a\n  b</pre>Ende &amp; aus&nbsp;!",
    );
    assert_eq!(read.text, "Maß | Wert\nGRZ | 0,6\n\na\nb\n\nEnde & aus !");
}

#[test]
fn the_encoding_is_found_by_mark_content_or_name() {
    let utf16: Vec<u8> = "\u{feff}<p>Gebäude".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [
        "<p>Gebäude".as_bytes().to_vec(),
        b"\xef\xbb\xbf<p>Geb\xc3\xa4ude".to_vec(),
        b"<meta charset='iso-8859-1'><p>Geb\xe4ude".to_vec(),
        b"<meta http-equiv=Content-Type content=\"text/html; charset=ibm866\"><p>Geb\xe4ude".to_vec(),
        b"<p>Geb\xe4ude".to_vec(),
        utf16,
    ] {
        let is_cyrillic = bytes.windows(6).any(|window| window == b"ibm866");
        let expected = if is_cyrillic { "Gebфude" } else { "Gebäude" };
        assert_eq!(understand(&bytes).unwrap().text, expected);
    }
}

#[test]
fn a_licence_that_a_page_names_is_taken() {
    let read = page(r#"<head><link rel="license" href="https://example.org/cc0"></head><p>x"#);
    assert_eq!(read.licence.as_deref(), Some("https://example.org/cc0"));
}

#[test]
fn a_page_without_a_text_and_one_that_is_no_html_do_no_harm() {
    assert_eq!(page("").text, "");
    assert_eq!(page("<nav>Start</nav><script>x</script>").text, "");
    assert_eq!(page("nur Text").text, "nur Text");
}

#[test]
fn deep_nesting_is_read_and_the_deepest_refused() {
    let nested = |levels: usize| format!("{}tief{}", "<div>".repeat(levels), "</div>".repeat(levels));
    assert_eq!(page(&nested(900)).text, "tief");
    let problem = understand(nested(100_000).as_bytes()).unwrap_err();
    assert_eq!(problem, "its elements are nested deeper than 1000 levels");
    let flat = "<p>a<br><img src=x>".repeat(5_000);
    assert!(page(&flat).text.starts_with("a\n\na"));
}
