//! Stored bytes: written, read back against their digests, then referred to; never overwritten.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use clara_lifecycle::{
    artifact::{ArtifactFile, ArtifactRef},
    digest::Digest,
    time::Timestamp,
};
use futures::{StreamExt as _, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path as ObjectPath};
use tracing::Instrument;

use crate::{clock::SystemClock, metrics};

#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod download;
mod folder;
mod notes;
mod upload;

/// The artifact store, on any [`ObjectStore`].
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    objects: Arc<dyn ObjectStore>,
    local: Option<Arc<LocalFileSystem>>,
}

/// What lies at one place of the store, whether an artifact refers to it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// The whole path in the store.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// When it was written, by the store's clock.
    pub written_at: Timestamp,
}

/// Why an artifact could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A file of the artifact is missing, or is not what was recorded.
    #[error(
        "artifact file {path} has digest {found}, expected {expected}; it was changed after it was stored"
    )]
    Digest {
        /// Path in the store.
        path: String,
        /// Digest of what is there.
        found: String,
        /// Digest that was recorded.
        expected: String,
    },
    /// The place holds other bytes already.
    #[error(
        "cannot store artifact file {path} with digest {new}: digest {stored} is stored there, and nothing is \
         overwritten; store it under another prefix"
    )]
    Occupied {
        /// Path in the store.
        path: String,
        /// Digest of what is there.
        stored: String,
        /// Digest of what should have been stored.
        new: String,
    },
    /// The artifact does not have such a file.
    #[error("the artifact at {prefix} has no file {path}; it has {files}")]
    NoSuchFile {
        /// Prefix of the artifact.
        prefix: String,
        /// The file asked for.
        path: String,
        /// The files that it has.
        files: String,
    },
    /// A path that would leave its folder, or that a store cannot hold.
    #[error("`{path}` cannot name an artifact: {reason}")]
    Name {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no room left.
    #[error("cannot store {path}: no space left there ({reason}); free some space, then repeat")]
    Full {
        /// The path that could not be written.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The store failed.
    #[error("cannot reach artifact {path}: {source}")]
    Store {
        /// Path in the store.
        path: String,
        /// What failed.
        source: object_store::Error,
    },
    /// A local file could not be read or written.
    #[error("cannot use local file {path}: {source}")]
    Local {
        /// The local path.
        path: String,
        /// What failed.
        source: std::io::Error,
    },
}

impl ArtifactError {
    /// Whether the same call may succeed when repeated.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store { source, .. } => !matches!(source, object_store::Error::NotFound { .. }),
            Self::Full { .. } | Self::Local { .. } => true,
            Self::Digest { .. } | Self::Occupied { .. } | Self::NoSuchFile { .. } | Self::Name { .. } => {
                false
            }
        }
    }

    fn store(path: &ObjectPath, source: object_store::Error) -> Self {
        match no_space(&source) {
            Some(reason) => Self::Full { path: path.to_string(), reason },
            None => Self::Store { path: path.to_string(), source },
        }
    }

    fn local(path: &Path, source: std::io::Error) -> Self {
        match no_space(&source) {
            Some(reason) => Self::Full { path: path.display().to_string(), reason },
            None => Self::Local { path: path.display().to_string(), source },
        }
    }
}

