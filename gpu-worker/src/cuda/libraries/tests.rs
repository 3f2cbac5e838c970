//! Tests of the search for libraries.

use std::fs;

use super::*;

fn nowhere(folder: &Path) -> Libraries {
    Libraries { first: vec![folder.to_path_buf()], loader: false, last: vec![folder.join("toolkit")] }
}

#[test]
fn a_missing_library_says_where_it_was_looked_for_and_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let missing = nowhere(folder.path()).open(CudaLibrary::Compiler).unwrap_err();
    let place = folder.path().display();
    assert_eq!(
        missing.to_string(),
        format!(
            "libnvrtc.so.13 (NVRTC) is missing: looked in {place}, {place}/toolkit; install CUDA 13, or the Python package \
             nvidia-cuda-nvrtc, or name its folder in CLARA_CUDA_LIBRARIES"
        )
    );
}

#[test]
fn a_file_that_is_no_library_is_told_with_the_loaders_words() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("libcublasLt.so.13"), "no library at all").unwrap();
    let missing = nowhere(folder.path()).open(CudaLibrary::Products).unwrap_err();
    let words = missing.to_string();
    assert!(words.contains("libcublasLt.so.13: file too short") || words.contains("invalid ELF"), "{words}");
}
