//! The rules of the house that no compiler checks: dependency arrows, file shapes, and who may know what.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Which of our crates each crate may depend on, in code and in tests.
const ARROWS: [(&str, &[&str]); 9] = [
    ("clara-lifecycle", &[]),
    ("clara-proto", &["clara-lifecycle"]),
    ("clara-runtime", BELOW_RUNTIME),
    ("clara-coordinator", BELOW_DAEMONS),
    ("clara-ingest-worker", BELOW_DAEMONS),
    ("clara-gpu-worker", BELOW_DAEMONS),
    ("clara-judge-worker", BELOW_DAEMONS),
    ("clara", BELOW_CLI),
    ("clara-tests", BELOW_TESTS),
];
const BELOW_RUNTIME: &[&str] = &["clara-lifecycle", "clara-proto"];
const BELOW_DAEMONS: &[&str] = &["clara-lifecycle", "clara-proto", "clara-runtime"];
const BELOW_CLI: &[&str] = &[
    "clara-lifecycle",
    "clara-proto",
    "clara-runtime",
    "clara-coordinator",
    "clara-ingest-worker",
    "clara-gpu-worker",
    "clara-judge-worker",
];
const BELOW_TESTS: &[&str] = BELOW_CLI;

/// What the pure crate must not depend on: async, IO, clock, randomness, wire and drivers.
const IMPURE: [&str; 14] = [
    "tokio",
    "tonic",
    "prost",
    "redis",
    "lapin",
    "rusqlite",
    "object_store",
    "reqwest",
    "axum",
    "rand",
    "uuid",
    "jiff",
    "chrono",
    "async-trait",
];

/// Where `unsafe` may stand, and why. The rest of the workspace denies it.
const UNSAFE_ALLOWED: [(&str, &str); 2] = [
    ("gpu-worker/src/cuda/", "the driver, its libraries and the emulator of tests are C"),
    ("gpu-worker/src/ops/ggml/isa/raw.rs", "instructions that the SIMD library lacks"),
];

/// Who may name a driver's types: (crate name in code, the files, the rule).
const DRIVERS: [(&str, &[&str]); 4] = [
    ("rusqlite", &["runtime/src/sqlite", "runtime/src/state/sqlite", "runtime/src/broker/sqlite"]),
    // Documents may lie in buckets, too.
    ("object_store", &["runtime/src/artifacts", "ingest-worker/src/fetch/objects"]),
    ("lapin", &["runtime/src/broker/amqp"]),
    ("redis", &["runtime/src/state/redis"]),
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || ["/tests/", "/contract", "/benches/", "/examples/"].iter().any(|part| self.path.contains(part))
            || self.path.starts_with("tests/")
    }

    /// The file up to its tests, without comments.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let product = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let numbered = product.lines().enumerate().map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Files of the repository with one of the endings, in order of their paths; neither built nor hidden ones.
fn files(endings: &[&str]) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?
        {
            let path: PathBuf = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let hidden = name.starts_with('.') && name != ".ci";
            if path.is_dir() && !hidden && !["target", "node_modules"].contains(&name) {
                folders.push(path);
            } else if path.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let path = path.strip_prefix(root())?.to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn none(broken: &[String], rule: &str) -> Result<()> {
    ensure!(broken.is_empty(), "rule: {rule}\nbroken by:\n  {}", broken.join("\n  "));
    Ok(())
}

/// Per package: the names of what it depends on, in code (`false`) and in tests or builds (`true`).
fn packages() -> Result<BTreeMap<String, BTreeSet<(String, bool)>>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut packages = BTreeMap::new();
    for package in
        metadata.get("packages").and_then(Value::as_array).context("cargo metadata lists no packages")?
    {
        let name = package.get("name").and_then(Value::as_str).context("a package has no name")?;
        let dependencies =
            package.get("dependencies").and_then(Value::as_array).context("a package has no dependencies")?;
        let of = |dependency: &Value| {
            let name = dependency.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            (name, dependency.get("kind").is_some_and(|kind| !kind.is_null()))
        };
        packages.insert(name.to_owned(), dependencies.iter().map(of).collect());
    }
    Ok(packages)
}

#[test]
fn dependencies_follow_the_arrows() -> Result<()> {
    let arrows = BTreeMap::from(ARROWS);
    let mut broken = Vec::new();
    for (package, dependencies) in packages()? {
        let Some(allowed) = arrows.get(package.as_str()) else {
            broken
                .push(format!("{package} has no place in the arrows; add it to ARROWS and ARCHITECTURE.md"));
            continue;
        };
        for (dependency, _) in dependencies {
            let ours = arrows.contains_key(dependency.as_str());
            // A crate may name itself to turn on its features for its own tests.
            if ours && dependency != package && !allowed.contains(&dependency.as_str()) {
                broken.push(format!("{package} -> {dependency}"));
            }
        }
    }
    none(
        &broken,
        "lifecycle <- proto <- runtime <- workers and coordinator <- cli, tests; no worker on another worker or \
         on the coordinator",
    )
}

#[test]
fn the_lifecycle_depends_on_nothing_impure() -> Result<()> {
    let packages = packages()?;
    let lifecycle = packages.get("clara-lifecycle").context("there is no package clara-lifecycle")?;
    let impure = |(name, test): &(String, bool)| !test && IMPURE.contains(&name.as_str());
    let mut broken: Vec<_> = lifecycle
        .iter()
        .filter(|it| impure(it))
        .map(|(name, _)| format!("clara-lifecycle -> {name}"))
        .collect();
    let words = ["async ", "std::fs", "std::net", "std::thread", "SystemTime", "Instant::now", "std::env"];
    for source in files(&[".rs"])?.iter().filter(|source| source.path.starts_with("lifecycle/src/")) {
        for (number, line) in source.code_lines().filter(|_| !source.is_test()) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                broken.push(format!("{}:{number} says `{}`", source.path, word.trim()));
            }
        }
    }
    none(&broken, "lifecycle is pure: no async, IO, clock or randomness")
}

