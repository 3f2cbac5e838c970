//! A bundle goes there and back unchanged, and a forged one writes nothing.

use clara_coordinator::registry::signature::{KeyKind, Signer, sign};
use clara_lifecycle::adapter::Family;

use super::*;

struct Here {
    folder: tempfile::TempDir,
    store: ArtifactStore,
    registry: RegistryFile,
    signer: Signer,
}

async fn put(store: &ArtifactStore, prefix: &str, files: &[(&str, &str)]) -> ArtifactRef {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        write_file(&folder.path().join(path), content).unwrap();
    }
    store.put_folder(prefix, folder.path()).await.unwrap()
}

impl Here {
    /// A registry with one signed version, whose files are in a store.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::local(folder.path().join("artifacts")).unwrap();
        let files = [("adapter_config.json", "{}"), ("adapter_model.safetensors", "tensors")];
        let adapter = put(&store, "jobs/job-1/train/adapter", &files).await;
        let dataset =
            put(&store, "jobs/job-1/ingest/dataset", &[("train.jsonl", "{}\n"), ("a/b.txt", "b")]).await;
        let signer = Signer::from_pem("a key", &Signer::generate(KeyKind::P256).unwrap()).unwrap();
        let bundle = sign(&signer, "law-lora-v1.0.0", &adapter).unwrap();
        let training = clara_lifecycle::spec::TrainingOptions::default();
        let version = serde_json::json!({
            "adapter_id": "law-lora-v1.0.0", "version": "1.0.0", "domain": "law", "method": "lora", "rank": 8,
            "base_model": "tiny", "base_model_hash": Digest::of(b"tiny"), "adapter_path": adapter.prefix,
            "adapter_checksum": adapter.digest(), "created_at": "2026-01-01T00:00:00Z", "status": "approved",
            "signature": bundle,
            "lineage": {
                "job": "job-1", "adapter": adapter, "training": training, "dataset": dataset,
                "source_digest": Digest::of(b"source"), "golden_dataset": "g@1.0.0",
                "golden_digest": Digest::of(b"golden"), "code_version": "0.1.0",
            },
        });
        let family = serde_json::json!({
            "family_id": "law-lora", "domain": "law", "method": "lora", "versions": [version],
            "champion": "law-lora-v1.0.0",
        });
        let family: Family = serde_json::from_value(family).unwrap();
        let registry = RegistryFile::new(vec![family], "2026-01-02T00:00:00Z".to_owned());
        Self { folder, store, registry, signer }
    }

    async fn write(&self) -> PathBuf {
        let target = self.folder.path().join("bundle");
        let cards = [("law-lora-v1.0.0".to_owned(), "# law-lora-v1.0.0\n".to_owned())];
        assert_eq!(write(&self.registry, &cards, &self.store, &target).await.unwrap(), 1);
        target
    }
}

#[tokio::test]
async fn what_is_exported_is_imported_elsewhere_unchanged_and_twice_harmlessly() {
    let here = Here::new().await;
    let target = here.write().await;
    let (file, unpacked) = (here.folder.path().join("registry.tar"), tempfile::tempdir().unwrap());
    pack(&target, &file).unwrap();
    unpack(&file, unpacked.path()).unwrap();
    assert_eq!(files_below(&target).unwrap(), files_below(unpacked.path()).unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let store = ArtifactStore::local(elsewhere.path()).unwrap();
    for _ in 0..2 {
        let checked = check(unpacked.path(), Some(here.signer.public_key())).unwrap();
        assert_eq!((checked.verified, checked.store(&store).await.unwrap()), (1, 4));
        assert_eq!(serde_json::from_str::<RegistryFile>(&checked.json).unwrap(), here.registry);
    }
    for (_, artifact) in here.registry.families[0].versions[0].artifacts() {
        for file in &artifact.files {
            let read = store.read(artifact, &file.path).await.unwrap();
            assert_eq!(read, here.store.read(artifact, &file.path).await.unwrap());
        }
    }
}

#[tokio::test]
async fn changed_missing_and_added_files_are_named_together() {
    let here = Here::new().await;
    let target = here.write().await.join("law-lora-v1.0.0");
    fs::write(target.join("adapter/adapter_model.safetensors"), "forged").unwrap();
    fs::remove_file(target.join("dataset/train.jsonl")).unwrap();
    fs::write(target.join("dataset/a/more.txt"), "more").unwrap();
    let refused = check(target.parent().unwrap(), None).unwrap_err().to_string();
    for name in ["adapter_model.safetensors", "train.jsonl", "more.txt is not in the record"] {
        assert!(refused.contains(name), "{refused}");
    }
}

#[tokio::test]
async fn another_key_and_a_missing_signature_are_refused() {
    let mut here = Here::new().await;
    let target = here.write().await;
    let other = Signer::from_pem("another", &Signer::generate(KeyKind::P256).unwrap()).unwrap();
    let refused = check(&target, Some(other.public_key())).unwrap_err().to_string();
    assert!(refused.contains("was made with key"), "{refused}");
    here.registry.families[0].versions[0].signature = None;
    fs::remove_dir_all(&target).unwrap();
    let target = here.write().await;
    assert_eq!(check(&target, None).unwrap().verified, 0);
    let refused = check(&target, Some(here.signer.public_key())).unwrap_err().to_string();
    assert!(refused.contains("it is not signed"), "{refused}");
}

#[test]
fn a_link_in_a_tar_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evil.tar");
    let mut tar = tar::Builder::new(fs::File::create(&file).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "adapter_registry.json", "/etc/hostname").unwrap();
    tar.into_inner().unwrap();
    let refused = unpack(&file, &folder.path().join("out")).unwrap_err().to_string();
    assert!(refused.contains("no plain file"), "{refused}");
}
