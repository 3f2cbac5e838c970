//! A file while it is downloaded: under a hidden name until it is whole.

use std::{
    fs::{self, File},
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{error::IngestError, fetch::waiting};

/// A file that is not whole yet.
#[derive(Debug)]
pub(super) struct Partial {
    target: PathBuf,
    path: PathBuf,
    file: File,
    bytes: u64,
    entity: Option<String>,
}

impl Partial {
    /// Begins the file that will lie at `target`.
    pub(super) fn create(target: &Path) -> Result<Self, IngestError> {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(IngestError::write(folder))?;
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.part"));
        let file = File::create(&path).map_err(IngestError::write(&path))?;
        Ok(Self { target: target.to_owned(), path, file, bytes: 0, entity: None })
    }

    /// So much of it is here.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What tells its content from another.
    pub(super) fn entity(&self) -> Option<&str> {
        self.entity.as_deref()
    }

    /// Begins anew with the content that `entity` names.
    pub(super) fn restart(&mut self, entity: Option<String>) -> Result<(), IngestError> {
        if self.bytes > 0 {
            self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(IngestError::write(&self.path))?;
        }
        (self.bytes, self.entity) = (0, entity);
        Ok(())
    }

    /// Adds the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        self.file.write_all(bytes).map_err(IngestError::write(&self.path))?;
        self.bytes += bytes.len() as u64;
        waiting::answered();
        Ok(())
    }

    /// Moves it to its place and answers its size.
    pub(super) fn finish(self) -> Result<u64, IngestError> {
        self.file.sync_data().map_err(IngestError::write(&self.path))?;
        fs::rename(&self.path, &self.target).map_err(IngestError::write(&self.target))?;
        Ok(self.bytes)
    }
}