#[test]
fn the_engine_knows_no_pipeline() -> Result<()> {
    let mut broken = Vec::new();
    let inside = ["gpu-worker/src/engine", "gpu-worker/src/ops"];
    for source in files(&[".rs"])? {
        if inside.iter().any(|folder| source.path.starts_with(folder))
            && source.text.contains("clara_runtime")
        {
            broken.push(source.path);
        }
    }
    none(&broken, "gpu-worker/src/{engine,ops} never mention clara_runtime")
}

#[test]
fn driver_types_stay_with_their_port() -> Result<()> {
    let mut broken = Vec::new();
    for source in files(&[".rs"])?.iter().filter(|source| !source.is_test()) {
        for (driver, homes) in DRIVERS {
            let at_home = homes.iter().any(|home| source.path.starts_with(home));
            let path = format!("{driver}::");
            for (number, line) in source.code_lines() {
                // The port's own module has the driver's name.
                let line = line.replace("state::redis::", "");
                if line.contains(&path) && !at_home {
                    broken.push(format!("{}:{number} names {driver}", source.path));
                }
                // The artifact store takes any object store: that is its port.
                if driver != "object_store" && at_home && line.trim_start().starts_with("pub fn") {
                    let types = [path.as_str(), "Connection", "Transaction"];
                    if types.iter().any(|name| line.contains(name)) {
                        broken.push(format!("{}:{number} shows {driver} in a public signature", source.path));
                    }
                }
            }
        }
    }
    none(&broken, "driver types never leave the implementation of their port")
}

#[test]
fn generated_wire_types_stay_in_conversions_and_services() -> Result<()> {
    let allowed = [
        "proto/src/",
        "coordinator/src/control_service",
        "coordinator/src/worker_service",
        "runtime/src/coordinator_client/grpc",
        "cli/src/",
    ];
    let mut broken = Vec::new();
    for source in files(&[".rs"])?.iter().filter(|source| !source.is_test()) {
        if allowed.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for (number, line) in source.code_lines().filter(|(_, line)| line.contains("v1::")) {
            // Starting the services needs their generated servers, and no message.
            let starts = ["coordinator/src/server.rs", "coordinator/src/simulation.rs"];
            let servers_only = line.contains("clara_proto::v1::{") || line.contains("_server::");
            if !(starts.contains(&source.path.as_str()) && servers_only) {
                broken.push(format!("{}:{number} {}", source.path, line.trim()));
            }
        }
    }
    none(
        &broken,
        "generated wire types live in proto::convert, in the service files, and in the user's client",
    )
}

#[test]
fn files_have_the_shape_of_the_house() -> Result<()> {
    let mut broken = Vec::new();
    for source in files(&[".rs"])? {
        let path = &source.path;
        if !source.text.starts_with("//! ") {
            broken.push(format!(
                "{path}: the first line is not `//!` with one sentence that says what it is for"
            ));
        }
        if path.ends_with("/mod.rs") {
            broken.push(format!("{path}: use foo.rs beside the folder foo/, never mod.rs"));
        }
        let product = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = product.lines().count();
        if lines > 600 {
            broken.push(format!("{path}: has {lines} lines without its tests, at most 600 are allowed"));
        }
        if path.ends_with("src/main.rs") && lines > 40 {
            broken.push(format!("{path}: has {lines} lines, a main.rs has at most 40"));
        }
    }
    none(&broken, "every file can be understood in five minutes")
}

#[test]
fn unsafe_code_stands_only_where_it_is_explained() -> Result<()> {
    let mut broken = Vec::new();
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
    for source in files(&[".rs"])?.iter().filter(|source| source.path != "tests/tests/workspace.rs") {
        let path = &source.path;
        let allowed = UNSAFE_ALLOWED.iter().any(|(place, _)| path.starts_with(place));
        for (number, line) in source.code_lines() {
            if !allowed && words.iter().any(|word| line.contains(word)) {
                broken.push(format!("{path}:{number} {}", line.trim()));
            }
        }
        let library = path.ends_with("/src/lib.rs") && path != "gpu-worker/src/lib.rs";
        if library && !source.text.contains("#![forbid(unsafe_code)]") {
            broken.push(format!("{path} lacks #![forbid(unsafe_code)]"));
        }
    }
    let places: Vec<_> = UNSAFE_ALLOWED.iter().map(|(place, why)| format!("{place} ({why})")).collect();
    none(&broken, &format!("unsafe only in {}", places.join(", ")))
}

#[test]
fn product_text_names_no_machine() -> Result<()> {
    let words = ["/work/", "/root/", "/tmp/bash", "/home/"];
    let mut broken = Vec::new();
    for source in files(&[".rs", ".md", ".toml", ".sh", ".py", ".proto", ".yaml", ".yml", "Makefile", "run"])?
    {
        if source.path == "tests/tests/workspace.rs" {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            let found = words.iter().find(|word| {
                line.find(**word).is_some_and(|at| {
                    let before = line.get(..at).and_then(|text| text.chars().next_back());
                    before.is_none_or(|before| !before.is_alphanumeric() && !"_-.}~".contains(before))
                })
            });
            if let Some(word) = found {
                broken.push(format!("{}:{} says {word}", source.path, index + 1));
            }
        }
    }
    none(&broken, "code and prose hold on every machine: no absolute path of one")
}
