//! Keeps PDF files away from the library that would fill the memory or never end.

use std::{
    collections::BTreeSet,
    io::{self, Read as _},
};

use flate2::bufread::ZlibDecoder;
use pdf_extract::{Dictionary, Document, Object, ObjectId, Stream};

use crate::source::MOST_DOCUMENT_BYTES;

/// Deflate packs at most a thousand times, so that shorter streams cannot be too long.
const LEAST_SUSPICIOUS_BYTES: usize = 48 << 10;
/// Deepest nesting of pages in their tree, and of forms in forms.
const MOST_LEVELS: usize = 32;
/// Where a packed stream tells its kind, before its bytes.
const STREAM_HEAD_BYTES: usize = 512;

/// Refuses object and reference streams that are too long when unpacked; the library unpacks them as it opens a file.
pub(super) fn check_packed_objects(bytes: &[u8]) -> Result<(), String> {
    let mut from = 0;
    while let Some(found) = bytes.get(from..).and_then(|rest| position(rest, b"stream")) {
        let place = from + found;
        from = place + b"stream".len();
        let head = bytes.get(place.saturating_sub(STREAM_HEAD_BYTES)..place).unwrap_or_default();
        let is_packed = position(head, b"/ObjStm").is_some() || position(head, b"/XRef").is_some();
        if !is_packed || head.ends_with(b"end") {
            continue;
        }
        let content = bytes.get(from..).unwrap_or_default();
        let content =
            content.strip_prefix(b"\r\n").or_else(|| content.strip_prefix(b"\n")).unwrap_or(content);
        check_unpacked(content)?;
    }
    Ok(())
}

/// Takes pictures out, which the library would read as text, and refuses what it could not end with.
pub(super) fn prepare(document: &mut Document) -> Result<(), String> {
    for object in document.objects.values_mut() {
        let Object::Stream(stream) = object else { continue };
        if is_of(stream, b"Image") {
            stream.dict.remove(b"Filter");
            stream.dict.remove(b"DecodeParms");
            stream.content.clear();
            continue;
        }
        check_stream(stream)?;
    }
    for page in document.get_pages().into_values() {
        let page = document.get_dictionary(page).map_err(|error| format!("a page is missing ({error})"))?;
        check_parents(document, page)?;
    }
    check_forms(document)
}

fn check_stream(stream: &Stream) -> Result<(), String> {
    let Ok(filters) = stream.filters() else { return Ok(()) };
    match filters.iter().filter(|filter| matches!(**filter, b"FlateDecode" | b"LZWDecode")).count() {
        1 if filters.first() == Some(&b"FlateDecode".as_slice()) => check_unpacked(&stream.content),
        0 | 1 => Ok(()),
        _ => Err("one of its streams is packed more than once".to_owned()),
    }
}

fn check_unpacked(packed: &[u8]) -> Result<(), String> {
    if packed.len() < LEAST_SUSPICIOUS_BYTES {
        return Ok(());
    }
    let mut unpacked = ZlibDecoder::new(packed).take(MOST_DOCUMENT_BYTES + 1);
    // A damaged stream ends where it is damaged, for the library too.
    match io::copy(&mut unpacked, &mut io::sink()) {
        Ok(bytes) if bytes > MOST_DOCUMENT_BYTES => {
            Err(format!("one of its streams unpacks to more than {MOST_DOCUMENT_BYTES} bytes"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The library looks up what a page lacks in the pages above it.
fn check_parents(document: &Document, page: &Dictionary) -> Result<(), String> {
    let mut page = page;
    for _ in 0..MOST_LEVELS {
        let parent = page.get(b"Parent").and_then(Object::as_reference);
        match parent.and_then(|parent| document.get_dictionary(parent)) {
            Ok(parent) => page = parent,
            Err(_) => return Ok(()),
        }
    }
    Err(format!("its tree of pages is deeper than {MOST_LEVELS} levels"))
}

/// Refuses forms that draw themselves, or are nested too deep.
fn check_forms(document: &Document) -> Result<(), String> {
    let mut done = BTreeSet::new();
    for (id, object) in &document.objects {
        let Object::Stream(stream) = object else { continue };
        if is_of(stream, b"Form") {
            // Such a form uses the resources of what draws it, which may name the form itself.
            let content = stream.decompressed_content().unwrap_or_default();
            if !stream.dict.has(b"Resources") && position(&content, b" Do").is_some() {
                return Err("one of its forms draws others without naming them".to_owned());
            }
            check_form(document, *id, &mut Vec::new(), &mut done)?;
        }
    }
    Ok(())
}

fn check_form(
    document: &Document,
    form: ObjectId,
    above: &mut Vec<ObjectId>,
    done: &mut BTreeSet<ObjectId>,
) -> Result<(), String> {
    if above.contains(&form) || above.len() >= MOST_LEVELS {
        return Err("one of its forms draws itself, or forms are nested too deep".to_owned());
    }
    if done.contains(&form) {
        return Ok(());
    }
    above.push(form);
    for inner in inner_forms(document, form) {
        check_form(document, inner, above, done)?;
    }
    above.pop();
    done.insert(form);
    Ok(())
}

/// The forms that a form may draw.
fn inner_forms(document: &Document, form: ObjectId) -> Vec<ObjectId> {
    let find = || -> Option<Vec<ObjectId>> {
        let Object::Stream(stream) = document.get_object(form).ok()? else { return None };
        let (_, resources) = document.dereference(stream.dict.get(b"Resources").ok()?).ok()?;
        let (_, drawn) = document.dereference(resources.as_dict().ok()?.get(b"XObject").ok()?).ok()?;
        let ids = drawn.as_dict().ok()?.iter().filter_map(|(_, object)| object.as_reference().ok());
        Some(ids.filter(|id| is_form(document, *id)).collect())
    };
    find().unwrap_or_default()
}

fn is_form(document: &Document, id: ObjectId) -> bool {
    matches!(document.get_object(id), Ok(Object::Stream(stream)) if is_of(stream, b"Form"))
}

/// Whether a stream is of the given kind, such as `Image`.
pub(super) fn is_of(stream: &Stream, kind: &[u8]) -> bool {
    stream.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|name| name == kind)
}

fn position(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}
