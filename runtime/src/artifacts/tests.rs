//! The artifact store on a local folder and in memory, with a damaged file and a full disk.

use object_store::memory::InMemory;

use super::*;

#[tokio::test]
async fn a_local_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtifactStore::local(folder.path().join("artifacts")).unwrap();
    contract::check(&store, &folder.path().join("scratch")).await.unwrap();
}

#[tokio::test]
async fn a_store_in_memory_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::check(&ArtifactStore::new(Arc::new(InMemory::new())), folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_file_changed_on_the_disk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtifactStore::local(folder.path().join("artifacts")).unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("adapter.bin"), "trained").unwrap();
    let artifact = store.put_folder("jobs/job-1", &source).await.unwrap();
    let local = store.local_path(&artifact, "adapter.bin").unwrap();
    std::fs::write(local, "damaged").unwrap();
    let read = store.read(&artifact, "adapter.bin").await;
    assert!(matches!(read, Err(ArtifactError::Digest { .. })), "{read:?}");
    let again = store.put_folder("jobs/job-1", &source).await;
    assert!(matches!(again, Err(ArtifactError::Occupied { .. })), "{again:?}");
}

#[tokio::test]
async fn a_fetched_file_replaces_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtifactStore::local(folder.path().join("artifacts")).unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    for path in [&source, &target] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(source.join("a.txt"), "new").unwrap();
    std::fs::write(target.join("a.txt"), "old").unwrap();
    let artifact = store.put_folder("jobs/job-1", &source).await.unwrap();
    store.fetch(&artifact, &target).await.unwrap();
    assert_eq!(std::fs::read_to_string(target.join("a.txt")).unwrap(), "new");
}

#[tokio::test]
async fn a_missing_local_folder_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtifactStore::local(folder.path().join("artifacts")).unwrap();
    let error = store.put_folder("jobs/job-1", &folder.path().join("nowhere")).await.unwrap_err();
    assert!(matches!(&error, ArtifactError::Local { path, .. } if path.ends_with("nowhere")), "{error}");
}

#[test]
fn what_a_killed_upload_left_is_removed_after_a_day_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let uploads = folder.path().join("uploads");
    std::fs::create_dir(&uploads).unwrap();
    for (name, age_hours) in [("old", 25), ("new", 23)] {
        let file = std::fs::File::create(uploads.join(name)).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - std::time::Duration::from_hours(age_hours)).unwrap();
    }
    ArtifactStore::local(folder.path()).unwrap();
    assert!(!uploads.join("old").exists());
    assert!(uploads.join("new").exists());
}

/// The device that is always full stands for a full disk: writing to it fails as on one.
#[test]
fn a_full_disk_is_told_apart() {
    use std::io::Write as _;
    let full =
        std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
    let wrapped = object_store::Error::Generic { store: "local", source: full.into() };
    let error = ArtifactError::store(&ObjectPath::from("jobs/job-1/a.bin"), wrapped);
    assert!(matches!(error, ArtifactError::Full { .. }), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
}

#[tokio::test]
#[ignore = "needs a full disk: SMALL_DISK=<folder on an empty tmpfs of 16 MiB>"]
async fn a_full_disk_is_told_and_leaves_nothing_visible() {
    let disk = PathBuf::from(std::env::var_os("SMALL_DISK").expect("SMALL_DISK names a folder"));
    let folder = tempfile::tempdir().unwrap();
    let store = ArtifactStore::local(disk.join("artifacts")).unwrap();
    // Sent whole, and sent in parts.
    for (name, size) in [("whole", 7 << 20), ("parts", 20 << 20)] {
        let source = folder.path().join(name);
        std::fs::create_dir(&source).unwrap();
        for file in ["a.bin", "b.bin", "c.bin"] {
            std::fs::write(source.join(file), vec![1; size]).unwrap();
        }
        let error = store.put_folder(name, &source).await.unwrap_err();
        assert!(matches!(&error, ArtifactError::Full { .. }), "{error}");
        for stored in folder::files(&disk).await.unwrap() {
            let length = std::fs::metadata(&stored.1).unwrap().len();
            assert_eq!(length, 7 << 20, "{} is half-written", stored.0);
        }
    }
}
