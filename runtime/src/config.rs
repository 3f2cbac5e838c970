//! Layered configuration: flag over environment over file over default, with every problem told at once.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
    value::{Dict, Value},
};
use serde::{Serialize, de::DeserializeOwned};

mod sections;
mod sources;
mod targets;
#[cfg(test)]
mod tests;
mod units;

pub use sections::{
    BrokerSettings, CalibrationSettings, ClassSettings, ComputeDevice, JudgeSettings, LeaseSettings,
    LogFormat, PageAudience, RegistrySettings, SchedulerSettings, ServeSettings, Settings, StateSettings,
    TelemetrySettings, TenantSettings, WorkerSettings,
};
pub use sources::{RemoteKind, RemoteSettings, ThemisRoute};
pub use targets::{FingerprintRule, TargetKind, TargetSettings};
pub use units::{ByteSize, HumanDuration, InvalidUnit, Secret};

/// Beginning of the environment variables that count; `CLARA_WORKER__SLOTS` means `worker.slots`.
const ENVIRONMENT_PREFIX: &str = "CLARA_";

/// Variables with that beginning that are flags of programs and no settings.
const FLAG_VARIABLES: [&str; 3] = ["CLARA_BASE_MODEL", "CLARA_CONFIG", "CLARA_COORDINATOR"];

/// A struct that can be loaded: its default holds every key, secrets are `Option<Secret>` and default to none.
pub trait Configuration: Serialize + DeserializeOwned + Default {
    /// Values that have the right type and are impossible all the same.
    fn out_of_range(&self) -> Vec<OutOfRange>;
}

/// A value outside its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    /// The key, e.g. `worker.slots`.
    pub key: String,
    /// The allowed range, e.g. `1 to 64`.
    pub allowed: String,
}

/// Where values come from, weakest first: `file`, `environment`, `flags`.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// A TOML file. It must exist when it is named.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not start with `CLARA_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags: the key, the value, and the flag as the user typed it, e.g. `--slots`.
    pub flags: Vec<(String, String, String)>,
}

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The values.
    pub value: T,
    origins: BTreeMap<String, String>,
}

/// One value and where it comes from; secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key, e.g. `telemetry.log_format`.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// `default`, or the file, variable or flag.
    pub origin: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key.
    pub key: String,
    /// The value as given; masked where the key names a secret.
    pub value: String,
    /// The file, variable or flag.
    pub origin: String,
    /// What is allowed instead.
    pub allowed: String,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblems(pub Vec<ConfigProblem>);

impl fmt::Display for ConfigProblems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the configuration cannot be used; correct the following and start again:")?;
        for ConfigProblem { key, value, origin, allowed } in &self.0 {
            write!(formatter, "\n  {key} = {value} ({origin}): {allowed}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigProblems {}

impl Layers {
    /// The environment of this process and, when given, a file.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let is_setting = |(name, _): &(String, String)| !FLAG_VARIABLES.contains(&name.as_str());
        Self { file, environment: std::env::vars().filter(is_setting).collect(), flags: Vec::new() }
    }

    /// Adds a flag that the user gave.
    #[must_use]
    pub fn with_flag(mut self, key: &str, value: impl fmt::Display, flag: &str) -> Self {
        self.flags.push((key.to_owned(), value.to_string(), flag.to_owned()));
        self
    }
}

impl<T: Configuration> Loaded<T> {
    /// Every key with its value and origin, sorted by key.
    pub fn origins(&self) -> Vec<Setting> {
        let values = leaves(&as_dict(&self.value), &Dict::new());
        values
            .into_iter()
            .map(|(key, value)| {
                let origin = self.origins.get(&key).cloned().unwrap_or_else(|| "default".to_owned());
                Setting { key, value: as_text(&value), origin }
            })
            .collect()
    }
}

/// A value given for a key: the ways to read it, in order, and where it was given.
struct Given {
    key: String,
    readings: Vec<Value>,
    origin: String,
}

/// Loads a configuration.
///
/// # Errors
/// [`ConfigProblems`] holds every unknown key, unreadable value and impossible value of all layers.
pub fn load<T: Configuration>(layers: &Layers) -> Result<Loaded<T>, ConfigProblems> {
    let defaults = as_dict(&T::default());
    let known: BTreeMap<String, Value> = leaves(&defaults, &Dict::new()).into_iter().collect();
    let mut problems = Vec::new();
    let mut effective: BTreeMap<String, Given> = BTreeMap::new();
    for given in given(layers, &defaults, &mut problems) {
        if is_known(&given.key, &known) {
            effective.insert(given.key.clone(), given);
        } else {
            problems.push(given.problem(&unknown_key(&given.key, &known)));
        }
    }
    let mut chosen = Figment::from(Serialized::defaults(T::default()));
    for given in effective.values() {
        match readable::<T>(given) {
            Ok(value) => chosen = chosen.merge(Serialized::default(&given.key, value)),
            Err(allowed) => problems.push(given.problem(&allowed)),
        }
    }
    if !problems.is_empty() {
        return Err(ConfigProblems(problems));
    }
    let value: T = chosen.extract().map_err(|error| ConfigProblems(vec![whole(&error)]))?;
    for OutOfRange { key, allowed } in value.out_of_range() {
        // What is wrong may be a table, which is given key by key.
        let is_in = |given: &&Given| given.key.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.'));
        let given = effective.get(&key).or_else(|| effective.values().find(is_in));
        let set = given.map(|given| given.problem(&allowed));
        let default =
            || ConfigProblem { key, value: "its default".to_owned(), origin: "default".to_owned(), allowed };
        problems.push(set.unwrap_or_else(default));
    }
    if !problems.is_empty() {
        return Err(ConfigProblems(problems));
    }
    let origins = effective.into_iter().map(|(key, given)| (key, given.origin)).collect();
    Ok(Loaded { value, origins })
}

impl Given {
    fn problem(&self, allowed: &str) -> ConfigProblem {
        let value = if names_secret(&self.key) {
            Secret::MASK.to_owned()
        } else {
            self.readings.first().map(as_text).unwrap_or_default()
        };
        ConfigProblem {
            key: self.key.clone(),
            value,
            origin: self.origin.clone(),
            allowed: allowed.to_owned(),
        }
    }
}

/// Everything given in all layers, weakest first.
fn given(layers: &Layers, defaults: &Dict, problems: &mut Vec<ConfigProblem>) -> Vec<Given> {
    let mut all = Vec::new();
    if let Some(file) = &layers.file {
        let origin = format!("file {}", file.display());
        match Figment::from(Toml::file_exact(file)).extract::<Dict>() {
            Ok(content) => all.extend(leaves(&content, defaults).into_iter().map(|(key, value)| Given {
                key,
                readings: vec![value],
                origin: origin.clone(),
            })),
            Err(error) => problems.push(ConfigProblem { origin, ..whole(&error) }),
        }
    }
    for (name, value) in &layers.environment {
        if let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) {
            let key = rest.to_lowercase().replace("__", ".");
            all.push(Given {
                key,
                readings: readings(value),
                origin: format!("environment variable {name}"),
            });
        }
    }
    for (key, value, flag) in &layers.flags {
        all.push(Given { key: key.clone(), readings: readings(value), origin: format!("flag {flag}") });
    }
    all
}

