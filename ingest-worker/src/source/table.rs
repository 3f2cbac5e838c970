//! Rows of Arrow tables as records: one batch at a time, and only the columns that say something.

mod value;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{ArrowError, DataType, Schema};
use clara_lifecycle::{digest::Digest, spec::FieldNames};
use serde_json::{Map, Value};

use super::{Broken, Origin, Source, SourceFile, SourceItem, caught::caught, input::Input, record};
use crate::error::IngestError;

/// Most rows that are held at a time, where the file does not say otherwise.
pub(super) const MOST_BATCH_ROWS: usize = 1_024;

/// The batches of a file.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

/// A table that is read row by row.
pub(super) struct TableSource {
    path: PathBuf,
    name: String,
    shown_path: Arc<str>,
    fields: Arc<FieldNames>,
    batches: Option<Batches>,
    batch: Option<RecordBatch>,
    /// Row of the batch that comes next.
    next: usize,
    /// Rows read so far.
    rows: u64,
    read: (u64, Digest),
}

impl TableSource {
    /// A source of the given batches of a file.
    pub(super) fn new(file: &SourceFile, batches: Batches) -> Self {
        Self {
            path: file.path.clone(),
            name: file.name.clone(),
            shown_path: file.path.to_string_lossy().into(),
            fields: Arc::clone(&file.fields),
            batches: Some(batches),
            batch: None,
            next: 0,
            rows: 0,
            read: (0, Digest::of(b"")),
        }
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, IngestError> {
        let Some(batches) = &mut self.batches else { return Ok(None) };
        match caught(|| batches.next()) {
            Some(None) => {
                self.batches = None;
                self.read = digest(&self.path)?;
                Ok(None)
            }
            Some(Some(Ok(batch))) => Ok(Some(batch)),
            Some(Some(Err(error))) => Err(damaged(&self.path, &format!("after row {}", self.rows), error)),
            None => Err(damaged(&self.path, &format!("after row {}", self.rows), "its layout is wrong")),
        }
    }

    fn item(&self, batch: &RecordBatch, row: usize) -> SourceItem {
        let origin = Origin::line(Arc::clone(&self.shown_path), self.rows);
        match object(batch, row, &self.fields).and_then(|object| record::from_object(&object, &self.fields)) {
            Err(problem) => SourceItem::Broken(Broken { origin, problem }),
            Ok(record) => SourceItem::Document(record.document(origin, &self.name)),
        }
    }
}

impl fmt::Debug for TableSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TableSource").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source for TableSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        loop {
            if let Some(batch) = self.batch.take_if(|batch| self.next < batch.num_rows()) {
                let row = self.next;
                self.next += 1;
                self.rows += 1;
                let item = self.item(&batch, row);
                self.batch = Some(batch);
                return Ok(Some(item));
            }
            // The last batch goes before the next one comes.
            self.batch = None;
            self.next = 0;
            self.batch = self.next_batch()?;
            if self.batch.is_none() {
                return Ok(None);
            }
        }
    }

    fn read_so_far(&self) -> (u64, Digest) {
        self.read.clone()
    }
}

/// The columns of a table that records are made from: those that the job names, and those with texts or objects.
///
/// # Errors
/// [`IngestError::Columns`] when none of the known shapes is among them.
pub(super) fn columns(schema: &Schema, file: &SourceFile) -> Result<Vec<usize>, IngestError> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    record::check_columns(names(), &file.fields)
        .map_err(|problem| IngestError::Columns { path: file.path.clone(), problem })?;
    let mut columns = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let is_object = matches!(field.data_type(), DataType::Struct(_));
        if is_named(field.name(), &file.fields) || is_object || value::is_text(field.data_type()) {
            columns.push(index);
        }
    }
    Ok(columns)
}

/// The error of a table that cannot be read any further.
pub(super) fn damaged(path: &Path, place: &str, problem: impl fmt::Display) -> IngestError {
    let problem = format!("the table is damaged {place}: {problem}");
    IngestError::Damaged { path: path.to_owned(), problem }
}

fn object(batch: &RecordBatch, row: usize, fields: &FieldNames) -> Result<Map<String, Value>, String> {
    let mut object = Map::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if column.is_null(row) {
            continue;
        }
        let value = value::of(column, row, is_named(field.name(), fields))
            .map_err(|problem| format!("column `{}` {problem}", field.name()))?;
        if let Some(value) = value {
            object.insert(field.name().clone(), value);
        }
    }
    Ok(object)
}

fn is_named(column: &str, fields: &FieldNames) -> bool {
    let FieldNames {
        text,
        instruction,
        input,
        output,
        messages,
        prompt,
        completion,
        id,
        domain,
        licence,
        classification,
    } = fields;
    let content = [text, instruction, input, output, messages, prompt, completion];
    let about = [id, domain, licence, classification];
    content.into_iter().chain(about).any(|name| name == column)
}

/// Size and digest of a file whose bytes were not read in their order.
fn digest(path: &Path) -> Result<(u64, Digest), IngestError> {
    let mut input = Input::open(path)?;
    input.drain()?;
    Ok(input.read_so_far())
}
