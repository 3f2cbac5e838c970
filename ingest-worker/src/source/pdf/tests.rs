//! PDF files made by hand.

use std::io::Write as _;

use super::understand;

/// A file of the given objects, the first of which is its catalog.
fn pdf(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut bytes = b"%PDF-1.5\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in (1..).zip(objects) {
        places.push(bytes.len());
        writeln!(bytes, "{number} 0 obj").unwrap();
        bytes.extend_from_slice(object);
        bytes.extend_from_slice(b"\nendobj\n");
    }
    let xref = bytes.len();
    writeln!(bytes, "xref\n0 {}\n0000000000 65535 f ", places.len() + 1).unwrap();
    for place in &places {
        writeln!(bytes, "{place:010} 00000 n ").unwrap();
    }
    let size = places.len() + 1;
    writeln!(bytes, "trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{xref}\n%%EOF").unwrap();
    bytes
}

fn stream(head: &str, content: &[u8]) -> Vec<u8> {
    let mut object = format!("<< {head} /Length {} >>\nstream\n", content.len()).into_bytes();
    object.extend_from_slice(content);
    object.extend_from_slice(b"\nendstream");
    object
}

fn packed(head: &str, content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    stream(&format!("{head} /Filter /FlateDecode"), &encoder.finish().unwrap())
}

/// A file with a page for each content; objects from 4 on are the given ones, then pages and contents.
fn pages(contents: &[Vec<u8>], resources: &str, more: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let first = 4 + more.len();
    let kids: Vec<String> = (0..contents.len()).map(|page| format!("{} 0 R", first + 2 * page)).collect();
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), contents.len()).into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_vec(),
    ];
    objects.extend_from_slice(more);
    for (page, content) in contents.iter().enumerate() {
        let content_number = first + 2 * page + 1;
        objects.push(
            format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content_number} 0 R \
                 /Resources << /Font << /F1 3 0 R >> {resources} >> >>"
            )
            .into_bytes(),
        );
        objects.push(content.clone());
    }
    pdf(&objects, trailer)
}

fn line(text: &[u8]) -> Vec<u8> {
    [b"BT /F1 12 Tf 72 700 Td (".as_slice(), text, b") Tj ET".as_slice()].concat()
}

fn problem(bytes: &[u8]) -> String {
    understand(bytes).unwrap_err()
}

#[test]
fn pages_are_one_text_with_a_break_between_them() {
    let contents = [packed("", &line(b"Geb\xe4ude im Au\xdfenbereich")), stream("", &line(b"Seite zwei"))];
    let info = b"<< /Title (Bauen \\(Auszug\\)) >>".to_vec();
    let read = understand(&pages(&contents, "", &[info], "/Info 4 0 R")).unwrap();
    assert_eq!(read.text, "Gebäude im Außenbereich\n\u{c}\nSeite zwei");
    assert_eq!(read.metadata["title"], "Bauen (Auszug)");
    assert_eq!(read.metadata["pages"], "2");
}

#[test]
fn pictures_within_a_page_are_passed_over() {
    let picture = packed("/Type /XObject /Subtype /Image /Width 9 /Height 9", &[0x80; 81]);
    let content = stream("", &[line(b"Text").as_slice(), b" q /Im1 Do Q"].concat());
    let read = understand(&pages(&[content], "/XObject << /Im1 4 0 R >>", &[picture], "")).unwrap();
    assert_eq!(read.text, "Text");
}

#[test]
fn forms_within_a_page_are_read() {
    let form = stream(
        "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /Font << /F1 3 0 R >> >>",
        &line(b"im Formular"),
    );
    let content = stream("", b"/Fm1 Do");
    let read = understand(&pages(&[content], "/XObject << /Fm1 4 0 R >>", &[form], "")).unwrap();
    assert_eq!(read.text, "im Formular");
}

#[test]
fn a_scanned_file_is_broken_with_what_to_do() {
    let picture = packed("/Type /XObject /Subtype /Image /Width 9 /Height 9", &[0x80; 81]);
    let content = stream("", b"q /Im1 Do Q");
    let message = problem(&pages(&[content], "/XObject << /Im1 4 0 R >>", &[picture], ""));
    assert_eq!(message, "there is no text on its 1 page, only pictures; recognise the text (OCR) first");
}

