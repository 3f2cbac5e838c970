//! Which attachments are read, and as what.

use serde_json::json;

use super::readable;

#[test]
fn plain_text_is_preferred_to_pages_and_pages_to_pdfs() {
    let attachments = json!({
        "b.txt": {"content_type": "text/plain; charset=utf-8", "length": 3}, "a.txt": {"content_type": "text/plain", "length": 3},
        "a.pdf": {"content_type": "application/pdf", "length": 3}, "a.html": {"content_type": "text/html", "length": 3}, "a.png": {"content_type": "image/png"},
    });
    let names = |attachments: &serde_json::Value| {
        readable(Some(attachments)).into_iter().map(|found| found.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&attachments), ["a.txt", "b.txt"]);
    let mut fewer = attachments;
    fewer.as_object_mut().unwrap().retain(|name, _| !name.ends_with("txt"));
    assert_eq!(names(&fewer), ["a.html"]);
    fewer.as_object_mut().unwrap().remove("a.html");
    assert_eq!(names(&fewer), ["a.pdf"]);
    assert!(readable(None).is_empty());
}

#[test]
fn texts_are_read_in_their_charset() {
    let one = |content_type: &str| readable(Some(&json!({"a": {"content_type": content_type}}))).remove(0);
    assert_eq!(one("text/plain; charset=ISO-8859-1").text(b"f\xfcr").unwrap(), "für");
    assert_eq!(one("text/plain").text("für".as_bytes()).unwrap(), "für");
    assert!(one("text/plain").text(b"f\xfcr").unwrap_err().contains("no UTF-8"));
    assert!(one("text/plain; charset=klingon").text(b"a").unwrap_err().contains("unknown charset"));
}

#[test]
fn a_page_gives_what_its_reader_sees() {
    let page = "<html><head><title>weg</title><style>p{}</style></head><body><h1>§ 1  Zweck</h1><p>Dieses <b>Gesetz</b>\n gilt.</p><script>weg()</script><ul><li>eins<li>zwei</ul></body></html>";
    let html = readable(Some(&json!({"a": {"content_type": "text/html"}}))).remove(0);
    assert_eq!(html.text(page.as_bytes()).unwrap(), "§ 1 Zweck\n\nDieses Gesetz gilt.\n\neins\nzwei");
}

#[test]
fn a_damaged_pdf_is_told_of() {
    let pdf = readable(Some(&json!({"a.pdf": {"content_type": "application/pdf"}}))).remove(0);
    assert!(
        pdf.text(b"%PDF-1.4 and nothing else").unwrap_err().contains("`a.pdf` is no PDF that can be read")
    );
}
