//! `clara config`: the configuration in force and where each value comes from.

use anyhow::Result;
use clap::Subcommand;

use super::DONE;
use crate::session::Session;

/// What to do with the configuration.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every value with its origin; secrets are masked
    #[command(
        after_help = "Example:\n  clara config show --config clara.toml\n\nFlags win over environment (CLARA_LEASE__TTL for lease.ttl), environment over file, file over default."
    )]
    Show,
}

pub(crate) fn run(session: &Session, command: &ConfigCommand) -> Result<u8> {
    let ConfigCommand::Show = command;
    if session.output.is_json() {
        session.output.json(&session.origins)?;
        return Ok(DONE);
    }
    let rows = session
        .origins
        .iter()
        .map(|setting| [setting.key.clone(), setting.value.clone(), setting.origin.clone()]);
    session.output.table(["key", "value", "origin"], rows.collect())?;
    Ok(DONE)
}
