//! The commands, one file each, and what they have in common: interrupt, errors, exit codes.

pub(crate) mod adapter;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod gaps;
pub(crate) mod golden;
pub(crate) mod ingest;
pub(crate) mod job;
pub(crate) mod model;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod review;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod up;
mod version;

use std::{future::Future, io, process::ExitCode};

use anyhow::Result;
use clap::Args;
use clara_runtime::daemon::{signals, with_causes};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Cli, Command},
    output::complain,
    session::Session,
    usage::{is_usage, usage},
};

/// Done, or approved.
pub(crate) const DONE: u8 = 0;
/// Something failed; the job is stuck or was cancelled.
pub(crate) const FAILED: u8 = 1;
/// The command line cannot be used; the parser of arguments answers the same.
pub(crate) const USAGE: u8 = 2;
/// The version was rejected.
pub(crate) const REJECTED: u8 = 10;
/// A person must decide.
pub(crate) const IN_REVIEW: u8 = 11;
/// Too little evidence to decide.
pub(crate) const INCONCLUSIVE: u8 = 12;
/// The judge failed.
pub(crate) const JUDGE_ERROR: u8 = 13;
/// The user ended the command.
pub(crate) const INTERRUPTED: u8 = 130;

/// Who acts, for the audit log.
#[derive(Debug, Clone, Args)]
pub(crate) struct Actor {
    /// Who acts, for the audit log
    #[arg(long, value_name = "NAME", env = "USER")]
    actor: Option<String>,
}

impl Actor {
    /// The name, which every change needs.
    pub(crate) fn name(&self) -> Result<&str> {
        let name = self.or_nobody();
        if name.is_empty() {
            return Err(usage("nobody is named as the one who acts; give --actor NAME, or set USER"));
        }
        Ok(name)
    }

    /// The name for commands that only read; empty where nobody is named.
    pub(crate) fn or_nobody(&self) -> &str {
        self.actor.as_deref().map(str::trim).unwrap_or_default()
    }
}

/// Carries out the command; the first interrupt lets it save its work, the second ends it at once.
pub(crate) async fn run(cli: Cli) -> ExitCode {
    let interrupt = CancellationToken::new();
    let saves_work = saves_work(&cli.command);
    let code = tokio::select! {
        // Signals are listened for before any work begins: without a listener the first one would end it in silence.
        biased;
        code = signals("clara", &interrupt) => code,
        code = carry_out(cli, interrupt.clone()) => code,
        () = interrupted(saves_work, &interrupt) => INTERRUPTED,
    };
    ExitCode::from(code)
}

/// Whether the command ends itself after an interrupt, because it has work to save.
fn saves_work(command: &Command) -> bool {
    matches!(
        command,
        Command::Run(_) | Command::Ingest(_) | Command::Up(_) | Command::Serve(_) | Command::Review(_)
    )
}

async fn interrupted(saves_work: bool, interrupt: &CancellationToken) {
    if saves_work {
        return std::future::pending().await;
    }
    interrupt.cancelled().await;
}

async fn carry_out(cli: Cli, interrupt: CancellationToken) -> u8 {
    match Box::pin(dispatch(cli, interrupt)).await {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => DONE,
        Err(error) => {
            complain(&format!("clara: {}", with_causes(error.as_ref())));
            if is_usage(&error) { USAGE } else { FAILED }
        }
    }
}

async fn dispatch(cli: Cli, interrupt: CancellationToken) -> Result<u8> {
    if let Command::Completions(args) = &cli.command {
        return completions::print(args);
    }
    let daemon = matches!(cli.command, Command::Up(_) | Command::Serve(_));
    let session = Session::open(&cli.global, daemon, interrupt)?;
    match cli.command {
        Command::Run(args) => Box::pin(run::run(&session, &args)).await,
        Command::Up(args) => done(up::run(&session, &args)).await,
        Command::Job(command) => job::run(&session, *command).await,
        Command::Queue(args) => queue::run(&session, &args).await,
        Command::Registry(command) => registry::run(&session, command).await,
        Command::Adapter(command) => adapter::run(&session, command).await,
        Command::Golden(command) => golden::run(&session, command).await,
        Command::Ingest(args) => ingest::run(&session, &args).await,
        Command::Data(command) => data::run(&session, command).await,
        Command::Eval(command) => eval::run(&session, command).await,
        Command::Review(command) => review::run(&session, command).await,
        Command::Gaps(command) => gaps::run(&session, command).await,
        Command::Model(command) => model::run(&session, &command),
        Command::Serve(args) => done(serve::run(&session, &args)).await,
        Command::Chat(args) => done(chat::run(&session, &args)).await,
        Command::Doctor(args) => doctor::run(&session, &args),
        Command::Config(command) => config::run(&session, &command),
        Command::Completions(_) => Ok(DONE),
        Command::Version => version::print(session.output),
    }
}

async fn done(work: impl Future<Output = Result<()>>) -> Result<u8> {
    work.await.map(|()| DONE)
}

/// Whether nobody reads standard output any more, as in `clara job list | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_by_nobody_is_refused_and_reading_is_not() {
        for actor in [None, Some(" ".to_owned())] {
            let nobody = Actor { actor };
            assert_eq!(nobody.or_nobody(), "");
            let refused = nobody.name().unwrap_err();
            assert!(is_usage(&refused), "{refused}");
            assert!(refused.to_string().contains("--actor NAME, or set USER"), "{refused}");
        }
        assert_eq!(Actor { actor: Some("anna".to_owned()) }.name().unwrap(), "anna");
    }
}
