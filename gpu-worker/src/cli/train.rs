//! `gpu-worker train`: trains an adapter from files, without a coordinator.

mod log;
mod start;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::Args;
use clara_lifecycle::{
    dataset::TrainingRecord,
    spec::{Method, TrainingOptions},
};
use clara_runtime::{
    config::{ByteSize, ComputeDevice},
    stop::{StopReason, StopSignal, stop_switch},
};

use super::{files::OutputFolder, signals::on_stop};
use crate::{
    collate::{TextTools, read_records},
    devices::{Devices, Place},
    folder::write_file,
    model::{self, BaseModel},
    peft,
    train::{
        Forecast, METRICS_FILE, Outcome, Trained, TrainingInput, TrainingSources, report_files, train,
        verify_adapter,
    },
};

use log::StepLog;

/// Arguments of `gpu-worker train`.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// Base model: a Hugging Face folder or a GGUF file.
    #[arg(long, value_name = "DIR|GGUF")]
    base: PathBuf,
    /// Records to train on: JSON lines with text, messages, prompt/completion or instruction/input/output.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// How to train: lora, dora (learned magnitudes) or qlora (base model held in four bits).
    #[arg(long, value_name = "METHOD", default_value_t = Method::Lora)]
    method: Method,
    /// Folder for adapter, report and checkpoints; new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Records held out; their loss is measured before, during and after training.
    #[arg(long, value_name = "FILE")]
    validation: Option<PathBuf>,
    /// PEFT folder of an adapter to start from; its rank, alpha and targets are kept.
    #[arg(long, value_name = "DIR")]
    init_adapter: Option<PathBuf>,
    /// TOML file with training options, e.g. `rank = 16`; those not named have their defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the records in the same order in every epoch.
    #[arg(long)]
    no_shuffle: bool,
    /// What to compute on: auto (a GPU where there is one that can), cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value = "auto", env = "CLARA_WORKER__DEVICE")]
    device: ComputeDevice,
    /// Memory that the training may take beside the base model, e.g. 4GiB [default: what the system has free].
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<ByteSize>,
    /// Only tell what the training would take, and end.
    #[arg(long)]
    dry_run: bool,
    /// Continue an interrupted training in the same folder.
    #[arg(long)]
    resume: bool,
}

