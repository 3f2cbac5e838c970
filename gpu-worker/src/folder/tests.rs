//! Folders appear whole or not at all.

use super::*;

#[test]
fn a_folder_appears_with_all_of_its_files() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adapter");
    write_folder(&folder, &[("a.json", b"{}".to_vec()), ("b.bin", vec![1, 2])]).unwrap();
    assert_eq!(fs::read(folder.join("a.json")).unwrap(), b"{}");
    assert_eq!(fs::read(folder.join("b.bin")).unwrap(), [1, 2]);
}

#[test]
fn an_existing_folder_is_left_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adapter");
    write_folder(&folder, &[("a", vec![1])]).unwrap();
    let refused = write_folder(&folder, &[("a", vec![2])]).unwrap_err();
    assert!(matches!(refused, FolderError::Exists { .. }));
    assert_eq!(fs::read(folder.join("a")).unwrap(), [1]);
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adapter");
    let failed = write_folder(&folder, &[("a", vec![1]), ("missing/folder", vec![2])]).unwrap_err();
    assert!(matches!(failed, FolderError::Io { .. }), "{failed}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_half_written_folder_of_a_killed_process_is_no_obstacle() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adapter");
    fs::create_dir(place.path().join(".unfinished-adapter")).unwrap();
    fs::write(place.path().join(".unfinished-adapter/old"), b"half").unwrap();
    write_folder(&folder, &[("a", vec![1])]).unwrap();
    assert!(!folder.join("old").exists());
}

#[test]
fn a_file_is_replaced_whole() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("training.json");
    write_file(&file, b"old").unwrap();
    write_file(&file, b"new").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}
