//! Layers, problems told together, units and secrets.

use std::time::Duration;

use clara_lifecycle::resources::{ResourceClass, Resources};
use serde::Deserialize;

use super::*;

fn file(content: &str) -> (tempfile::TempDir, Layers) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clara.toml");
    std::fs::write(&path, content).unwrap();
    (folder, Layers { file: Some(path), ..Layers::default() })
}

fn with_environment(mut layers: Layers, name: &str, value: &str) -> Layers {
    layers.environment.push((name.to_owned(), value.to_owned()));
    layers
}

#[test]
fn nothing_given_means_the_defaults() {
    let loaded = load::<Settings>(&Layers::default()).unwrap();
    assert_eq!(loaded.value, Settings::default());
    assert!(loaded.origins().iter().all(|setting| setting.origin == "default"));
}

#[test]
fn a_flag_outranks_the_environment_which_outranks_the_file() {
    let (_folder, layers) = file("home = \"a\"\n[worker]\nslots = 2\n[lease]\nttl = \"20s\"");
    let layers = with_environment(layers, "CLARA_WORKER__SLOTS", "3");
    let layers = with_environment(layers, "CLARA_HOME", "b");
    let loaded = load::<Settings>(&layers.with_flag("worker.slots", 4, "--slots")).unwrap();
    let settings = &loaded.value;
    assert_eq!((settings.worker.slots, settings.home.to_str()), (4, Some("b")));
    assert_eq!(settings.lease.ttl, HumanDuration(Duration::from_secs(20)));
    let origin = |key: &str| loaded.origins().into_iter().find(|setting| setting.key == key).unwrap();
    assert_eq!(origin("worker.slots").origin, "flag --slots");
    assert_eq!(origin("home").origin, "environment variable CLARA_HOME");
    assert!(origin("lease.ttl").origin.starts_with("file "));
    assert_eq!(origin("lease.ttl").value, "20s");
    assert_eq!(origin("telemetry.log_format").origin, "default");
}

