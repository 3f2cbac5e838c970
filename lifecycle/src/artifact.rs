//! References to stored bytes: which files, how large, with which digests.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One stored file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFile {
    /// Path below the artifact's prefix, with `/` between parts, e.g. `adapter_model.safetensors`.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the content.
    pub digest: Digest,
}

/// A set of stored files that belong together; immutable once referred to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRef {
    /// Where the files lie in the artifact store, e.g. `jobs/job-1/train/attempt-1-fence-3/adapter`.
    pub prefix: String,
    /// The files, sorted by path.
    pub files: Vec<ArtifactFile>,
}

impl ArtifactRef {
    /// One digest over all paths and contents.
    pub fn digest(&self) -> Digest {
        Digest::of_parts(self.files.iter().map(|file| (file.path.as_str(), file.digest.as_str().as_bytes())))
    }

    /// The file stored under `path`.
    pub fn file(&self, path: &str) -> Option<&ArtifactFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Total size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}
