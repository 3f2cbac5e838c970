//! `clara doctor`: what is here, what is missing, how to mend it.

use std::{fs, path::PathBuf, thread};

use anyhow::Result;
use clap::Args;
use clara_gpu_worker::{
    cuda::{
        availability::{Availability, availability},
        libraries::Libraries,
    },
    model,
};
use serde::Serialize;

use super::{DONE, FAILED};
use crate::{embedded, figures, session::Session};

/// Free space that a first job may need.
const ENOUGH_SPACE: u64 = 2 << 30;
/// Memory that a small base model needs as f32, with room for the training.
const ENOUGH_MEMORY: u64 = 4 << 30;

/// What to look at.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArgs {
    /// Base model to look at
    #[arg(long, value_name = "PATH", env = "CLARA_BASE_MODEL")]
    base_model: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    health: Health,
    found: String,
    /// How to mend it.
    mend: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, health: Health::Ok, found: found.into(), mend: None }
    }

    fn bad(what: &'static str, health: Health, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what, health, found: found.into(), mend: Some(mend.into()) }
    }
}

pub(crate) fn run(session: &Session, args: &DoctorArgs) -> Result<u8> {
    let findings = [
        cores(),
        memory(),
        engine(),
        gpu(&availability(&Libraries::from_environment())),
        home(session),
        space(session),
        base_model(args),
        Finding::ok("broker and store", "SQLite in the home folder; no server is needed"),
    ];
    if session.output.is_json() {
        session.output.json(&findings)?;
    } else {
        let rows = findings.iter().map(|finding| {
            let mend = finding.mend.as_ref().map_or(String::new(), |mend| format!("; {mend}"));
            let health = match finding.health {
                Health::Ok => "ok",
                Health::Warn => "warn",
                Health::Fail => "fail",
            };
            [health.to_owned(), finding.what.to_owned(), format!("{}{mend}", finding.found)]
        });
        session.output.table(["", "what", "found"], rows.collect())?;
    }
    let failed = findings.iter().any(|finding| finding.health == Health::Fail);
    Ok(if failed { FAILED } else { DONE })
}

fn cores() -> Finding {
    match thread::available_parallelism() {
        Ok(cores) => Finding::ok("cores", cores.to_string()),
        Err(error) => Finding::bad("cores", Health::Warn, error.to_string(), "one is used"),
    }
}

fn memory() -> Finding {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_memory(&text));
    match available {
        None => Finding::bad("memory", Health::Warn, "unknown", "see to it that the base model fits as f32"),
        Some(bytes) if bytes < ENOUGH_MEMORY => Finding::bad(
            "memory",
            Health::Warn,
            format!("{} available", figures::bytes(bytes)),
            "use a small base model or end other programs",
        ),
        Some(bytes) => Finding::ok("memory", format!("{} available", figures::bytes(bytes))),
    }
}

/// The line `MemAvailable:   123 kB`, in bytes.
fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn engine() -> Finding {
    let instructions = instructions();
    if instructions.is_empty() {
        let mend = "training works, but slowly; use a machine with AVX2 or better";
        return Finding::bad("CPU engine", Health::Warn, "no vector instructions", mend);
    }
    Finding::ok("CPU engine", format!("uses {}", instructions.join(", ")))
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<&'static str> {
    let known = [
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("FMA", std::arch::is_x86_feature_detected!("fma")),
        ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    known.into_iter().filter(|(_, here)| *here).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}

/// A machine without a GPU lacks nothing; one whose GPU cannot be used lacks something.
fn gpu(found: &Availability) -> Finding {
    match found.problem() {
        None => Finding::ok("GPU", found.to_string()),
        Some(problem) if found.has_gpu() => {
            Finding::bad("GPU", Health::Warn, format!("{found}, but it cannot be used"), problem)
        }
        Some(problem) => Finding::ok("GPU", format!("none is used: {problem}")),
    }
}

fn home(session: &Session) -> Finding {
    let folder = &session.settings.home;
    match embedded::can_write(folder) {
        Ok(()) => Finding::ok("home", folder.display().to_string()),
        Err(error) => Finding::bad(
            "home",
            Health::Fail,
            format!("{} cannot be written: {error}", folder.display()),
            "choose another one with --home DIR or CLARA_HOME",
        ),
    }
}

fn space(session: &Session) -> Finding {
    match rustix::fs::statvfs(&session.settings.home) {
        Err(error) => Finding::bad("free space", Health::Warn, error.to_string(), "see that there is room"),
        Ok(system) => {
            let free = system.f_bavail.saturating_mul(system.f_frsize);
            if free < ENOUGH_SPACE {
                let mend = "free some, or choose another --home";
                Finding::bad("free space", Health::Warn, figures::bytes(free), mend)
            } else {
                Finding::ok("free space", figures::bytes(free))
            }
        }
    }
}

fn base_model(args: &DoctorArgs) -> Finding {
    let Some(path) = &args.base_model else {
        let mend = "give a Hugging Face folder or a GGUF file of the Llama family with --base-model or CLARA_BASE_MODEL";
        return Finding::bad("base model", Health::Warn, "none named", mend);
    };
    match model::inspect(path) {
        Ok(info) => Finding::ok(
            "base model",
            format!("{}, {} million parameters", info.name, info.parameters / 1_000_000),
        ),
        Err(error) => {
            let (found, mend) = in_column(&error.to_string());
            Finding::bad("base model", Health::Fail, found, mend)
        }
    }
}

/// What is wrong with the base model and how to mend it, without the column's name before it.
fn in_column(error: &str) -> (String, String) {
    let error = error.strip_prefix("base model ").unwrap_or(error);
    let (found, mend) = error.split_once("; ").unwrap_or((error, "choose another --base-model"));
    (found.to_owned(), mend.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_bytes() {
        assert_eq!(available_memory("MemTotal: 9 kB\nMemAvailable:   12 kB\n"), Some(12_288));
        assert_eq!(available_memory("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn a_missing_base_model_is_named_once() {
        let (found, mend) = in_column("base model nope does not exist; give a folder");
        assert_eq!((found.as_str(), mend.as_str()), ("nope does not exist", "give a folder"));
        assert_eq!(in_column("damaged").1, "choose another --base-model");
    }
}
