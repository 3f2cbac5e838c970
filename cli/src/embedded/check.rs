//! Looks at what only this machine knows before a job is accepted: base model, sources, home folder.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clara_coordinator::SubmissionCheck;
use clara_gpu_worker::{
    engine::{LoraConfig, TargetModule},
    model::{self, ModelConfig},
    peft,
};
use clara_ingest_worker::{
    fetch::{self, Place, Servers},
    ingest,
};
use clara_lifecycle::{
    id::Domain,
    spec::{AdapterInit, IngestOptions, JobSpec, SpecProblem, TrainingOptions},
};

/// What this machine knows.
#[derive(Debug)]
pub(crate) struct Surroundings {
    home: PathBuf,
    servers: Servers,
}

impl Surroundings {
    /// Looks at this machine for jobs that are kept in `home` and may read these servers.
    pub(crate) fn new(home: PathBuf, servers: Servers) -> Self {
        Self { home, servers }
    }
}

impl SubmissionCheck for Surroundings {
    fn problems(&self, spec: &JobSpec) -> Vec<SpecProblem> {
        let mut problems = Vec::new();
        for source in &spec.ingest.sources {
            if let Some(message) = source_problem(source, &self.servers) {
                problems.push(SpecProblem { field: "ingest.sources", message });
            }
        }
        problems.extend(data_problem(&spec.ingest, &spec.domain));
        match model::inspect(Path::new(&spec.base_model)) {
            // An empty name is reported by the specification itself.
            Err(_) if spec.base_model.is_empty() => {}
            Err(error) => problems.push(SpecProblem {
                field: "base_model",
                message: without("base model ", &error.to_string()),
            }),
            Ok(info) => problems.extend(training_problems(&spec.training, &info.config)),
        }
        if let Err(error) = can_write(&self.home) {
            let message =
                format!("nothing can be written to {}: {error}; choose another --home", self.home.display());
            problems.push(SpecProblem { field: "home", message });
        }
        problems
    }
}

/// What speaks against a source before it is read.
fn source_problem(source: &str, servers: &Servers) -> Option<String> {
    match Place::of(source) {
        Place::Server(name) => fetch::settings_of(servers, name).err().map(|error| error.to_string()),
        // Whether it is there shows when it is fetched.
        Place::Url(url) => fetch::check_url(url).err().map(|error| error.to_string()),
        // So does what a glob matches.
        Place::Local(path) if path.contains(['*', '?', '[']) || Path::new(path).exists() => None,
        Place::Local(path) => Some(format!(
            "{path} is not there; give a file or folder of this machine, a URL, or @NAME of a server"
        )),
    }
}

/// What the ingest would refuse before it reads anything; nothing where the specification itself reports problems.
fn data_problem(options: &IngestOptions, domain: &Domain) -> Option<SpecProblem> {
    if !options.problems().is_empty() {
        return None;
    }
    let error = ingest::check_options(options, domain).err()?;
    Some(SpecProblem { field: "ingest", message: without("ingest options ", &error.to_string()) })
}

/// What of the training does not fit the base model.
fn training_problems(training: &TrainingOptions, model: &ModelConfig) -> Vec<SpecProblem> {
    let mut problems = Vec::new();
    let targets = training.target_modules.iter().filter_map(|name| TargetModule::from_name(name)).collect();
    // PiSSA keeps its beginning in as many directions more.
    let frozen_rank = if training.init == AdapterInit::Pissa { training.rank as usize } else { 0 };
    let config = LoraConfig {
        rank: training.rank as usize + frozen_rank,
        frozen_rank,
        alpha: training.alpha,
        targets,
        dora: false,
        dropout: 0.0,
    };
    if let Err(message) = peft::check_rank(&config, model) {
        problems.push(SpecProblem { field: "training.rank", message: without("rank ", &message) });
    }
    let longest = model.max_positions;
    if training.sequence_length as usize > longest {
        let message =
            format!("is {}; the base model was made for at most {longest} tokens", training.sequence_length);
        problems.push(SpecProblem { field: "training.sequence_length", message });
    }
    problems
}

/// The message without the words that the field's name says already.
fn without(words: &str, message: &str) -> String {
    message.strip_prefix(words).unwrap_or(message).to_owned()
}

/// Writes and removes a small file.
pub(crate) fn can_write(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"clara")?;
    std::fs::remove_file(&probe)
}
