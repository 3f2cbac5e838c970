//! SHA-256 over model files, read in pieces so that a file of any size fits.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use clara_lifecycle::digest::Digest;
use sha2::{Digest as _, Sha256};

use super::ModelError;

const PIECE_BYTES: usize = 1 << 20;

/// The digest of one file, as `sha256sum` prints it.
pub(crate) fn digest_file(path: &Path) -> Result<Digest, ModelError> {
    let mut hasher = Sha256::new();
    hash_file(&mut hasher, path)?;
    Ok(Digest::from_hash(hasher.finalize().as_ref()))
}

/// One digest over the names and contents of several files, sorted by name and length-prefixed as in [`Digest::of_parts`].
pub(crate) fn digest_files(paths: &[PathBuf]) -> Result<Digest, ModelError> {
    let mut named: Vec<(String, &PathBuf)> = Vec::with_capacity(paths.len());
    for path in paths {
        named.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path));
    }
    named.sort();
    let mut hasher = Sha256::new();
    for (name, path) in named {
        let size = std::fs::metadata(path).map_err(|source| ModelError::io(path, source))?.len();
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(size.to_le_bytes());
        hash_file(&mut hasher, path)?;
    }
    Ok(Digest::from_hash(hasher.finalize().as_ref()))
}

fn hash_file(hasher: &mut Sha256, path: &Path) -> Result<(), ModelError> {
    let mut file = File::open(path).map_err(|source| ModelError::io(path, source))?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece).map_err(|source| ModelError::io(path, source))?;
        match piece.get(..read) {
            Some(bytes) if !bytes.is_empty() => hasher.update(bytes),
            _ => return Ok(()),
        }
    }
}
