//! Copies one stored file into a local folder, whole and verified or not at all.

use std::path::Path;

use clara_lifecycle::{artifact::ArtifactFile, digest::Digest};
use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path as ObjectPath};
use sha2::{Digest as _, Sha256};
use tokio::{fs, io::AsyncWriteExt};
use uuid::Uuid;

use super::{ArtifactError, same_digest};

/// Copies `object` to `target` by way of a temporary name beside it.
pub(super) async fn to_file(
    objects: &dyn ObjectStore,
    object: &ObjectPath,
    file: &ArtifactFile,
    target: &Path,
) -> Result<(), ArtifactError> {
    let partial = target.with_file_name(format!(".{}.part", Uuid::new_v4()));
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).await.map_err(|source| ArtifactError::local(folder, source))?;
    }
    let copied = match copy(objects, object, &partial).await {
        Ok(found) => same_digest(object, &found, &file.digest),
        Err(error) => Err(error),
    };
    if let Err(error) = copied {
        // What failed says more than a failure to clean up after it.
        drop(fs::remove_file(&partial).await);
        return Err(error);
    }
    fs::rename(&partial, target).await.map_err(|source| ArtifactError::local(target, source))
}

async fn copy(
    objects: &dyn ObjectStore,
    object: &ObjectPath,
    partial: &Path,
) -> Result<Digest, ArtifactError> {
    let failed = |source| ArtifactError::store(object, source);
    let unwritable = |source| ArtifactError::local(partial, source);
    let mut pieces = objects.get(object).await.map_err(failed)?.into_stream();
    let mut local = fs::File::create(partial).await.map_err(unwritable)?;
    let mut hasher = Sha256::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(failed)?;
        hasher.update(&piece);
        local.write_all(&piece).await.map_err(unwritable)?;
    }
    local.flush().await.map_err(unwritable)?;
    Ok(Digest::from_hash(hasher.finalize().as_ref()))
}
