//! Opens Parquet files: row groups in batches that fit the memory.

#[cfg(test)]
mod tests;

use std::{fs::File, io::Read as _};

use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    errors::ParquetError,
    file::metadata::ParquetMetaData,
};

use super::{
    SourceFile,
    caught::caught,
    table::{MOST_BATCH_ROWS, TableSource, columns, damaged},
};
use crate::error::IngestError;

const MAGIC: &[u8] = b"PAR1";
/// Aim for the bytes of a batch, so that tables of long documents need no more memory than others.
const BATCH_BYTES: u64 = 16 << 20;

pub(super) fn open(file: &SourceFile) -> Result<TableSource, IngestError> {
    let path = &file.path;
    let mut opened = File::open(path).map_err(IngestError::read(path))?;
    if !begins_with(&mut opened, MAGIC).map_err(IngestError::read(path))? {
        return Err(damaged(
            path,
            "at its start",
            "its first bytes are not `PAR1`, so it is no Parquet file",
        ));
    }
    let at_end = |problem: &dyn std::fmt::Display| damaged(path, "at its end", problem);
    // What the writer says of Arrow is left aside: the types of Parquet suffice, and are the same for all writers.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = caught(|| ParquetRecordBatchReaderBuilder::try_new_with_options(opened, options))
        .ok_or_else(|| at_end(&"its layout is wrong"))?
        .map_err(|error| at_end(&error))?;
    let columns = columns(builder.schema(), file)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
    let rows = batch_rows(builder.metadata(), &mask);
    let build = || -> Result<_, ParquetError> { builder.with_projection(mask).with_batch_size(rows).build() };
    let reader =
        caught(build).ok_or_else(|| at_end(&"its layout is wrong"))?.map_err(|error| at_end(&error))?;
    Ok(TableSource::new(file, Box::new(reader)))
}

/// Rows of a batch, by the mean size of a row in the row group where it is greatest.
fn batch_rows(metadata: &ParquetMetaData, mask: &ProjectionMask) -> usize {
    let mut rows = MOST_BATCH_ROWS;
    for group in metadata.row_groups() {
        let mut bytes: u64 = 0;
        for (index, column) in group.columns().iter().enumerate() {
            if mask.leaf_included(index) {
                bytes = bytes.saturating_add(u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX));
            }
        }
        let group_rows = u64::try_from(group.num_rows()).unwrap_or(0).max(1);
        let fitting = BATCH_BYTES / (bytes / group_rows).max(1);
        rows = rows.min(usize::try_from(fitting).unwrap_or(MOST_BATCH_ROWS));
    }
    rows.max(1)
}

/// Whether a file begins with the given bytes; it is read on after them.
pub(super) fn begins_with(file: &mut File, magic: &[u8]) -> std::io::Result<bool> {
    let mut start = Vec::new();
    file.take(magic.len() as u64).read_to_end(&mut start)?;
    Ok(start == magic)
}
