//! Tests of the compiler and of what it keeps; they need NVRTC, but no GPU.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cuda::{emulated::EmulatedDevice, kernels::SOURCES, testing};

const SMALL: Source = Source { name: "small.cu", text: "extern \"C\" __global__ void small() {}" };

fn compiler(architecture: Architecture, cache: Option<&Path>) -> Compiler {
    Compiler::new(&testing::libraries(), architecture, cache.map(Path::to_path_buf)).unwrap()
}

/// Names of the kernels in machine code: each has a section.
fn kernel_names(cubin: &[u8]) -> BTreeSet<String> {
    let words = cubin.split(|byte| *byte == 0).filter_map(|word| str::from_utf8(word).ok());
    words.filter_map(|word| word.strip_prefix(".text.")).map(str::to_owned).collect()
}

#[test]
fn every_kernel_compiles_for_every_architecture_and_is_exported_under_a_name_of_its_own() {
    let emulator = EmulatedDevice::new();
    for architecture in [OLDEST, HOPPER] {
        let compiler = compiler(architecture, None);
        let cubins = compiler.compile_all(SOURCES).unwrap_or_else(|error| panic!("{architecture}: {error}"));
        let mut places = BTreeMap::new();
        for (source, cubin) in SOURCES.iter().zip(cubins) {
            let names = kernel_names(&cubin);
            let own = source.text.contains("#ifdef CLARA_WARPGROUPS");
            assert_eq!(names.is_empty(), own && architecture != HOPPER, "kernels of {}", source.name);
            for name in names {
                let before = places.insert(name.clone(), source.name);
                assert_eq!(before, None, "{name} is also in {}", source.name);
                assert!(emulator.knows(&name), "EXPORT({name}) is missing in {}", source.name);
            }
        }
    }
}

#[test]
fn a_mistake_is_told_with_its_file_and_line() {
    let broken = Source { name: "broken.cu", text: "extern \"C\" __global__ void f() {\n    absent();\n}" };
    let error = compiler(HOPPER, None).compile(&broken).unwrap_err().to_string();
    assert!(error.contains("cannot prepare kernel broken.cu"), "{error}");
    assert!(error.contains("broken.cu(2): error: identifier \"absent\" is undefined"), "{error}");
}

#[test]
fn compiled_kernels_are_kept_and_damaged_ones_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("kernels");
    let compiler = compiler(HOPPER, Some(&cache));
    let cubin = compiler.compile(&SMALL).unwrap();
    let entries: Vec<PathBuf> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries, [cache.join(compiler.entry_name(&SMALL.program()))]);

    let mut bytes = fs::read(&entries[0]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    for damaged in [bytes.as_slice(), &bytes[..20], &[]] {
        fs::write(&entries[0], damaged).unwrap();
        assert_eq!(compiler.compile(&SMALL).unwrap(), cubin);
        assert_eq!(read_entry(&entries[0]).unwrap(), cubin, "mended");
    }
    // An entry with a right digest is taken as it is.
    write_entry(&entries[0], b"kept").unwrap();
    assert_eq!(compiler.compile(&SMALL).unwrap(), b"kept");
}

#[test]
fn an_entry_belongs_to_one_text_and_one_architecture() {
    let (old, new) = (compiler(OLDEST, None), compiler(HOPPER, None));
    assert_ne!(old.entry_name("text"), new.entry_name("text"));
    assert_ne!(new.entry_name("text"), new.entry_name("test"));
    let newer = Compiler { version: (99, 0), architecture: HOPPER, cache: None };
    assert_ne!(new.entry_name("text"), newer.entry_name("text"));
}

#[test]
fn a_cache_that_cannot_be_written_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    compiler(HOPPER, Some(&file)).compile(&SMALL).unwrap();
}

#[test]
fn a_device_gets_the_newest_code_that_it_runs() {
    let architecture = |major, minor| Architecture { major, minor };
    let known = [architecture(8, 0), architecture(8, 6), architecture(9, 0)];
    assert_eq!(best(architecture(8, 0), &known), Some(architecture(8, 0)));
    assert_eq!(best(architecture(8, 9), &known), Some(architecture(8, 6)));
    assert_eq!(best(architecture(10, 0), &known), None);
}

#[test]
fn an_old_device_is_refused() {
    let error = Compiler::new(&testing::libraries(), Architecture { major: 7, minor: 5 }, None).unwrap_err();
    assert!(error.to_string().contains("sm_75 is too old, expected sm_80 or newer"), "{error}");
}
