//! Files made in tests, and what is read from them.

use std::{io::Write as _, sync::Arc};

use clara_lifecycle::{dataset::TrainingContent, digest::Digest, spec::FieldNames};

use super::{Document, FileKind, SourceFile, SourceItem};
use crate::error::IngestError;

/// What a file yields.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) items: Vec<SourceItem>,
    pub(super) size_and_digest: (u64, Digest),
}

impl Read {
    /// Ids of documents, and places and problems of broken ones.
    pub(super) fn summary(&self) -> Vec<String> {
        self.items.iter().map(summary).collect()
    }

    /// The documents; panics over a broken one.
    pub(super) fn documents<'a>(&'a self) -> Vec<&'a Document> {
        let document = |item: &'a SourceItem| match item {
            SourceItem::Document(document) => document,
            SourceItem::Broken(broken) => panic!("{broken:?}"),
        };
        self.items.iter().map(document).collect()
    }

    /// The running texts of the documents.
    pub(super) fn texts(&self) -> Vec<&str> {
        self.documents().into_iter().map(text).collect()
    }
}

pub(super) fn text(document: &Document) -> &str {
    match &document.content {
        TrainingContent::Text { text } => text,
        other => panic!("{other:?}"),
    }
}

pub(super) fn summary(item: &SourceItem) -> String {
    match item {
        SourceItem::Document(document) => document.id.clone(),
        SourceItem::Broken(broken) => {
            let origin = broken.origin.to_string();
            format!("{} {}", origin.rsplit('/').next().unwrap(), broken.problem)
        }
    }
}

/// Reads a file of the given name to its end.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Read, IngestError> {
    read_fields(name, bytes, FieldNames::default())
}

/// Reads a file whose records have the given fields.
pub(super) fn read_fields(name: &str, bytes: &[u8], fields: FieldNames) -> Result<Read, IngestError> {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), name, bytes, fields);
    let mut source = file.open()?;
    let mut items = Vec::new();
    while let Some(item) = source.next_item()? {
        items.push(item);
    }
    assert_eq!(source.next_item()?, None, "a source stays at its end");
    Ok(Read { items, size_and_digest: source.read_so_far() })
}

/// Writes a file into a folder.
pub(super) fn file(folder: &std::path::Path, name: &str, bytes: &[u8], fields: FieldNames) -> SourceFile {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    let kind = FileKind::of(&path).unwrap();
    SourceFile { path, name: name.into(), kind, fields: Arc::new(fields), source: "test".into() }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}
