//! Folders that hold a dataset of Clara: of their files only the records to train on are documents.

use std::path::Path;

use clara_lifecycle::dataset::DatasetManifest;

use super::hugging_face::{Dataset, json};
use crate::{
    error::IngestError,
    inspect::{MANIFEST, TRAIN},
};

/// The dataset of Clara in a folder, `None` when it is none.
///
/// # Errors
/// When it cannot be read, or lacks its records to train on.
pub(super) fn dataset(folder: &Path) -> Result<Option<Dataset>, IngestError> {
    if json::<DatasetManifest>(&folder.join(MANIFEST))?.is_none() {
        return Ok(None);
    }
    let records = folder.join(TRAIN);
    if records.is_file() {
        return Ok(Some(Dataset { files: vec![records], skipped: Vec::new() }));
    }
    let problem = format!("it is a dataset of Clara by its `{MANIFEST}`, and its `{TRAIN}` is missing");
    Err(IngestError::Damaged { path: folder.to_owned(), problem })
}
