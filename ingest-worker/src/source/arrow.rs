//! Opens Arrow files: Feather and IPC files, and the streams of Hugging Face `datasets`.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{BufReader, Seek as _},
};

use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::ArrowError;

use super::{
    SourceFile,
    caught::caught,
    parquet::begins_with,
    table::{Batches, TableSource, columns, damaged},
};
use crate::error::IngestError;

const FILE_MAGIC: &[u8] = b"ARROW1";
const OLD_FEATHER_MAGIC: &[u8] = b"FEA1";

pub(super) fn open(file: &SourceFile) -> Result<TableSource, IngestError> {
    let path = &file.path;
    let at_start = |problem: &dyn std::fmt::Display| damaged(path, "at its start", problem);
    let mut opened = File::open(path).map_err(IngestError::read(path))?;
    let mut starts_with = |magic| -> std::io::Result<bool> {
        opened.rewind()?;
        begins_with(&mut opened, magic)
    };
    if starts_with(OLD_FEATHER_MAGIC).map_err(IngestError::read(path))? {
        return Err(at_start(&"it is Feather of version 1, expected version 2; write it again"));
    }
    let is_file = starts_with(FILE_MAGIC).map_err(IngestError::read(path))?;
    opened.rewind().map_err(IngestError::read(path))?;
    let reader = BufReader::new(opened);
    let (schema, again) = if is_file {
        let reader = caught(|| FileReader::try_new(reader, None));
        let reader = understood(reader).map_err(|problem| at_start(&problem))?;
        (reader.schema(), true)
    } else {
        let reader = caught(|| StreamReader::try_new(reader, None));
        let reader = understood(reader).map_err(|problem| at_start(&problem))?;
        (reader.schema(), false)
    };
    let columns = columns(&schema, file)?;
    let reader = BufReader::new(File::open(path).map_err(IngestError::read(path))?);
    let batches: Batches = if again {
        let reader = caught(|| FileReader::try_new(reader, Some(columns)));
        Box::new(understood(reader).map_err(|problem| at_start(&problem))?)
    } else {
        let reader = caught(|| StreamReader::try_new(reader, Some(columns)));
        Box::new(understood(reader).map_err(|problem| at_start(&problem))?)
    };
    Ok(TableSource::new(file, batches))
}

fn understood<T>(opened: Option<Result<T, ArrowError>>) -> Result<T, String> {
    match opened {
        Some(Ok(reader)) => Ok(reader),
        Some(Err(error)) => Err(format!("it is no Arrow file or stream ({error})")),
        None => Err("its layout is wrong".to_owned()),
    }
}