#[test]
fn all_problems_are_told_together_with_key_value_origin_and_range() {
    let (_folder, layers) = file(
        "hmoe = \"x\"\n[worker]\nslots = \"many\"\n[lease]\nttl = 15\n[telemetry]\nlog_format = \"xml\"",
    );
    let layers = with_environment(layers, "CLARA_SERVE__GRPC_ADDRESS", "nowhere");
    let problems = load::<Settings>(&layers).unwrap_err();
    let keys: Vec<&str> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["hmoe", "lease.ttl", "serve.grpc_address", "telemetry.log_format", "worker.slots"]);
    let text = problems.to_string();
    for part in [
        "worker.slots = many",
        "CLARA_SERVE__GRPC_ADDRESS",
        "clara.toml",
        "expected one of broker.certificate_authority",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn impossible_values_are_told_with_their_range() {
    let layers = Layers::default().with_flag("worker.slots", 0, "--slots").with_flag(
        "lease.ttl",
        "1ms",
        "--lease-ttl",
    );
    let text = load::<Settings>(&layers).unwrap_err().to_string();
    assert!(text.contains("worker.slots = 0 (flag --slots): expected 1 to 64"), "{text}");
    assert!(text.contains("lease.ttl = 1ms (flag --lease-ttl): expected 1s to 1h"), "{text}");
}

#[test]
fn half_a_client_certificate_and_tls_that_is_not_there_are_told() {
    let layers = Layers::default()
        .with_flag("worker.coordinator_url", "https://host:7400", "--coordinator")
        .with_flag("broker.client_certificate", "client.pem", "--certificate");
    let text = load::<Settings>(&layers).unwrap_err().to_string();
    for part in ["workers and coordinators speak no TLS yet", "client_key, or neither"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn a_named_file_must_exist_and_be_toml() {
    let missing = Layers { file: Some("/nowhere/clara.toml".into()), ..Layers::default() };
    assert!(load::<Settings>(&missing).unwrap_err().to_string().contains("/nowhere/clara.toml"));
    let (_folder, broken) = file("home = ");
    assert!(load::<Settings>(&broken).is_err());
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Guarded {
    token: Option<Secret>,
    labels: BTreeMap<String, String>,
}

impl Configuration for Guarded {
    fn out_of_range(&self) -> Vec<OutOfRange> {
        Vec::new()
    }
}

#[test]
fn a_secret_is_usable_and_never_shown() {
    let layers = Layers::default().with_flag("token", "hunter2", "--token");
    let loaded = load::<Guarded>(&layers).unwrap();
    assert_eq!(loaded.value.token.as_ref().unwrap().reveal(), "hunter2");
    let shown = format!("{:?} {:?}", loaded.value, loaded.origins());
    assert!(!shown.contains("hunter2"), "{shown}");
    let (_folder, wrong) = file("[token]\nvalue = \"hunter2\"");
    let problems = load::<Guarded>(&wrong).unwrap_err();
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
}

#[test]
fn keys_of_a_free_table_are_free() {
    let (_folder, layers) = file("[labels]\nteam = \"law\"");
    assert_eq!(load::<Guarded>(&layers).unwrap().value.labels["team"], "law");
}

#[test]
fn classes_and_tenants_are_tables_with_names_of_their_own() {
    let (_folder, layers) =
        file("[classes.gpu80]\ngpu_memory = \"80GiB\"\ngpu_kind = \"H100\"\n[tenants.research]\nweight = 3");
    let layers = with_environment(layers, "CLARA_CLASSES__BIG__CPU_CORES", "32");
    let loaded = load::<Settings>(&layers).unwrap();
    let classes: Vec<_> = loaded.value.classes.iter().map(|(name, class)| class.class(name)).collect();
    let needs = |gpu_memory_bytes, gpu_kind: Option<&str>, cpu_cores| Resources {
        gpu_memory_bytes,
        gpu_kind: gpu_kind.map(str::to_owned),
        cpu_cores,
    };
    assert_eq!(classes[0], ResourceClass { name: "big".parse().unwrap(), needs: needs(0, None, 32) });
    let gpu80 = ResourceClass { name: "gpu80".parse().unwrap(), needs: needs(80 << 30, Some("h100"), 0) };
    assert_eq!(classes[1], gpu80);
    let research = TenantSettings { weight: 3.0, max_active_jobs: None };
    assert_eq!(loaded.value.tenants["research"], research);
    let shown = loaded.origins();
    assert!(
        shown.iter().any(|setting| setting.key == "classes.gpu80.gpu_memory" && setting.value == "80GiB")
    );
}

#[test]
fn impossible_classes_and_tenants_are_told_with_their_names() {
    let (_folder, layers) = file(
        "[classes.default]\ncpu_cores = 2\n[classes.gpu80]\ngpu_memroy = \"80GiB\"\n[tenants.research]\nweight = 0",
    );
    let text = load::<Settings>(&layers).unwrap_err().to_string();
    assert!(text.contains("classes.gpu80.gpu_memroy") && text.contains("gpu_memory"), "{text}");
    let (_folder, layers) = file("[classes.default]\ncpu_cores = 2\n[tenants.research]\nweight = 0");
    let text = load::<Settings>(&layers).unwrap_err().to_string();
    assert!(text.contains("classes.default.cpu_cores = 2") && text.contains("every worker serves"), "{text}");
    assert!(text.contains("tenants.research.weight = 0") && text.contains("greater than 0"), "{text}");
}

#[test]
fn a_worker_has_its_share_of_the_cores_unless_told_otherwise() {
    let layers = Layers::default()
        .with_flag("worker.slots", 64, "--slots")
        .with_flag("worker.gpu_memory", "24GiB", "--gpu-memory")
        .with_flag("worker.gpu_kind", "L4", "--gpu-kind")
        .with_flag("worker.classes", "gpu24, default", "--classes");
    let worker = load::<Settings>(&layers).unwrap().value.worker;
    let resources = worker.resources();
    assert_eq!((resources.gpu_memory_bytes, resources.gpu_kind.as_deref()), (24 << 30, Some("l4")));
    assert!(resources.cpu_cores >= 1);
    let names: Vec<String> = worker.class_names().unwrap().into_iter().map(String::from).collect();
    assert_eq!(names, ["gpu24", "default"]);
    let wrong = Layers::default().with_flag("worker.classes", "gpu 24", "--classes");
    assert!(load::<Settings>(&wrong).unwrap_err().to_string().contains("names of resource classes"));
}

#[test]
fn durations_and_sizes_read_what_they_write() {
    for text in ["500ms", "30s", "10min", "2h", "1d", "1500ms", "0ms"] {
        assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
    }
    for text in ["0B", "512B", "64KiB", "8MiB", "4GiB", "1TiB"] {
        assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
    }
    assert_eq!("2GB".parse::<ByteSize>().unwrap().0, 2_000_000_000);
    for text in ["", "s", "30", "-1s", "1.5s", "30 parsecs", "99999999999999999999s"] {
        assert!(text.parse::<HumanDuration>().is_err(), "{text}");
    }
}

#[test]
fn the_documentation_shows_every_key_with_its_default() {
    let documented: Vec<&str> = include_str!("../../../docs/configuration.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let settings = load::<Settings>(&Layers::default()).unwrap().origins();
    let beginnings: Vec<String> =
        settings.iter().map(|setting| format!("| `{}` | `{}` |", setting.key, setting.value)).collect();
    assert_eq!(
        documented.len(),
        beginnings.len(),
        "write docs/configuration.md so:\n{}",
        beginnings.join("\n")
    );
    for (line, beginning) in documented.iter().zip(beginnings) {
        assert!(line.starts_with(&beginning), "{line} should begin with {beginning}");
    }
}
