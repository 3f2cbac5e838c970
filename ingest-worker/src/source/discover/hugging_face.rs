//! Folders that Hugging Face `datasets` wrote, or that lie on its hub: which of their files are the training split.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::error::IngestError;

/// The split that is read unless the source names the folder or the files of another one.
const TRAINING: &str = "train";

/// The files of a dataset.
#[derive(Debug, Default)]
pub(super) struct Dataset {
    /// Files of the training split, sorted.
    pub(super) files: Vec<PathBuf>,
    /// All others.
    pub(super) skipped: Vec<PathBuf>,
}

/// `dataset_dict.json` of a folder with a folder for each split.
#[derive(Debug, Deserialize)]
struct Splits {
    splits: Vec<String>,
}

/// `state.json` of a folder with one split.
#[derive(Debug, Deserialize)]
struct State {
    #[serde(rename = "_data_files")]
    data_files: Vec<DataFile>,
}

#[derive(Debug, Deserialize)]
struct DataFile {
    filename: String,
}

/// The dataset in a folder, `None` when it is none.
///
/// # Errors
/// When it cannot be read, or has several splits of which none is named `train`.
pub(super) fn dataset(folder: &Path) -> Result<Option<Dataset>, IngestError> {
    if let Some(Splits { splits }) = json(&folder.join("dataset_dict.json"))? {
        let split = training(folder, splits.iter().map(String::as_str).collect())?;
        let mut dataset = dataset(&within(folder, &split)?)?.ok_or_else(|| {
            let problem = format!(
                "its `dataset_dict.json` names the split `{split}`, whose folder holds no `state.json`"
            );
            IngestError::Damaged { path: folder.to_owned(), problem }
        })?;
        let other = |name: &&String| **name != split;
        dataset.skipped.extend(splits.iter().filter(other).map(|name| folder.join(name)));
        return Ok(Some(dataset));
    }
    if let Some(State { data_files }) = json(&folder.join("state.json"))? {
        // In the order that the dataset has, not in that of their names.
        let files = data_files.iter().map(|file| within(folder, &file.filename));
        return Ok(Some(Dataset { files: files.collect::<Result<_, _>>()?, skipped: Vec::new() }));
    }
    shards(folder)
}

/// Whether a file says something about a dataset, and holds no document: one of the library's own, or a copy that it keeps of a
/// step of its work.
pub(super) fn is_about_dataset(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_copy = name.starts_with("cache-") && name.ends_with(".arrow");
    is_copy
        || matches!(&*name, "dataset_dict.json" | "dataset_info.json" | "dataset_infos.json" | "state.json")
}

/// A file or folder that a dataset names; it may not lead out of the dataset.
fn within(folder: &Path, name: &str) -> Result<PathBuf, IngestError> {
    if Path::new(name).file_name().is_some_and(|file_name| file_name == name) {
        return Ok(folder.join(name));
    }
    let problem = format!("it names the file `{name}`, expected the name of a file beside it");
    Err(IngestError::Damaged { path: folder.to_owned(), problem })
}

/// Files such as `train-00000-of-00002.parquet`, in the folder or in its folder `data`.
fn shards(folder: &Path) -> Result<Option<Dataset>, IngestError> {
    let mut splits: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut others = Vec::new();
    for place in [folder.to_owned(), folder.join("data")] {
        for path in files(&place)? {
            match split_of(&path) {
                Some(split) => splits.entry(split).or_default().push(path),
                None => others.push(path),
            }
        }
    }
    if splits.is_empty() {
        return Ok(None);
    }
    let split = training(folder, splits.keys().map(String::as_str).collect())?;
    let files = splits.remove(&split).unwrap_or_default();
    others.extend(splits.into_values().flatten());
    others.sort();
    Ok(Some(Dataset { files, skipped: others }))
}

/// The split of a shard: `train` for `train-00000-of-00002.parquet` and for `name-train-00000-of-00002.arrow`.
fn split_of(path: &Path) -> Option<String> {
    if !matches!(path.extension()?.to_str()?, "parquet" | "arrow") {
        return None;
    }
    let (rest, total) = path.file_stem()?.to_str()?.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(number) || !is_number(total) {
        return None;
    }
    Some(name.rsplit('-').next().unwrap_or(name).to_owned())
}

fn training(folder: &Path, splits: BTreeSet<&str>) -> Result<String, IngestError> {
    if splits.contains(TRAINING) {
        return Ok(TRAINING.to_owned());
    }
    let names: Vec<&str> = splits.into_iter().collect();
    match names.as_slice() {
        [only] => Ok((*only).to_owned()),
        _ => Err(IngestError::Options {
            problem: format!(
                "the dataset in {} has the splits {} and none named `{TRAINING}`; name the folder or the files of one \
                 with `--source` (`ingest.sources`)",
                folder.display(),
                names.join(", ")
            ),
        }),
    }
}

/// The visible files of a folder, sorted; none when it is missing.
fn files(folder: &Path) -> Result<Vec<PathBuf>, IngestError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(IngestError::read(folder)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(IngestError::read(folder))?;
        let path = entry.path();
        if path.is_file() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A small JSON file of a dataset; `None` when it is missing or of another program.
pub(super) fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, IngestError> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(IngestError::read(path)(error)),
    }
}