impl ArtifactStore {
    /// A store over `objects`.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, local: None }
    }

    /// A store in a folder of this machine, which is made when missing; what it acknowledges is on the disk.
    ///
    /// # Errors
    /// [`ArtifactError::Local`] when the folder cannot be made, [`ArtifactError::Store`] when it cannot be used.
    pub fn local(folder: impl AsRef<Path>) -> Result<Self, ArtifactError> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|source| ArtifactError::local(folder, source))?;
        upload::remove_cut_off(folder, &SystemClock);
        let objects = LocalFileSystem::new_with_prefix(folder)
            .map_err(|source| ArtifactError::Store { path: folder.display().to_string(), source })?;
        let objects = Arc::new(objects.with_fsync(true));
        Ok(Self { objects: objects.clone(), local: Some(objects) })
    }

    /// Where a file of the artifact lies on this machine, if the store is a local folder and the file is there.
    /// It must not be changed, and its digest is not verified here.
    pub fn local_path(&self, artifact: &ArtifactRef, path: &str) -> Option<PathBuf> {
        let local = self.local.as_ref()?;
        let object = object_path(&artifact.prefix, &artifact.file(path)?.path).ok()?;
        local.path_to_filesystem(&object).ok().filter(|path| path.is_file())
    }

    /// Stores every file below `folder` under `prefix` and verifies what was stored.
    ///
    /// Storing the same folder again is harmless. After an error some of the files may be stored, each of
    /// them whole. An empty folder becomes an artifact without files.
    ///
    /// # Errors
    /// [`ArtifactError`] when a file cannot be read, stored or verified, or `prefix` holds other bytes already.
    pub async fn put_folder(&self, prefix: &str, folder: &Path) -> Result<ArtifactRef, ArtifactError> {
        let span = tracing::debug_span!("artifact.put", artifact.prefix = prefix);
        async {
            let mut files = Vec::new();
            for (path, local) in folder::files(folder).await? {
                let object = object_path(prefix, &path)?;
                let (digest, size_bytes) = upload::put(self.objects.as_ref(), &object, &local).await?;
                metrics::artifact_stored(size_bytes);
                files.push(ArtifactFile { path, size_bytes, digest });
            }
            Ok(ArtifactRef { prefix: prefix.to_owned(), files })
        }
        .instrument(span)
        .await
    }

    /// Copies the artifact's files into `folder`, which is made when missing, and verifies their digests.
    ///
    /// A file appears in `folder` only when it is whole and verified; one that is there already is replaced.
    ///
    /// # Errors
    /// [`ArtifactError`] when a file is missing, differs from its digest or cannot be written.
    pub async fn fetch(&self, artifact: &ArtifactRef, folder: &Path) -> Result<(), ArtifactError> {
        std::fs::create_dir_all(folder).map_err(|source| ArtifactError::local(folder, source))?;
        for file in &artifact.files {
            let object = object_path(&artifact.prefix, &file.path)?;
            download::to_file(self.objects.as_ref(), &object, file, &folder.join(&file.path)).await?;
        }
        Ok(())
    }

    /// Reads one file of the artifact and verifies its digest.
    ///
    /// # Errors
    /// [`ArtifactError`] when the file is missing or differs from its digest.
    pub async fn read(&self, artifact: &ArtifactRef, path: &str) -> Result<Bytes, ArtifactError> {
        let file = file_of(artifact, path)?;
        let object = object_path(&artifact.prefix, &file.path)?;
        let failed = |source| ArtifactError::store(&object, source);
        let bytes = self.objects.get(&object).await.map_err(failed)?.bytes().await.map_err(failed)?;
        let found = Digest::of(&bytes);
        same_digest(&object, &found, &file.digest)?;
        Ok(bytes)
    }

    /// Reads one file of the artifact piece by piece, for one that may be large. Its digest is not verified here.
    ///
    /// # Errors
    /// [`ArtifactError`] when the file is missing; the stream ends with one when the store fails on the way.
    pub async fn pieces(
        &self,
        artifact: &ArtifactRef,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, ArtifactError>>, ArtifactError> {
        let object = object_path(&artifact.prefix, &file_of(artifact, path)?.path)?;
        let found =
            self.objects.get(&object).await.map_err(|source| ArtifactError::store(&object, source))?;
        let named =
            move |piece: Result<Bytes, _>| piece.map_err(|source| ArtifactError::store(&object, source));
        Ok(found.into_stream().map(named).boxed())
    }

    /// Computes the digest of one file of the artifact afresh, piece by piece.
    ///
    /// # Errors
    /// [`ArtifactError`] when the file is missing or differs from its digest.
    pub async fn verify(&self, artifact: &ArtifactRef, path: &str) -> Result<(), ArtifactError> {
        let file = file_of(artifact, path)?;
        let object = object_path(&artifact.prefix, &file.path)?;
        let found = upload::stored_digest(self.objects.as_ref(), &object).await?;
        let Some(found) = found else {
            let source = "it is not in the store".into();
            let source = object_store::Error::NotFound { path: object.to_string(), source };
            return Err(ArtifactError::store(&object, source));
        };
        same_digest(&object, &found, &file.digest)
    }

    /// Everything that lies under `prefix`, in order of the paths.
    ///
    /// # Errors
    /// [`ArtifactError::Store`] when the store cannot be read.
    pub async fn objects(&self, prefix: &str) -> Result<Vec<StoredObject>, ArtifactError> {
        let prefix = ObjectPath::from(prefix);
        let mut found = Vec::new();
        let mut listed = self.objects.list(Some(&prefix));
        while let Some(object) = listed.next().await {
            let object = object.map_err(|source| ArtifactError::store(&prefix, source))?;
            found.push(StoredObject {
                path: object.location.to_string(),
                size_bytes: object.size,
                written_at: Timestamp(object.last_modified.timestamp_millis()),
            });
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Removes what lies at `path`; removing it twice is harmless. Nothing may refer to it any more.
    ///
    /// # Errors
    /// [`ArtifactError`] when the store cannot remove it.
    pub async fn remove(&self, path: &str) -> Result<(), ArtifactError> {
        let object = ObjectPath::from(path);
        match self.objects.delete(&object).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(ArtifactError::store(&object, source)),
        }
    }
}

fn file_of<'a>(artifact: &'a ArtifactRef, path: &str) -> Result<&'a ArtifactFile, ArtifactError> {
    artifact.file(path).ok_or_else(|| {
        let files: Vec<&str> = artifact.files.iter().map(|file| file.path.as_str()).collect();
        ArtifactError::NoSuchFile {
            prefix: artifact.prefix.clone(),
            path: path.to_owned(),
            files: if files.is_empty() { "none".to_owned() } else { files.join(", ") },
        }
    })
}

/// Where the file `path` of the artifact at `prefix` lies in the store.
fn object_path(prefix: &str, path: &str) -> Result<ObjectPath, ArtifactError> {
    folder_path(&format!("{prefix}/{path}"))
}

/// Where the parts of a path lead to in the store.
fn folder_path(whole: &str) -> Result<ObjectPath, ArtifactError> {
    let refuse = |reason: &str| {
        Err(ArtifactError::Name {
            path: whole.to_owned(),
            reason: format!("{reason}; use parts separated by `/`"),
        })
    };
    for part in whole.split('/') {
        match part {
            "" => return refuse("it has an empty part"),
            "." | ".." => return refuse("`.` and `..` are not allowed"),
            part if part.contains(['\\', '#']) || part.contains(char::is_control) => {
                return refuse("backslashes, `#` and control characters are not allowed");
            }
            _ => {}
        }
    }
    ObjectPath::parse(whole)
        .map_err(|error| ArtifactError::Name { path: whole.to_owned(), reason: error.to_string() })
}

fn same_digest(object: &ObjectPath, found: &Digest, expected: &Digest) -> Result<(), ArtifactError> {
    if found == expected {
        return Ok(());
    }
    Err(ArtifactError::Digest {
        path: object.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    })
}

/// What the system said when some error below `error` says that a disk or a quota is full.
fn no_space(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        {
            return Some(error.to_string());
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
