//! Small sealed files beside the artifacts: stored once under a name, found again by it.

use bytes::Bytes;
use clara_lifecycle::digest::Digest;
use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{ArtifactError, ArtifactStore, folder_path, object_path};

impl ArtifactStore {
    /// Stores `content` as `prefix`/`name`, whole and with its digest, unless something is there: that stays.
    /// Several writers at once are harmless. Answers whether it was stored.
    ///
    /// # Errors
    /// [`ArtifactError`] when the name cannot be used or the store fails.
    pub async fn put_note(&self, prefix: &str, name: &str, content: &[u8]) -> Result<bool, ArtifactError> {
        let object = object_path(prefix, name)?;
        let sealed = [Digest::of(content).as_str().as_bytes(), b"\n", content].concat();
        let create = PutOptions::from(PutMode::Create);
        match self.objects.put_opts(&object, sealed.into(), create).await {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(ArtifactError::store(&object, source)),
        }
    }

    /// The content of `prefix`/`name`, if it is there.
    ///
    /// # Errors
    /// [`ArtifactError::Digest`] when it is not what was stored, another when the store fails.
    pub async fn note(&self, prefix: &str, name: &str) -> Result<Option<Bytes>, ArtifactError> {
        let object = object_path(prefix, name)?;
        let failed = |source| ArtifactError::store(&object, source);
        let found = match self.objects.get(&object).await {
            Ok(found) => found.bytes().await.map_err(failed)?,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let end = found.iter().position(|byte| *byte == b'\n');
        let (seal, content) = match end {
            Some(end) => (found.slice(..end), found.slice(end + 1..)),
            None => (found.clone(), Bytes::new()),
        };
        let digest = Digest::of(&content);
        if seal != digest.as_str().as_bytes() {
            return Err(ArtifactError::Digest {
                path: object.to_string(),
                found: digest.to_string(),
                expected: String::from_utf8_lossy(&seal).chars().take(64).collect(),
            });
        }
        Ok(Some(content))
    }

    /// The names of all notes right below `prefix`, in order.
    ///
    /// # Errors
    /// [`ArtifactError`] when the prefix cannot be used or the store fails.
    pub async fn notes(&self, prefix: &str) -> Result<Vec<String>, ArtifactError> {
        let folder = folder_path(prefix)?;
        let failed = |source| ArtifactError::store(&folder, source);
        let listed: Vec<_> = self.objects.list(Some(&folder)).try_collect().await.map_err(failed)?;
        let mut names: Vec<String> =
            listed.iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }
}
