//! The rules that an artifact store obeys on every kind of object store.

use std::path::Path;

use clara_lifecycle::{artifact::ArtifactRef, digest::Digest};
use uuid::Uuid;

use super::{ArtifactError, ArtifactStore};
use crate::contract::{Broken, Finding, ensure, judge, unexpected};

/// Runs every rule against `store`; `scratch` is a folder for the suite alone.
///
/// # Errors
/// [`Broken`] names the first rule that does not hold.
pub async fn check(store: &ArtifactStore, scratch: &Path) -> Result<(), Broken> {
    judge("what is fetched and read is what was stored", round_trip(store, scratch).await)?;
    judge("storing the same bytes again is harmless", repetition(store, scratch).await)?;
    judge("other bytes are refused where some are stored", no_overwriting(store, scratch).await)?;
    judge(
        "a file that is missing or differs from its digest is refused",
        verification(store, scratch).await,
    )?;
    judge("names that leave their folder are refused", names(store, scratch).await)?;
    judge("a note stays as it was first put, whoever else puts it", notes(store).await)
}

fn write(folder: &Path, path: &str, content: &[u8]) -> Finding {
    let target = folder.join(path);
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(unexpected)?;
    }
    std::fs::write(&target, content).map_err(unexpected)
}

fn fresh_prefix() -> String {
    format!("contract/{}/adapter", Uuid::new_v4())
}

async fn round_trip(store: &ArtifactStore, scratch: &Path) -> Finding {
    let (source, target) = (scratch.join("source"), scratch.join("target"));
    // Longer than what is sent in one piece.
    let large: Vec<u8> = (0..20_000_003_u32).map(|n| n.to_le_bytes().iter().fold(7, |a, b| a ^ b)).collect();
    let files: [(&str, &[u8]); 4] =
        [("b.bin", &large), ("a/empty", b""), ("a/ä b.txt", "§ 35 BauGB".as_bytes()), ("a.txt", b"short")];
    for (path, content) in files {
        write(&source, path, content)?;
    }
    let artifact = store.put_folder(&fresh_prefix(), &source).await.map_err(unexpected)?;
    let paths: Vec<&str> = artifact.files.iter().map(|file| file.path.as_str()).collect();
    ensure(paths == ["a.txt", "a/empty", "a/ä b.txt", "b.bin"], || format!("the files are {paths:?}"))?;
    store.fetch(&artifact, &target).await.map_err(unexpected)?;
    for (path, content) in files {
        let recorded = artifact.file(path).ok_or_else(|| format!("{path} is not recorded"))?;
        let same = recorded.digest == Digest::of(content) && recorded.size_bytes == content.len() as u64;
        ensure(same, || format!("{path} is recorded as {recorded:?}"))?;
        let fetched = std::fs::read(target.join(path)).map_err(unexpected)?;
        ensure(fetched == content, || format!("{path} was fetched with other content"))?;
        let read = store.read(&artifact, path).await.map_err(unexpected)?;
        ensure(read == content, || format!("{path} was read with other content"))?;
    }
    let left: Vec<_> = std::fs::read_dir(&target).map_err(unexpected)?.collect();
    ensure(left.len() == 3, || format!("fetching left {left:?}"))
}

async fn repetition(store: &ArtifactStore, scratch: &Path) -> Finding {
    let source = scratch.join("repeated");
    write(&source, "a.txt", b"once")?;
    write(&source, "large.bin", &vec![3; 9 << 20])?;
    let prefix = fresh_prefix();
    let first = store.put_folder(&prefix, &source).await.map_err(unexpected)?;
    let second = store.put_folder(&prefix, &source).await.map_err(unexpected)?;
    ensure(first == second, || format!("first {first:?}, then {second:?}"))
}

async fn no_overwriting(store: &ArtifactStore, scratch: &Path) -> Finding {
    for size in [10, 9 << 20] {
        let (prefix, source) = (fresh_prefix(), scratch.join("changed"));
        write(&source, "a.bin", &vec![1; size])?;
        let first = store.put_folder(&prefix, &source).await.map_err(unexpected)?;
        write(&source, "a.bin", &vec![2; size])?;
        match store.put_folder(&prefix, &source).await {
            Err(ArtifactError::Occupied { .. }) => {}
            answer => return Err(format!("other bytes at {prefix} were answered with {answer:?}")),
        }
        let kept = store.read(&first, "a.bin").await.map_err(unexpected)?;
        ensure(kept.iter().all(|byte| *byte == 1), || "the first bytes were changed".to_owned())?;
    }
    Ok(())
}

