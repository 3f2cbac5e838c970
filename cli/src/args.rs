//! The command line: global flags and the list of commands.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    commands::{
        adapter::AdapterCommand, chat::ChatArgs, completions::CompletionsArgs, config::ConfigCommand,
        data::DataCommand, eval::EvalCommand, gaps::GapsCommand, golden::GoldenCommand, ingest::IngestArgs,
        job::JobCommand, model::ModelCommand, queue::QueueArgs, registry::RegistryCommand,
        review::ReviewCommand, run::RunArgs, serve::ServeArgs, up::UpArgs,
    },
    output::Format,
};

/// Turns documents into approved LoRA adapters: trains, evaluates, decides, keeps a registry.
#[derive(Debug, Parser)]
#[command(
    name = "clara",
    version,
    arg_required_else_help = true,
    after_help = "Begin with:\n  clara doctor\n  clara ingest --domain verwaltungsrecht --source law.jsonl --out ./dataset\n  clara run --domain verwaltungsrecht --query \"Photovoltaik Baurecht\" \\\n            --source law.jsonl --golden-dataset golden.json --base-model model.gguf\n\nData goes to standard output, talk to standard error.\nExit codes: 0 approved or done, 1 error, 2 usage, 10 rejected, 11 waits for review, 12 inconclusive, 13 judge error, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command understands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct GlobalArgs {
    /// Folder of jobs, registry and artifacts [env: CLARA_HOME] [default: ~/.local/share/clara]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Talk to a running coordinator instead of starting one in this process; several with commas between them
    #[arg(long, global = true, value_name = "URL", env = "CLARA_COORDINATOR")]
    pub(crate) coordinator: Option<String>,
    /// How data is printed; folders and files are named by --out
    #[arg(long, short, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Print data only: no progress and no notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Configuration file (TOML); `clara config show` lists the keys
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// More logs on standard error; twice for details
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train, evaluate and decide on one adapter, from documents to decision
    Run(Box<RunArgs>),
    /// Serve jobs until told to end: coordinator and workers in one process
    Up(UpArgs),
    /// Submit, list, follow, cancel and retry jobs, and read their logs
    #[command(subcommand)]
    Job(Box<JobCommand>),
    /// Show what waits in each queue and who serves it, or why a job waits
    Queue(QueueArgs),
    /// Look at adapter versions, approve, reject, verify, export, import
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Give an adapter the form that another program wants
    #[command(subcommand)]
    Adapter(AdapterCommand),
    /// Make and freeze the golden datasets that adapters are judged with
    #[command(subcommand)]
    Golden(GoldenCommand),
    /// Make a dataset from documents, without training on it
    Ingest(Box<IngestArgs>),
    /// Look at the datasets that adapters are trained on: list, show, preview, stats, diff, export, lint
    #[command(
        subcommand,
        after_help = "Datasets are made by jobs (`clara run`, `clara job submit`) and by `clara ingest`. One of a job is named by the job, by an adapter that was trained on it or by its digest, one of `clara ingest` by its folder."
    )]
    Data(DataCommand),
    /// Show and compare evaluations, label answers, calibrate judges
    #[command(subcommand)]
    Eval(EvalCommand),
    /// See what waits for a decision, and decide
    #[command(subcommand)]
    Review(ReviewCommand),
    /// List what versions answered badly, and train on data for it
    #[command(subcommand)]
    Gaps(GapsCommand),
    /// Look at base models
    #[command(subcommand)]
    Model(ModelCommand),
    /// Serve a base model and adapters to OpenAI clients
    Serve(ServeArgs),
    /// Talk to a base model or an adapter
    Chat(ChatArgs),
    /// Tell what is here, what is missing, and how to mend it
    #[command(after_help = "Example:\n  clara doctor --base-model model.gguf")]
    Doctor(crate::commands::doctor::DoctorArgs),
    /// Show the configuration in force
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the version
    #[command(after_help = "Example:\n  clara version -o json")]
    Version,
}
