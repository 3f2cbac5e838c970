//! A file that only grows and can be read anywhere while it does.

use std::{fs::File, io::Write as _, os::unix::fs::FileExt as _, path::PathBuf};

use crate::error::IngestError;

/// So many bytes are written at once.
const BUFFER_BYTES: usize = 1 << 16;

/// A file that only grows.
#[derive(Debug)]
pub(super) struct AppendFile {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    written: u64,
}

impl AppendFile {
    pub(super) fn create(path: PathBuf) -> Result<Self, IngestError> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(IngestError::write(&path))?;
        Ok(Self { path, file, buffer: Vec::with_capacity(BUFFER_BYTES), written: 0 })
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes from an offset on, which must have been appended.
    pub(super) fn read<const N: usize>(&mut self, offset: u64) -> Result<[u8; N], IngestError> {
        let mut bytes = [0; N];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// So many bytes from an offset on, which must have been appended.
    pub(super) fn read_many(&mut self, offset: u64, count: u64) -> Result<Vec<u8>, IngestError> {
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn flush(&mut self) -> Result<(), IngestError> {
        self.file.write_all(&self.buffer).map_err(IngestError::write(&self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Puts `bytes` in the place of others that were flushed.
    pub(super) fn replace(&mut self, offset: u64, bytes: &[u8]) -> Result<(), IngestError> {
        self.file.write_all_at(bytes, offset).map_err(IngestError::write(&self.path))
    }

    /// Cuts off what was flushed from an offset on; nothing may be appended afterwards.
    pub(super) fn cut(&mut self, end: u64) -> Result<(), IngestError> {
        self.written = end;
        self.file.set_len(end).map_err(IngestError::write(&self.path))
    }

    fn read_into(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), IngestError> {
        if offset + bytes.len() as u64 > self.written {
            self.flush()?;
        }
        self.file.read_exact_at(bytes, offset).map_err(IngestError::read(&self.path))
    }
}
