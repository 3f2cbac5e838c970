//! Tests of the list of sources.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::*;

fn kernel_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            kernel_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "cu") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_of_kernels_is_in_the_list_and_in_the_emulator() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    kernel_files(&sources, &mut found);
    let found: BTreeSet<String> = found
        .iter()
        .map(|path| path.strip_prefix(&sources).unwrap().to_string_lossy().into_owned())
        .collect();
    let listed: BTreeSet<String> = SOURCES.iter().map(|source| source.name.to_owned()).collect();
    assert_eq!(listed, found, "SOURCES and the files below src differ");
    let emulator = include_str!("../emulator/emulator.cpp");
    for source in SHARED.iter().chain(SOURCES) {
        let line = format!("#include \"../../{}\"", source.name);
        assert!(emulator.contains(&line), "emulator.cpp lacks {line}");
    }
}

#[test]
fn a_program_holds_what_all_share_first() {
    for source in SOURCES {
        let program = source.program();
        let parts: Vec<&str> = program
            .lines()
            .filter_map(|line| line.strip_prefix("#line 1 "))
            .map(|name| name.trim_matches('"'))
            .collect();
        assert_eq!(parts, ["ops/common.cuh", "ops/tiles.cuh", "ops/warpgroups.cuh", source.name]);
    }
}
