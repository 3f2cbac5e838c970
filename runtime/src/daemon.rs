//! Start and end of a process: runs until it is done or told to end; the second signal ends it at once.

use std::{env, fmt::Write as _, future::Future, process::ExitCode, sync::OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// Exit code after an error.
const FAILED: u8 = 1;

/// Runs `service` on a runtime of its own until it ends.
///
/// The first SIGTERM or SIGINT cancels the token: the service takes nothing new, saves its work and ends, and the
/// exit code is 0. The second one ends the process at once with 128 plus the signal's number. An error is logged
/// with its causes and gives exit code 1.
pub fn run<F, E>(name: &str, service: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<(), E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads() {
        runtime.worker_threads(threads);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("{name} cannot start: no threads for it: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let shutdown = CancellationToken::new();
    let code = runtime.block_on(async {
        let service = service(shutdown.clone());
        tokio::select! {
            ended = service => exit_code(name, ended),
            code = signals(name, &shutdown) => code,
        }
    });
    // Blocking work that ignores the shutdown must not keep the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Threads for what waits: half as many as there are cores, since the servers and other daemons beside it need the rest
/// and a thread that sleeps and wakes for little costs more than it does. `TOKIO_WORKER_THREADS` says otherwise.
fn threads() -> Option<usize> {
    let cores = std::thread::available_parallelism().ok()?;
    env::var_os("TOKIO_WORKER_THREADS").is_none().then(|| cores.get().div_ceil(2))
}

/// Names this start of this process, as no other start is named. Its workers' ids and its connection to the broker
/// carry it.
pub fn instance() -> Uuid {
    static INSTANCE: OnceLock<Uuid> = OnceLock::new();
    *INSTANCE.get_or_init(Uuid::now_v7)
}

/// Cancels `shutdown` at the first SIGTERM or SIGINT and answers the exit code at the second; select it against
/// the work that it ends. Without signals it never answers.
pub async fn signals(name: &str, shutdown: &CancellationToken) -> u8 {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(
                    "{name} cannot listen for signals, so it will end without saving its work: {error}"
                );
                return std::future::pending().await;
            }
        };
    loop {
        let number = tokio::select! {
            _ = terminate.recv() => 15,
            _ = interrupt.recv() => 2,
        };
        if shutdown.is_cancelled() {
            tracing::warn!("{name} ends at once");
            return 128 + number;
        }
        tracing::info!("{name} saves its work and ends; a second signal ends it at once");
        shutdown.cancel();
    }
}

fn exit_code<E>(name: &str, ended: Result<(), E>) -> u8
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match ended {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{name} failed: {}", with_causes(error.into().as_ref()));
            FAILED
        }
    }
}

/// An error and its causes in one line. A cause that its error repeats already is left out.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {reason}");
        }
        cause = error.source();
    }
    text
}
