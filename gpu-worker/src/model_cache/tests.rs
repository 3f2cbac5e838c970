//! Behaviour of the shared models.

use super::*;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny-llama")
}

#[test]
fn a_model_in_use_is_shared_and_an_unused_one_is_freed() {
    let cache = ModelCache::new();
    let first = cache.load(&fixture(), Precision::Full).unwrap();
    let second = cache.clone().load(&fixture().join("."), Precision::Full).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let weights = Arc::downgrade(&first.base);
    drop((first, second));
    assert!(weights.upgrade().is_none());
    assert!(cache.load(&fixture(), Precision::Full).is_ok());
}

#[test]
fn a_missing_model_is_an_error_each_time() {
    let cache = ModelCache::new();
    assert!(cache.load(Path::new("/nowhere/model"), Precision::Full).is_err());
    assert!(cache.load(Path::new("/nowhere/model"), Precision::Full).is_err());
}
