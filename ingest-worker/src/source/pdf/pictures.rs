//! Tells which pages of a PDF file hold pictures.

use pdf_extract::{Dictionary, Document, Object, ObjectId};

use super::guard::is_of;

/// Whether a page may draw a picture.
pub(super) fn are_on(document: &Document, page: ObjectId) -> bool {
    let Ok((own, inherited)) = document.get_page_resources(page) else { return false };
    let inherited = inherited.iter().filter_map(|id| document.get_dictionary(*id).ok());
    own.into_iter().chain(inherited).any(|resources| are_among(document, resources).unwrap_or_default())
}

fn are_among(document: &Document, resources: &Dictionary) -> Option<bool> {
    let (_, drawn) = document.dereference(resources.get(b"XObject").ok()?).ok()?;
    let mut drawn = drawn.as_dict().ok()?.iter().filter_map(|(_, object)| document.dereference(object).ok());
    Some(drawn.any(|(_, object)| matches!(object, Object::Stream(stream) if is_of(stream, b"Image"))))
}
