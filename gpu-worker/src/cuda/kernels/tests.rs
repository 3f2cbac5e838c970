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
    for source in SOURCES {
        let line = format!("#include \"../../{}\"", source.name);
        assert!(emulator.contains(&line), "emulator.cpp lacks {line}");
    }
}

#[test]
fn a_program_holds_the_common_part_first() {
    for source in SOURCES {
        let program = source.program();
        assert!(program.starts_with("#line 1 \"ops/common.cuh\"\n"), "{}", source.name);
        assert!(program.contains(&format!("#line 1 \"{}\"\n", source.name)), "{}", source.name);
    }
}
