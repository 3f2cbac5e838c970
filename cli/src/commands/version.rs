//! `clara version`.

use anyhow::Result;

use super::DONE;
use crate::output::Output;

pub(super) fn print(output: Output) -> Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    if output.is_json() {
        output.json(&serde_json::json!({ "version": version, "wire": "clara.v1" }))?;
    } else {
        output.line(format!("clara {version}"))?;
    }
    Ok(DONE)
}
