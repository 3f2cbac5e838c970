//! A ThemisDB that runs beside a test, the settings that name it, and `clara ingest` on it.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Result;
use clara_lifecycle::statistics::SplitMix64;
use clara_tests::{Ended, Sandbox};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::themis::double::{Double, Faults, Quirks, Store};

/// What random documents say.
const WORDS: [&str; 24] = [
    "Antrag",
    "Bescheid",
    "Frist",
    "Nachbar",
    "Klage",
    "Satzung",
    "Planung",
    "Gemeinde",
    "Anlage",
    "Abstand",
    "Vorhaben",
    "Auflage",
    "Gebühr",
    "Zusage",
    "Anhörung",
    "Genehmigung",
    "prüft",
    "versagt",
    "erteilt",
    "ändert",
    "zuständige",
    "schriftliche",
    "befristete",
    "nachträgliche",
];
/// Words of a random document: enough that no two are alike.
const LENGTH: usize = 30;

/// A double that lives as long as this value.
pub(crate) struct Themis {
    double: Double,
    _runtime: Runtime,
}

impl Themis {
    /// Starts it.
    pub(crate) fn start(quirks: Quirks, faults: Faults, store: Store) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let double = runtime.block_on(Double::start(quirks, faults, store))?;
        Ok(Self { double, _runtime: runtime })
    }

    /// The table `[sources.laws]` that names it, and `more`.
    pub(crate) fn settings(&self, more: &str) -> String {
        settings(&self.double.url, more)
    }

    /// How often a document was asked for.
    pub(crate) fn reads(&self) -> usize {
        self.double.asked("/entities/")
    }
}

/// The table `[sources.laws]` for the ThemisDB at `url`, and `more`.
pub(crate) fn settings(url: &str, more: &str) -> String {
    format!("[sources.laws]\nkind = \"themisdb\"\nurl = \"{url}\"\n{more}\n")
}

/// `clara ingest` of `@laws` into the folder `dataset`, with these settings and this token.
pub(crate) fn ingest(sandbox: &Sandbox, settings: &str, token: Option<&str>, more: &[&str]) -> Result<Ended> {
    fs::write(sandbox.path("clara.toml"), settings)?;
    let usual = ["ingest", "--config", "clara.toml", "--domain", "verwaltungsrecht", "--source", "@laws"];
    let out: &[&str] = if more.contains(&"--out") { &[] } else { &["--out", "dataset"] };
    let mut command = sandbox.command(&[&usual[..], out, more].concat())?;
    if let Some(token) = token {
        command.env("THEMIS_TOKEN", token);
    }
    Ended::of(command.output()?)
}

/// The records of a dataset, whatever their order.
pub(crate) fn records(folder: &Path) -> Result<BTreeSet<String>> {
    let mut records = BTreeSet::new();
    for name in ["train.jsonl", "validation.jsonl"] {
        let file = fs::read_to_string(folder.join(name))?;
        records.extend(file.lines().map(|line| format!("{name}: {line}")));
    }
    Ok(records)
}

/// So many random documents, no two of them alike; the same ones each time.
pub(crate) fn random_documents(count: usize) -> Vec<Value> {
    let mut random = SplitMix64::new(2026);
    let mut word = || {
        let number = usize::try_from(random.next_u64() % WORDS.len() as u64).unwrap_or_default();
        WORDS.get(number).copied().unwrap_or_default()
    };
    (0..count)
        .map(|number| {
            let words: Vec<&str> = (0..LENGTH).map(|_| word()).collect();
            json!({ "id": format!("s{number:05}"), "text": format!("{}.", words.join(" ")), "domain": "verwaltungsrecht" })
        })
        .collect()
}
