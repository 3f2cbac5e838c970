//! `clara registry rollout`, `rollback` and `served`.

use anyhow::Result;
use clap::Args;
use clara_lifecycle::{counted::counted, served::ServedTarget};
use clara_proto::v1;
use serde_json::Value;

use crate::{
    commands::{Actor, DONE},
    figures::NONE,
    session::Session,
};

/// The exit code when something drifts.
const DRIFTS: u8 = 1;

/// Which version goes where.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolloutArgs {
    /// The version, or FAMILY@champion
    adapter: String,
    /// A target of the coordinators' settings; may be repeated [default: those on which the family is served]
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// Make the version the champion afterwards
    #[arg(long)]
    promote: bool,
    /// Why
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    by: Actor,
}

/// Which family goes back, and to what.
#[derive(Debug, Clone, Args)]
pub(crate) struct RollbackArgs {
    /// The family, e.g. verwaltungsrecht-lora
    family: String,
    /// The version to go back to [default: the champion before the present one]
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Only tell what would happen
    #[arg(long)]
    dry_run: bool,
    /// Go back even where a server does not serve the version
    #[arg(long)]
    force: bool,
    /// Why
    #[arg(long, required_unless_present = "dry_run", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    by: Actor,
}

pub(super) async fn roll_out(session: &Session, args: RolloutArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let RolloutArgs { adapter, targets, promote, reason, by } = args;
    let actor = by.name()?.to_owned();
    let request = v1::RollOutAdapterRequest { adapter_id: adapter, targets, promote, actor, reason };
    let done = connection.client.roll_out(request).await?;
    if session.output.is_json() {
        session.output.json(&done)?;
        return Ok(DONE);
    }
    for target in done.get("targets").and_then(Value::as_array).into_iter().flatten() {
        let replicas = target.get("replicas").and_then(Value::as_array).map_or(0, Vec::len);
        session.output.line(format!(
            "{} serves {} on {}: {}",
            text(target, "target"),
            text(target, "name"),
            counted(replicas, "replica"),
            text(target, "proof")
        ))?;
    }
    session.output.note(format!("champion: {}", text(&done, "champion")));
    Ok(DONE)
}

pub(super) async fn roll_back(session: &Session, args: RollbackArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let RollbackArgs { family, to, dry_run, force, reason, by } = args;
    let actor = if dry_run { by.or_nobody() } else { by.name()? }.to_owned();
    let request = v1::RollBackFamilyRequest { family_id: family, to, dry_run, force, actor, reason };
    let went = connection.client.roll_back(request).await?;
    if session.output.is_json() {
        session.output.json(&went)?;
        return Ok(DONE);
    }
    let replicas = went.get("replicas").and_then(Value::as_array);
    let rows = replicas.into_iter().flatten().map(|replica| {
        [text(replica, "target"), text(replica, "url"), text(replica, "serves")].map(str::to_owned)
    });
    session.output.table(["target", "replica", "serves it"], rows.collect())?;
    let verb = if dry_run { "would go" } else { "went" };
    let seconds = went.get("seconds").and_then(Value::as_f64).unwrap_or_default();
    session.output.line(format!(
        "{} {verb} back from {} to {} in {seconds:.3} s",
        text(&went, "family_id"),
        text(&went, "from"),
        text(&went, "to"),
    ))?;
    Ok(DONE)
}

/// Exits with 1 when a replica serves something else than it should.
pub(super) async fn served(session: &Session, fresh: bool) -> Result<u8> {
    let connection = session.connect().await?;
    let targets = connection.client.served(fresh).await?;
    if session.output.is_json() {
        session.output.json(&targets)?;
    } else {
        session.output.table(
            ["target", "replica", "serves", "version", "role"],
            targets.iter().flat_map(rows).collect(),
        )?;
        for (target, replica) in
            targets.iter().flat_map(|target| target.replicas.iter().map(move |r| (target, r)))
        {
            for drift in &replica.drift {
                session.output.note(format!("drift: {} {} {drift}", target.target, replica.url));
            }
        }
    }
    let drifts = targets.iter().any(|target| target.drifted() > 0);
    Ok(if drifts { DRIFTS } else { DONE })
}

/// A row for each adapter of each replica, and one for a replica that serves none or says nothing.
fn rows(target: &ServedTarget) -> Vec<[String; 5]> {
    let mut rows = Vec::new();
    for replica in &target.replicas {
        let row = |serves: &str, version: &str, role: &str| {
            [&target.target, &replica.url, serves, version, role].map(|text: &str| text.to_owned())
        };
        if replica.adapters.is_empty() {
            rows.push(row(replica.error.as_deref().unwrap_or(NONE), NONE, NONE));
        }
        for adapter in &replica.adapters {
            rows.push(row(
                &adapter.name,
                adapter.adapter_id.as_deref().unwrap_or(NONE),
                adapter.role.as_str(),
            ));
        }
    }
    rows
}

fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    document.get(field).and_then(Value::as_str).unwrap_or(NONE)
}