async fn verification(store: &ArtifactStore, scratch: &Path) -> Finding {
    let (source, target) = (scratch.join("verified"), scratch.join("refused"));
    write(&source, "a.txt", b"true")?;
    let good = store.put_folder(&fresh_prefix(), &source).await.map_err(unexpected)?;
    let mut forged = good.clone();
    for file in &mut forged.files {
        file.digest = Digest::of(b"false");
    }
    let read = store.read(&forged, "a.txt").await;
    ensure(matches!(read, Err(ArtifactError::Digest { .. })), || format!("read answered {read:?}"))?;
    let fetched = store.fetch(&forged, &target).await;
    ensure(matches!(fetched, Err(ArtifactError::Digest { .. })), || format!("fetch answered {fetched:?}"))?;
    let left: Vec<_> = std::fs::read_dir(&target).map_err(unexpected)?.collect();
    ensure(left.is_empty(), || format!("a refused file left {left:?}"))?;
    let missing = ArtifactRef { prefix: fresh_prefix(), ..good.clone() };
    let read = store.read(&missing, "a.txt").await;
    ensure(matches!(read, Err(ArtifactError::Store { .. })), || format!("missing: {read:?}"))?;
    let read = store.read(&good, "b.txt").await;
    ensure(matches!(read, Err(ArtifactError::NoSuchFile { .. })), || format!("unknown: {read:?}"))
}

async fn names(store: &ArtifactStore, scratch: &Path) -> Finding {
    let source = scratch.join("named");
    write(&source, "a.txt", b"a")?;
    for prefix in ["", "../up", "a/../../b", "a//b", "/a", "a/.", "a\\b", "a\nb"] {
        let answer = store.put_folder(prefix, &source).await;
        ensure(matches!(answer, Err(ArtifactError::Name { .. })), || format!("{prefix:?}: {answer:?}"))?;
    }
    let mut escaping = store.put_folder(&fresh_prefix(), &source).await.map_err(unexpected)?;
    for file in &mut escaping.files {
        "../escaped.txt".clone_into(&mut file.path);
    }
    let fetched = store.fetch(&escaping, &scratch.join("inner")).await;
    ensure(matches!(fetched, Err(ArtifactError::Name { .. })), || format!("fetch answered {fetched:?}"))
}

async fn notes(store: &ArtifactStore) -> Finding {
    let prefix = fresh_prefix();
    let none = store.note(&prefix, "a").await.map_err(unexpected)?;
    ensure(none.is_none(), || format!("a note that nobody put: {none:?}"))?;
    let listed = store.notes(&prefix).await.map_err(unexpected)?;
    ensure(listed.is_empty(), || format!("no notes, and {listed:?}"))?;
    let both = futures::join!(store.put_note(&prefix, "b", b"1"), store.put_note(&prefix, "b", b"1"));
    let stored = [both.0.map_err(unexpected)?, both.1.map_err(unexpected)?];
    ensure(stored.iter().filter(|stored| **stored).count() == 1, || format!("stored by {stored:?}"))?;
    ensure(!store.put_note(&prefix, "b", b"2").await.map_err(unexpected)?, || "it was replaced".to_owned())?;
    store.put_note(&prefix, "a", b"two\nlines").await.map_err(unexpected)?;
    let found = store.note(&prefix, "b").await.map_err(unexpected)?;
    ensure(found.as_deref() == Some(b"1"), || format!("b is {found:?}"))?;
    let found = store.note(&prefix, "a").await.map_err(unexpected)?;
    ensure(found.as_deref() == Some(b"two\nlines"), || format!("a is {found:?}"))?;
    let listed = store.notes(&prefix).await.map_err(unexpected)?;
    ensure(listed == ["a", "b"], || format!("listed as {listed:?}"))
}
