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
    /// Something that may not be replaced.
    #[error(
        "{path} exists and has no {mark} in it, so it is not what may be replaced; choose another folder or remove it"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// File by which a folder that may be replaced is known.
        mark: String,
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

/// A folder that is filled beside its place and appears there whole. Dropped before [`NewFolder::publish`], nothing is left.
#[derive(Debug)]
pub struct NewFolder {
    place: PathBuf,
    unfinished: PathBuf,
    replaced: Option<PathBuf>,
}

impl NewFolder {
    /// Begins a folder for `place`. One that lies there already is refused, unless it is empty or holds the file `replaces`.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn begin(place: &Path, replaces: Option<&str>) -> Result<Self, FolderError> {
        let mut earlier = None;
        if place.exists() {
            let Some(mark) = replaces else { return Err(FolderError::Exists { path: place.into() }) };
            let is_empty = fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_none());
            if !is_empty && !place.join(mark).is_file() {
                return Err(FolderError::Foreign { path: place.into(), mark: mark.to_owned() });
            }
            earlier = Some(beside(place, ".replaced-"));
        }
        let unfinished = beside(place, ".unfinished-");
        for leftover in earlier.iter().chain([&unfinished]).filter(|path| path.exists()) {
            fs::remove_dir_all(leftover).map_err(|source| failed(leftover, 0, source))?;
        }
        fs::create_dir_all(&unfinished).map_err(|source| failed(&unfinished, 0, source))?;
        Ok(Self { place: place.into(), unfinished, replaced: earlier })
    }

    /// Where it is filled.
    pub fn path(&self) -> &Path {
        &self.unfinished
    }

    /// Writes one of its files.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), FolderError> {
        write_synced(&self.unfinished.join(name), content)
    }

    /// Moves the folder to its place.
    ///
    /// # Errors
    /// [`FolderError`]; what lay there before lies there still.
    pub fn publish(self) -> Result<(), FolderError> {
        let place = &self.place;
        let broken = |source| failed(place, 0, source);
        if let Some(replaced) = &self.replaced {
            fs::rename(place, replaced).map_err(broken)?;
        }
        if let Err(error) = fs::rename(&self.unfinished, place) {
            if let Some(replaced) = &self.replaced {
                fs::rename(replaced, place).map_err(broken)?;
            }
            return Err(broken(error));
        }
        if let Some(replaced) = &self.replaced {
            fs::remove_dir_all(replaced).map_err(|source| failed(replaced, 0, source))?;
        }
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(broken)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // Gone already once it was published; the first error tells more than one of cleaning up.
        let _ = fs::remove_dir_all(&self.unfinished);
    }
}

/// Writes `files` into the new folder `folder`: first beside it, then renamed; removed again when something fails.
///
/// # Errors
/// [`FolderError`]; nothing of the folder exists then.
pub fn write_folder(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), FolderError> {
    let new = NewFolder::begin(folder, None)?;
    for (name, content) in files {
        new.write(name, content)?;
    }
    new.publish()
}

/// Writes one file: first beside it, then renamed over what was there.
///
/// # Errors
/// [`FolderError`]; the file is then as it was before.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), FolderError> {
    let unfinished = beside(path, ".unfinished-");
    let written = write_synced(&unfinished, content)
        .and_then(|()| fs::rename(&unfinished, path).map_err(|source| failed(path, content.len(), source)));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// The path with `prefix` before its last name.
fn beside(path: &Path, prefix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(prefix);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

fn write_synced(path: &Path, content: &[u8]) -> Result<(), FolderError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|source| failed(path, content.len(), source))
}

/// What a failed write of `size_bytes` to `path` means.
pub(crate) fn failed(path: &Path, size_bytes: usize, source: io::Error) -> FolderError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            FolderError::Full { path: path.into(), size_bytes }
        }
        _ => FolderError::Io { path: path.into(), source },
    }
}

#[cfg(test)]
mod tests;