#[test]
fn pages_that_are_pictures_among_others_are_named() {
    let picture = packed("/Type /XObject /Subtype /Image /Width 9 /Height 9", &[0x80; 81]);
    let scanned = stream("", b"q /Im1 Do Q");
    let contents = [stream("", &line(b"Text")), scanned.clone(), stream("", &line(b"Mehr Text")), scanned];
    let read = understand(&pages(&contents, "/XObject << /Im1 4 0 R >>", &[picture], "")).unwrap();
    assert_eq!(read.metadata["pages_without_text"], "2, 4");
    assert_eq!(
        read.missing.as_deref(),
        Some("there is no text, only pictures, on 2 of its 4 pages (2, 4); recognise the text (OCR) first")
    );
    let blank = understand(&pages(&[stream("", &line(b"Text")), stream("", b"")], "", &[], "")).unwrap();
    assert_eq!((blank.missing, blank.metadata.get("pages_without_text")), (None, None));
}

#[test]
fn an_encrypted_file_is_broken_with_what_to_do() {
    let key = "0".repeat(64);
    let encryption = format!("<< /Filter /Standard /V 1 /R 2 /Length 40 /O <{key}> /U <{key}> /P -4 >>");
    let id = "/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]";
    let file =
        pages(&[stream("", &line(b"Text"))], "", &[encryption.into_bytes()], &format!("/Encrypt 4 0 R {id}"));
    let message = problem(&file);
    assert!(message.contains("encrypted") || message.contains("password"), "{message}");
}

#[test]
fn what_is_no_pdf_is_broken() {
    assert_eq!(problem(b""), "expected a PDF file, found no `%PDF-` at its start");
    assert_eq!(problem(b"<html>"), "expected a PDF file, found no `%PDF-` at its start");
    let cut = pages(&[stream("", &line(b"Text"))], "", &[], "");
    problem(&cut[..60]);
    problem(b"%PDF-1.5\n");
}

#[test]
fn a_file_over_which_the_library_panics_is_broken() {
    // A page without a size.
    let file = pages(&[stream("", &line(b"Text"))], "", &[], "");
    let file = String::from_utf8(file).unwrap().replace("/MediaBox [0 0 595 842]", "/MediaFox [0 0 595 842]");
    assert_eq!(problem(file.as_bytes()), "the layout of page 1 is not understood");
}

#[test]
fn a_form_that_draws_itself_is_refused() {
    let form = stream("/Type /XObject /Subtype /Form /Resources << /XObject << /Fm1 4 0 R >> >>", b"/Fm1 Do");
    let content = stream("", b"/Fm1 Do");
    let file = pages(std::slice::from_ref(&content), "/XObject << /Fm1 4 0 R >>", &[form], "");
    assert!(problem(&file).contains("draws itself"));
    let form = stream("/Type /XObject /Subtype /Form", b"q /Fm1 Do Q");
    let file = pages(&[content], "/XObject << /Fm1 4 0 R >>", &[form], "");
    assert!(problem(&file).contains("draws others without naming them"));
}

#[test]
fn pages_that_are_their_own_parents_are_refused() {
    let file = pages(&[stream("", &line(b"Text"))], "", &[], "");
    let file =
        String::from_utf8(file).unwrap().replace("/Type /Page /Parent 2 0 R", "/Type /Page /Parent 4 0 R");
    assert!(problem(file.as_bytes()).contains("deeper than 32 levels"));
}

#[test]
fn a_bomb_within_a_file_is_refused() {
    let bomb = packed("", &vec![b' '; 200 << 20]);
    let message = problem(&pages(&[bomb], "", &[], ""));
    assert_eq!(message, "one of its streams unpacks to more than 67108864 bytes");
    let objects = packed("/Type /ObjStm /N 1 /First 4", &vec![b' '; 200 << 20]);
    let message = problem(&pages(&[stream("", &line(b"Text"))], "", &[objects], ""));
    assert_eq!(message, "one of its streams unpacks to more than 67108864 bytes");
}

#[test]
fn no_byte_that_is_overwritten_ends_the_process() {
    let file = pages(&[packed("", &line(b"Text")), stream("", &line(b"Seite zwei"))], "", &[], "");
    let mut broken = 0;
    for place in 0..file.len() {
        for mask in [0x01, 0x10, 0xff] {
            let mut damaged = file.clone();
            damaged[place] ^= mask;
            broken += u32::from(understand(&damaged).is_err());
        }
    }
    assert!(broken > 0);
}
