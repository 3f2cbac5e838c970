//! Writes the waiting records into training and validation data, in their order, and counts tokens on the way.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use clara_lifecycle::dataset::TrainingRecord;

use super::{Fate, JsonlFile};
use crate::{
    card::SeenRecords, error::IngestError, ingest::IngestObserver, order::Order, tokens::TokenCounter,
};

/// The records that wait in scratch, with the fates of their documents.
pub(super) struct Waiting<'a> {
    pub(super) path: &'a Path,
    pub(super) fates: &'a [Fate],
    pub(super) observer: &'a dyn IngestObserver,
}

/// Where the records go.
pub(super) struct Sides {
    pub(super) train: JsonlFile,
    pub(super) validation: JsonlFile,
    /// What counts their tokens, or why nothing does.
    pub(super) tokens: Result<TokenCounter, String>,
    /// What the records are, where a mixture dropped some after they were kept.
    pub(super) late: Option<SeenRecords>,
}

/// A record's key in the new order, and where its line lies.
struct Place {
    key: u64,
    start: u64,
    bytes: u32,
}

impl Waiting<'_> {
    /// Writes all records but those of dropped documents.
    pub(super) fn write(&self, order: &mut Order, sides: &mut Sides) -> Result<(), IngestError> {
        if order.counts() {
            self.for_each(|line| {
                if line.fate != Fate::BeyondShare {
                    order.count(&self.parse(line.record)?.content);
                }
                Ok(())
            })?;
        }
        let mut places: Vec<Place> = Vec::new();
        let mut number = 0;
        self.for_each(|line| {
            if line.fate == Fate::Train {
                let mut failed = None;
                let key = order.key(number, || {
                    self.parse(line.record)
                        .map(|record| record.content)
                        .map_err(|error| failed = Some(error))
                        .ok()
                });
                number += 1;
                if let Some(error) = failed {
                    return Err(error);
                }
                if let Some(key) = key {
                    let bytes = u32::try_from(line.record.len()).map_err(|_| self.damaged())?;
                    places.push(Place { key, start: line.start, bytes });
                    return Ok(());
                }
            }
            self.put(line.record, line.fate, sides)
        })?;
        self.write_ordered(places, sides)
    }

    fn write_ordered(&self, mut places: Vec<Place>, sides: &mut Sides) -> Result<(), IngestError> {
        places.sort_by_key(|place| (place.key, place.start));
        let mut file = self.open()?;
        let mut record = Vec::new();
        for place in places {
            self.check_stop()?;
            record.resize(usize::try_from(place.bytes).unwrap_or(usize::MAX), 0);
            file.seek(SeekFrom::Start(place.start))
                .and_then(|_| file.read_exact(&mut record))
                .map_err(IngestError::read(self.path))?;
            self.put(&record, Fate::Train, sides)?;
        }
        Ok(())
    }

    fn put(&self, record: &[u8], fate: Fate, sides: &mut Sides) -> Result<(), IngestError> {
        let is_validation = match fate {
            Fate::Train => false,
            Fate::Validation => true,
            Fate::BeyondShare => return Ok(()),
        };
        if let Ok(counter) = &mut sides.tokens
            && let Err(why) = counter.count(&self.parse(record)?, is_validation)
        {
            sides.tokens = Err(why);
        }
        if let Some(seen) = &mut sides.late {
            seen.see(&self.parse(record)?);
        }
        let file = if is_validation { &mut sides.validation } else { &mut sides.train };
        file.write_line(record)
    }

    /// Reads all lines in the order in which they were written.
    fn for_each(&self, mut take: impl FnMut(Line<'_>) -> Result<(), IngestError>) -> Result<(), IngestError> {
        let mut reader = BufReader::new(self.open()?);
        let mut buffer = Vec::new();
        let mut start = 0;
        loop {
            self.check_stop()?;
            buffer.clear();
            let bytes = reader.read_until(b'\n', &mut buffer).map_err(IngestError::read(self.path))? as u64;
            if bytes == 0 {
                return Ok(());
            }
            take(self.line(buffer.trim_ascii_end(), start)?)?;
            start += bytes;
        }
    }

    /// A line as [`super::DatasetWriter::keep`] wrote it: number of the document, blank, record.
    fn line<'l>(&self, line: &'l [u8], start: u64) -> Result<Line<'l>, IngestError> {
        let blank = line.iter().position(|byte| *byte == b' ').ok_or_else(|| self.damaged())?;
        let (number, record) = line.split_at(blank);
        let number: Option<usize> = str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        let fate = number.and_then(|number| self.fates.get(number)).ok_or_else(|| self.damaged())?;
        Ok(Line { fate: *fate, record: record.trim_ascii_start(), start: start + blank as u64 + 1 })
    }

    fn parse(&self, record: &[u8]) -> Result<TrainingRecord, IngestError> {
        serde_json::from_slice(record).map_err(|error| IngestError::read(self.path)(error.into()))
    }

    fn open(&self) -> Result<File, IngestError> {
        File::open(self.path).map_err(IngestError::read(self.path))
    }

    fn check_stop(&self) -> Result<(), IngestError> {
        self.observer.stop().map_or(Ok(()), |reason| Err(IngestError::Stopped(reason)))
    }

    fn damaged(&self) -> IngestError {
        let error = io::Error::new(io::ErrorKind::InvalidData, "a line was damaged after it was written");
        IngestError::read(self.path)(error)
    }
}

/// One waiting record.
struct Line<'a> {
    fate: Fate,
    record: &'a [u8],
    /// Where the record begins in the file.
    start: u64,
}
