//! Puts an adapter where servers find it: whole, verified, and under a name that no other bytes ever have.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use clara_lifecycle::{artifact::ArtifactRef, digest::Digest};
use clara_runtime::artifacts::ArtifactStore;
use tokio::{fs, process::Command};
use uuid::Uuid;

use super::{
    Order,
    error::RolloutError,
    target::{Form, OpenTarget, Staged},
};

/// The command that makes a GGUF file where the settings name none.
const CONVERT: [&str; 11] = [
    "gpu-worker",
    "export",
    "--adapter",
    "{adapter}",
    "--base-model",
    "{base_model}",
    "--to",
    "gguf-lora",
    "--force",
    "--out",
    "{out}",
];

/// Stages the order's adapter for a target. Staging it again is harmless.
///
/// # Errors
/// [`RolloutError::Stage`] and [`RolloutError::Artifact`]; nothing half-written has the name then.
pub(super) async fn stage(
    order: &Order,
    target: &OpenTarget,
    artifacts: &ArtifactStore,
) -> Result<Staged, RolloutError> {
    let name = order.name();
    let file = match target.server.form() {
        Form::Peft => name.clone(),
        Form::Gguf => format!("{name}.gguf"),
        Form::Nothing => return Ok(staged(order, order.files.prefix.clone())),
    };
    let folder = target.settings.folder.clone().unwrap_or_default();
    let path = folder.join(&file);
    let failed = |reason: String| RolloutError::Stage {
        name: name.clone(),
        folder: folder.display().to_string(),
        reason,
    };
    fs::create_dir_all(&folder).await.map_err(|error| failed(error.to_string()))?;
    let is_there = match target.server.form() {
        Form::Gguf => path.is_file(),
        Form::Peft | Form::Nothing => path.is_dir() && holds(&path, &order.files).await,
    };
    if !is_there {
        let part = folder.join(format!(".{name}-{}.part", Uuid::new_v4()));
        let made = make(order, target, artifacts, &part).await;
        let renamed = match made {
            Ok(made) => replace(&made, &path).await.map_err(|error| failed(error.to_string())),
            Err(MakeError::Rollout(error)) => Err(error),
            Err(MakeError::Other(reason)) => Err(failed(reason)),
        };
        // What is left of a failed try must not stay; after a success there is nothing but the converted adapter's source.
        drop(fs::remove_dir_all(&part).await);
        renamed?;
    }
    let on_server = target.settings.folder_on_server.as_ref().unwrap_or(&folder).join(&file);
    Ok(staged(order, on_server.display().to_string()))
}

/// Removes what was staged under `name`, if it is there.
pub(super) async fn remove(target: &OpenTarget, name: &str) -> std::io::Result<()> {
    let Some(folder) = &target.settings.folder else { return Ok(()) };
    let path = folder.join(name);
    if path.is_dir() {
        return fs::remove_dir_all(path).await;
    }
    match fs::remove_file(folder.join(format!("{name}.gguf"))).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn staged(order: &Order, path_on_server: String) -> Staged {
    Staged {
        name: order.name(),
        path_on_server,
        adapter_id: order.version.adapter_id.clone(),
        checksum: order.version.adapter_checksum.clone(),
        base_model: order.version.base_model.clone(),
        cause: order.cause.clone(),
    }
}

/// Whether a folder holds exactly the recorded files.
async fn holds(folder: &Path, files: &ArtifactRef) -> bool {
    for file in &files.files {
        match fs::read(folder.join(&file.path)).await {
            Ok(bytes) if Digest::of(&bytes) == file.digest => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

enum MakeError {
    Rollout(RolloutError),
    Other(String),
}

/// Fetches, verifies and where needed converts the adapter below `part`; answers what gets the name.
async fn make(
    order: &Order,
    target: &OpenTarget,
    artifacts: &ArtifactStore,
    part: &Path,
) -> Result<PathBuf, MakeError> {
    let fetched = part.join("peft");
    artifacts.fetch(&order.files, &fetched).await.map_err(|error| MakeError::Rollout(error.into()))?;
    if target.server.form() != Form::Gguf {
        return Ok(fetched);
    }
    let out = part.join("gguf");
    let words = if target.settings.convert.is_empty() {
        CONVERT.map(str::to_owned).to_vec()
    } else {
        target.settings.convert.clone()
    };
    let fill = |word: &String| {
        word.replace("{adapter}", &fetched.to_string_lossy())
            .replace("{base_model}", &order.base_model_path)
            .replace("{out}", &out.to_string_lossy())
    };
    let words: Vec<String> = words.iter().map(fill).collect();
    let (program, arguments) =
        words.split_first().ok_or_else(|| MakeError::Other("convert is empty".to_owned()))?;
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let ran = tokio::time::timeout(target.settings.load_timeout.0, ran).await;
    let ended = ran
        .map_err(|_| MakeError::Other(format!("`{program}` took longer than load_timeout")))?
        .map_err(|error| {
            MakeError::Other(format!("cannot run `{program}`: {error}; set `convert` for the target"))
        })?;
    if !ended.status.success() {
        let told = String::from_utf8_lossy(&ended.stderr);
        let last: Vec<&str> = told.lines().rev().take(3).collect();
        return Err(MakeError::Other(format!(
            "`{program}` ended with {}: {}",
            ended.status,
            last.join("; ")
        )));
    }
    Ok(out.join("adapter.gguf"))
}

/// Gives `made` the name `path` in one step; what had the name and is not what it should be goes first.
async fn replace(made: &Path, path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        let aside = path.with_file_name(format!(".broken-{}", Uuid::new_v4()));
        fs::rename(path, &aside).await?;
        fs::remove_dir_all(&aside).await?;
    }
    fs::rename(made, path).await
}
