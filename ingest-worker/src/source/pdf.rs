//! Reads the text of PDF files page by page.

mod guard;
mod pictures;

#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    collections::BTreeMap,
    io::{self, Write},
};

use clara_lifecycle::counted::counted;
use pdf_extract::{Document, Error, Object, PlainTextOutput, output_doc_page};

use super::{MOST_DOCUMENT_BYTES, caught::caught, whole::WholeText};

/// Stands between pages, as `pdftotext` writes it.
pub(crate) const PAGE_BREAK: &str = "\n\u{c}\n";
/// Before its mark a file may hold other bytes, at most so many.
const MOST_LEADING_BYTES: usize = 1_024;
/// What fonts join and texts keep apart.
const LIGATURES: [(char, &str); 5] =
    [('\u{fb00}', "ff"), ('\u{fb01}', "fi"), ('\u{fb02}', "fl"), ('\u{fb03}', "ffi"), ('\u{fb04}', "ffl")];

/// The text of all pages, with `title`, `pages` and, where some are pictures, `pages_without_text` as metadata.
///
/// # Errors
/// What is wrong with the file, e.g. that it is encrypted or that its pages are pictures.
pub(super) fn understand(bytes: &[u8]) -> Result<WholeText, String> {
    let start = bytes.get(..MOST_LEADING_BYTES).unwrap_or(bytes);
    if !start.windows(5).any(|window| window == b"%PDF-") {
        return Err("expected a PDF file, found no `%PDF-` at its start".to_owned());
    }
    guard::check_packed_objects(bytes)?;
    let page = Cell::new(0);
    // The library panics over much that viewers forgive.
    let understood = caught(|| -> Result<_, String> {
        let mut document = open(bytes)?;
        guard::prepare(&mut document)?;
        Ok((pages(&document, &page)?, title(&document)))
    });
    let (pages, title) = match understood {
        Some(understood) => understood?,
        None if page.get() == 0 => return Err("its layout is not that of a PDF file".to_owned()),
        None => return Err(format!("the layout of page {} is not understood", page.get())),
    };
    let all_pages = counted(pages.texts.len(), "page");
    let text = pages.texts.join(PAGE_BREAK);
    if !text.contains(char::is_alphanumeric) {
        return Err(format!(
            "there is no text on its {all_pages}, only pictures; recognise the text (OCR) first"
        ));
    }
    let mut metadata = BTreeMap::from([("pages".to_owned(), pages.texts.len().to_string())]);
    metadata.extend(title.map(|title| ("title".to_owned(), title)));
    let mut missing = None;
    if !pages.pictures.is_empty() {
        let numbers = pages.pictures.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let count = pages.pictures.len();
        missing = Some(format!(
            "there is no text, only pictures, on {count} of its {all_pages} ({numbers}); recognise the text (OCR) first"
        ));
        metadata.insert("pages_without_text".to_owned(), numbers);
    }
    Ok(WholeText { text, metadata, missing, ..WholeText::default() })
}

fn open(bytes: &[u8]) -> Result<Document, String> {
    const ENCRYPTED: &str = "it is encrypted; remove its password first";
    let mut document = Document::load_mem(bytes).map_err(|error| match error {
        Error::Decryption(_) | Error::InvalidPassword => ENCRYPTED.to_owned(),
        error => format!("it is not understood as a PDF file ({error})"),
    })?;
    if document.is_encrypted() {
        // Many files only forbid printing and open without a password.
        document.decrypt("").map_err(|_| ENCRYPTED.to_owned())?;
    }
    Ok(document)
}

/// The texts of the pages, and the numbers of those that hold pictures alone.
#[derive(Debug, Default)]
struct Pages {
    texts: Vec<String>,
    pictures: Vec<u32>,
}

fn pages(document: &Document, page: &Cell<u32>) -> Result<Pages, String> {
    let mut pages = Pages::default();
    let mut left = MOST_DOCUMENT_BYTES;
    for (number, id) in document.get_pages() {
        page.set(number);
        let mut written = Bounded { bytes: Vec::new(), left };
        let writer: &mut dyn Write = &mut written;
        output_doc_page(document, &mut PlainTextOutput::new(writer), number)
            .map_err(|error| format!("page {number} is not understood ({error})"))?;
        left = written.left;
        let text = tidy(&String::from_utf8_lossy(&written.bytes));
        if !text.contains(char::is_alphanumeric) && pictures::are_on(document, id) {
            pages.pictures.push(number);
        }
        pages.texts.push(text);
    }
    Ok(pages)
}

/// The text of a page without blanks at the ends of its lines and ligatures.
fn tidy(page: &str) -> String {
    let lines: Vec<&str> = page.lines().map(str::trim_end).collect();
    let mut text = lines.join("\n").trim().to_owned();
    for (ligature, letters) in LIGATURES {
        if text.contains(ligature) {
            text = text.replace(ligature, letters);
        }
    }
    text
}

/// The title that the author gave, where it is one.
fn title(document: &Document) -> Option<String> {
    let info = document.trailer.get(b"Info").ok()?;
    let (_, info) = document.dereference(info).ok()?;
    let (_, title) = document.dereference(info.as_dict().ok()?.get(b"Title").ok()?).ok()?;
    let Object::String(bytes, _) = title else { return None };
    let title = match bytes.strip_prefix(b"\xfe\xff") {
        Some(utf16) => encoding_rs::UTF_16BE.decode_without_bom_handling(utf16).0.into_owned(),
        None => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    };
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    (!title.is_empty()).then_some(title)
}

/// Text of a page, at most so many bytes.
struct Bounded {
    bytes: Vec<u8>,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            io::Error::other(format!("its text is longer than {MOST_DOCUMENT_BYTES} bytes"))
        })?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