impl TrainArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (options, named) = self.options()?;
        if self.dry_run {
            let devices = Devices::open(self.device)?;
            let (base, input) = self.read_input(options, &named)?;
            describe(&input, &base);
            let (forecast, place) = self.forecast(&devices, &input, &base)?;
            eprintln!("would take {forecast}, on {place}");
            return Ok(());
        }
        let out = OutputFolder::open(&self.out, self.resume)?;
        if out.is_finished() {
            eprintln!("the training in {} is finished already", self.out.display());
            return print_file(&out.report());
        }
        let devices = Devices::open(self.device)?;
        let (base, input) = self.read_input(options, &named)?;
        describe(&input, &base);
        let (forecast, place) = self.forecast(&devices, &input, &base)?;
        eprintln!("will take {forecast}, on {place}");
        let checkpoint = if self.resume { out.checkpoints().newest()? } else { None };
        if let Some(checkpoint) = &checkpoint {
            eprintln!("continuing after step {}", checkpoint.progress.steps.len());
        }
        let before = checkpoint.as_ref().map(|checkpoint| &checkpoint.progress);
        let mut log = StepLog::open(&out.file(METRICS_FILE), before, out.checkpoints())?;
        let mut engine = place.engine(&base, forecast.recompute)?;
        match train(engine.as_mut(), &input, checkpoint, &mut log, &stop_on_signal()?)? {
            Outcome::Stopped(_) => {
                bail!("stopped; a checkpoint is kept, continue with the same options and --resume")
            }
            Outcome::Finished(trained) => write_results(&out, &input, (&base, &forecast), &trained),
        }
    }

    fn forecast(
        &self,
        devices: &Devices,
        input: &TrainingInput,
        base: &BaseModel,
    ) -> anyhow::Result<(Forecast, Place)> {
        let place = devices.place(&base.config)?;
        let machine = place.machine(self.memory_limit.map(|size| size.0))?;
        Ok((Forecast::new(input, base, &place, machine)?, place))
    }

    /// Options, and those that the configuration names.
    fn options(&self) -> anyhow::Result<(TrainingOptions, toml::Table)> {
        let (mut options, named) = match &self.config {
            None => (TrainingOptions::default(), toml::Table::new()),
            Some(path) => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                let not_one = || format!("{} is not a training configuration", path.display());
                let options = toml::from_str(&text).with_context(not_one)?;
                (options, toml::from_str(&text).with_context(not_one)?)
            }
        };
        options.shuffle &= !self.no_shuffle;
        Ok((options, named))
    }

    fn read_input(
        &self,
        mut options: TrainingOptions,
        named: &toml::Table,
    ) -> anyhow::Result<(Arc<BaseModel>, TrainingInput)> {
        let train = read_records(&self.data)?;
        let validation: Vec<TrainingRecord> =
            self.validation.as_deref().map(read_records).transpose()?.unwrap_or_default();
        let model = model::load(&self.base, self.method.into())?;
        if model.chat_template.is_fallback() {
            eprintln!("{} has no chat template; conversations are written as ChatML", model.base.name);
        }
        let initial = match self.init_adapter.as_deref() {
            Some(folder) => {
                let adapter = peft::read(folder, &model.base.config)?;
                options = start::of_adapter(&options, named, (folder, &adapter.config))?;
                Some(adapter)
            }
            None => None,
        };
        let sources = TrainingSources {
            base: &model.base,
            tools: TextTools { tokenizer: &model.tokenizer, chat_template: &model.chat_template },
            train: &train,
            validation: &validation,
        };
        let input = TrainingInput::new(self.method, options, sources, initial)?;
        Ok((Arc::new(model.base), input))
    }
}

fn describe(input: &TrainingInput, base: &BaseModel) {
    let report = input.train.report();
    eprintln!(
        "{}: {} records in {} rows, {} tokens, {:.0} % of them learned; {} records left out, {} dropped, {} split, {} cut\n\
         tokens per record: {}",
        base.name,
        report.records,
        report.rows,
        report.tokens,
        report.trained_share() * 100.0,
        report.without_target,
        report.dropped,
        report.split,
        report.truncated,
        report.lengths
    );
}

fn write_results(
    out: &OutputFolder,
    input: &TrainingInput,
    (base, forecast): (&Arc<BaseModel>, &Forecast),
    trained: &Trained,
) -> anyhow::Result<()> {
    if trained.kept_step < trained.steps.len() as u64 {
        eprintln!(
            "ended after step {}; the adapter is that of the best validation, after step {}",
            trained.steps.len(),
            trained.kept_step
        );
    }
    let adapter = out.fresh_adapter()?;
    peft::write(&adapter, &trained.adapter, &base.name)?;
    eprintln!("reading {} back and comparing its answers", adapter.display());
    let exports = [verify_adapter(&adapter, input, base, trained)?];
    for (name, content) in report_files(input, base, forecast, trained, &exports)? {
        write_file(&out.file(name), &content)?;
    }
    print_file(&out.report())
}

fn print_file(path: &Path) -> anyhow::Result<()> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    std::io::stdout().write_all(&content).context("cannot write to standard output")
}

/// A signal that asks for a checkpoint once the process gets SIGINT or SIGTERM.
fn stop_on_signal() -> anyhow::Result<StopSignal> {
    let (switch, stop) = stop_switch();
    on_stop(move || {
        eprintln!("stopping after the current row");
        switch.stop(StopReason::Drain);
    })?;
    Ok(stop)
}
