//! A compressed file of lines; the same lines give the same bytes.

use std::{
    fmt,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use zstd::Encoder;

use crate::error::IngestError;

/// Compression that costs little time.
const LEVEL: i32 = 3;

/// A file of lines, compressed by zstd.
pub(super) struct ZstFile {
    path: PathBuf,
    encoder: Encoder<'static, File>,
}

impl fmt::Debug for ZstFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ZstFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ZstFile {
    pub(super) fn create(path: PathBuf) -> Result<Self, IngestError> {
        let file = File::create(&path).map_err(IngestError::write(&path))?;
        let encoder = Encoder::new(file, LEVEL).map_err(IngestError::write(&path))?;
        Ok(Self { path, encoder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write_line(&mut self, line: &[u8]) -> Result<(), IngestError> {
        for bytes in [line, b"\n"] {
            self.encoder.write_all(bytes).map_err(IngestError::write(&self.path))?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), IngestError> {
        self.encoder.finish().map(drop).map_err(IngestError::write(&self.path))
    }
}