/// Text may stand for itself, or for a number, a truth value or a list.
fn readings(text: &str) -> Vec<Value> {
    let mut readings = vec![Value::from(text)];
    // Reading as a value cannot fail.
    readings.extend(text.parse::<Value>());
    readings
}

/// The first reading with which the whole configuration can be read, else what is expected.
fn readable<T: Configuration>(given: &Given) -> Result<Value, String> {
    let mut expected = String::new();
    for value in &given.readings {
        let trial = Figment::from(Serialized::defaults(T::default()))
            .merge(Serialized::default(&given.key, value.clone()));
        match trial.extract::<T>() {
            Ok(_) => return Ok(value.clone()),
            Err(error) => expected = error.kind.to_string(),
        }
    }
    Err(expected)
}

fn is_known(key: &str, known: &BTreeMap<String, Value>) -> bool {
    // Below a table that is empty by default every key is free.
    known.contains_key(key)
        || known.iter().any(|(table, default)| {
            matches!(default, Value::Dict(_, entries) if entries.is_empty())
                && key.strip_prefix(table.as_str()).is_some_and(|rest| rest.starts_with('.'))
        })
}

fn unknown_key(key: &str, known: &BTreeMap<String, Value>) -> String {
    let section = key.rsplit_once('.').map(|(section, _)| format!("{section}."));
    let near: Vec<&str> = known
        .keys()
        .map(String::as_str)
        .filter(|candidate| section.as_ref().is_some_and(|section| candidate.starts_with(section)))
        .collect();
    let all = || known.keys().map(String::as_str).collect();
    let keys: Vec<&str> = if near.is_empty() { all() } else { near };
    format!("there is no such key; expected one of {}", keys.join(", "))
}

fn whole(error: &figment::Error) -> ConfigProblem {
    ConfigProblem {
        key: error.path.join("."),
        value: "?".to_owned(),
        origin: "the whole".to_owned(),
        allowed: error.kind.to_string(),
    }
}

fn names_secret(key: &str) -> bool {
    ["token", "password", "secret", "api_key"].iter().any(|word| key.ends_with(word))
}

fn as_dict(value: &impl Serialize) -> Dict {
    match Value::serialize(value) {
        Ok(Value::Dict(_, dict)) => dict,
        // A configuration is a struct, so this does not happen; an empty table then refuses every key.
        Ok(_) | Err(_) => Dict::new(),
    }
}

/// The keys with dots and values of a table. What is no table in `shape` is a leaf, whatever it holds.
fn leaves(dict: &Dict, shape: &Dict) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, value) in dict {
        match (value, shape.get(name)) {
            (Value::Dict(_, inner), None) if !inner.is_empty() => {
                found.extend(below(name, leaves(inner, &Dict::new())));
            }
            (Value::Dict(_, inner), Some(Value::Dict(_, shape))) if !inner.is_empty() => {
                found.extend(below(name, leaves(inner, shape)));
            }
            _ => found.push((name.clone(), value.clone())),
        }
    }
    found
}

fn below(section: &str, keys: Vec<(String, Value)>) -> impl Iterator<Item = (String, Value)> {
    keys.into_iter().map(move |(key, value)| (format!("{section}.{key}"), value))
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Empty(..) => "none".to_owned(),
        other => serde_json::to_string(other).unwrap_or_else(|_| "?".to_owned()),
    }
}
