//! Walks a local folder for storing, and measures files piece by piece.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use clara_lifecycle::digest::Digest;
use sha2::{Digest as _, Sha256};

use super::ArtifactError;

/// How much of a file is held in memory at once.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// The files below `folder`, sorted by their paths in it (with `/` between the parts).
pub(super) async fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, ArtifactError> {
    let folder = folder.to_path_buf();
    blocking(folder.clone(), move || {
        let mut found = Vec::new();
        let mut open = vec![(String::new(), folder)];
        while let Some((prefix, folder)) = open.pop() {
            for entry in std::fs::read_dir(&folder).map_err(|source| ArtifactError::local(&folder, source))? {
                let local = entry.map_err(|source| ArtifactError::local(&folder, source))?.path();
                let path = format!("{prefix}{}", name_of(&local)?);
                // Follows links: what counts is the content.
                let kind =
                    std::fs::metadata(&local).map_err(|source| ArtifactError::local(&local, source))?;
                if kind.is_dir() {
                    open.push((format!("{path}/"), local));
                } else if kind.is_file() {
                    found.push((path, local));
                } else {
                    let reason = "it is neither a file nor a folder".to_owned();
                    return Err(ArtifactError::Name { path: local.display().to_string(), reason });
                }
            }
        }
        found.sort();
        Ok(found)
    })
    .await
}

/// Digest and size of a local file.
pub(super) async fn measure(path: &Path) -> Result<(Digest, u64), ArtifactError> {
    let path = path.to_path_buf();
    blocking(path.clone(), move || {
        let failed = |source| ArtifactError::local(&path, source);
        let mut file = File::open(&path).map_err(failed)?;
        let (mut hasher, mut size) = (Sha256::new(), 0_u64);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = file.read(&mut piece).map_err(failed)?;
            if read == 0 {
                return Ok((Digest::from_hash(hasher.finalize().as_ref()), size));
            }
            hasher.update(piece.get(..read).unwrap_or_default());
            size += read as u64;
        }
    })
    .await
}

/// Runs file access that may block; `path` is named when that is cut short.
pub(super) async fn blocking<R: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<R, ArtifactError> + Send + 'static,
) -> Result<R, ArtifactError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|cut| Err(ArtifactError::local(&path, std::io::Error::other(cut))))
}

fn name_of(path: &Path) -> Result<&str, ArtifactError> {
    path.file_name().and_then(|name| name.to_str()).ok_or_else(|| ArtifactError::Name {
        path: path.display().to_string(),
        reason: "its name is not UTF-8".to_owned(),
    })
}
