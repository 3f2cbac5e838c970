//! Reacts to SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Calls `stop` on the first SIGINT or SIGTERM, from a thread of its own.
pub(super) fn on_stop(stop: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stop();
    })?;
    Ok(())
}
