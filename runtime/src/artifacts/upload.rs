//! Stores one local file under a path that holds nothing yet, and verifies it.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use clara_lifecycle::{digest::Digest, time::Timestamp};
use futures::StreamExt;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, WriteMultipart,
    path::Path as ObjectPath,
};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::{
    ArtifactError,
    folder::{PIECE_BYTES, measure},
    same_digest,
};
use crate::clock::Clock;

/// Larger files are sent in parts, so that they never lie in memory as a whole.
const WHOLE_BYTES: u64 = 8 << 20;

/// Where parts are collected before they move to their place.
const UPLOADS: &str = "uploads";

/// An upload that did not move for so long was cut off.
const CUT_OFF_AFTER: Duration = Duration::from_hours(24);

/// Parts on their way at the same time.
const PARALLEL_PARTS: usize = 4;

/// Stores `local` at `object`. Nothing is ever overwritten, and nothing half-written is visible at `object`.
pub(super) async fn put(
    objects: &dyn ObjectStore,
    object: &ObjectPath,
    local: &Path,
) -> Result<(Digest, u64), ArtifactError> {
    let (digest, size) = measure(local).await?;
    if let Some(stored) = stored_digest(objects, object).await? {
        occupied_by(object, &stored, &digest)?;
        return Ok((digest, size));
    }
    let written = if size <= WHOLE_BYTES {
        put_whole(objects, object, local).await
    } else {
        put_in_parts(objects, object, local).await
    };
    let is_ours = match written {
        Ok(()) => true,
        Err(ArtifactError::Store { source: StoreError::AlreadyExists { .. }, .. }) => false,
        Err(error) => return Err(error),
    };
    let failed = |source| ArtifactError::store(object, source);
    let Some(stored) = stored_digest(objects, object).await? else {
        let missing = std::io::Error::other("it is not there right after it was written");
        return Err(failed(StoreError::Generic { store: "artifacts", source: missing.into() }));
    };
    if !is_ours {
        occupied_by(object, &stored, &digest)?;
    } else if let Err(error) = same_digest(object, &stored, &digest) {
        // Nobody refers to it yet; left there it would stand in the way of a repetition.
        objects.delete(object).await.map_err(failed)?;
        return Err(error);
    }
    Ok((digest, size))
}

/// Removes what killed processes left of their uploads in the local store at `root`. What cannot be removed stays.
pub(super) fn remove_cut_off(root: &Path, clock: &dyn Clock) {
    let Ok(entries) = std::fs::read_dir(root.join(UPLOADS)) else { return };
    let now = clock.now();
    for upload in entries.flatten() {
        let changed = upload.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = changed.and_then(|changed| changed.duration_since(UNIX_EPOCH).ok());
        let is_cut_off = age.is_some_and(|since| now.since(Timestamp(0).after(since)) > CUT_OFF_AFTER);
        if is_cut_off && std::fs::remove_file(upload.path()).is_ok() {
            tracing::info!("removed {}, left by an upload that was cut off", upload.path().display());
        }
    }
}

/// Digest of what is stored at `object`, if anything is.
pub(super) async fn stored_digest(
    objects: &dyn ObjectStore,
    object: &ObjectPath,
) -> Result<Option<Digest>, ArtifactError> {
    let failed = |source| ArtifactError::store(object, source);
    let mut pieces = match objects.get(object).await {
        Ok(found) => found.into_stream(),
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut hasher = Sha256::new();
    while let Some(piece) = pieces.next().await {
        hasher.update(&piece.map_err(failed)?);
    }
    Ok(Some(Digest::from_hash(hasher.finalize().as_ref())))
}

fn occupied_by(object: &ObjectPath, stored: &Digest, new: &Digest) -> Result<(), ArtifactError> {
    if stored == new {
        return Ok(());
    }
    Err(ArtifactError::Occupied {
        path: object.to_string(),
        stored: stored.to_string(),
        new: new.to_string(),
    })
}

async fn put_whole(
    objects: &dyn ObjectStore,
    object: &ObjectPath,
    local: &Path,
) -> Result<(), ArtifactError> {
    let content = tokio::fs::read(local).await.map_err(|source| ArtifactError::local(local, source))?;
    let create = PutOptions::from(PutMode::Create);
    objects
        .put_opts(object, content.into(), create)
        .await
        .map(drop)
        .map_err(|source| ArtifactError::store(object, source))
}

/// Sends the parts to a place of their own and moves them to `object` when they are complete.
async fn put_in_parts(
    objects: &dyn ObjectStore,
    object: &ObjectPath,
    local: &Path,
) -> Result<(), ArtifactError> {
    let failed = |source| ArtifactError::store(object, source);
    let place = ObjectPath::from(format!("{UPLOADS}/{}", Uuid::new_v4()));
    let upload = objects.put_multipart(&place).await.map_err(failed)?;
    let mut upload = WriteMultipart::new(upload);
    if let Err(error) = send_parts(&mut upload, object, local).await {
        // What failed says more than a failure to clean up after it.
        drop(upload.abort().await);
        return Err(error);
    }
    upload.finish().await.map_err(failed)?;
    let moved = objects.rename_if_not_exists(&place, object).await;
    if moved.is_err() {
        drop(objects.delete(&place).await);
    }
    moved.map_err(failed)
}

async fn send_parts(
    upload: &mut WriteMultipart,
    object: &ObjectPath,
    local: &Path,
) -> Result<(), ArtifactError> {
    let unreadable = |source| ArtifactError::local(local, source);
    let mut file = tokio::fs::File::open(local).await.map_err(unreadable)?;
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).await.map_err(unreadable)?;
        if read == 0 {
            return Ok(());
        }
        upload
            .wait_for_capacity(PARALLEL_PARTS)
            .await
            .map_err(|source| ArtifactError::store(object, source))?;
        upload.put(Bytes::from(piece));
    }
}
