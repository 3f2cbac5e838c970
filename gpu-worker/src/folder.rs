//! Writes whole folders so that a reader sees all of their files or none.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Why a folder could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The device is full.
    #[error(
        "no space left to write {path} ({size_bytes} bytes); nothing was kept of it. Free some space, then repeat"
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// Its size.
        size_bytes: usize,
    },
    /// Something lies there already.
    #[error("{path} exists already and is never overwritten; choose another folder or remove it")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Another failure of the file system.
    #[error("cannot write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
}

/// Writes `files` into the new folder `folder`: first beside it, then renamed; removed again when something fails.
///
/// # Errors
/// [`FolderError`]; nothing of the folder exists then.
pub fn write_folder(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), FolderError> {
    if folder.exists() {
        return Err(FolderError::Exists { path: folder.into() });
    }
    let mut unfinished_name = std::ffi::OsString::from(".unfinished-");
    unfinished_name.push(folder.file_name().unwrap_or_default());
    let unfinished = folder.with_file_name(unfinished_name);
    let written = fill(&unfinished, files).and_then(|()| publish(&unfinished, folder));
    if written.is_err() {
        // The first error tells more than one of cleaning up.
        let _ = fs::remove_dir_all(&unfinished);
    }
    written
}

/// Writes one file: first beside it, then renamed over what was there.
///
/// # Errors
/// [`FolderError`]; the file is then as it was before.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), FolderError> {
    let mut unfinished_name = std::ffi::OsString::from(".unfinished-");
    unfinished_name.push(path.file_name().unwrap_or_default());
    let unfinished = path.with_file_name(unfinished_name);
    let written = write_synced(&unfinished, content)
        .and_then(|()| fs::rename(&unfinished, path).map_err(|source| failed(path, content.len(), source)));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn fill(unfinished: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), FolderError> {
    if unfinished.exists() {
        fs::remove_dir_all(unfinished).map_err(|source| failed(unfinished, 0, source))?;
    }
    fs::create_dir_all(unfinished).map_err(|source| failed(unfinished, 0, source))?;
    for (name, content) in files {
        write_synced(&unfinished.join(name), content)?;
    }
    Ok(())
}

fn publish(unfinished: &Path, folder: &Path) -> Result<(), FolderError> {
    fs::rename(unfinished, folder).map_err(|source| failed(folder, 0, source))?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|source| failed(folder, 0, source))
}

fn write_synced(path: &Path, content: &[u8]) -> Result<(), FolderError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|source| failed(path, content.len(), source))
}

fn failed(path: &Path, size_bytes: usize, source: io::Error) -> FolderError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            FolderError::Full { path: path.into(), size_bytes }
        }
        _ => FolderError::Io { path: path.into(), source },
    }
}

#[cfg(test)]
mod tests;
