//! A dataset that a command looks into: a folder of this machine, or verified copies from the coordinator.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clara_ingest_worker::inspect::{self, MANIFEST};
use clara_lifecycle::dataset::DatasetManifest;
use tempfile::TempDir;

use crate::{
    client::DatasetDocument,
    session::{Connection, Session},
};

/// A way to datasets; a coordinator is asked only when one is needed.
#[derive(Debug)]
pub(super) struct Reach<'a> {
    session: &'a Session,
    connection: Option<Connection>,
}

/// A dataset with some of its files at hand.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) manifest: DatasetManifest,
    /// What the coordinator knows about it; nothing for a folder.
    pub(super) document: Option<DatasetDocument>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Copy(TempDir),
}

impl Opened {
    /// Where its files lie.
    pub(super) fn folder(&self) -> &Path {
        match &self.place {
            Place::Folder(folder) => folder,
            Place::Copy(copy) => copy.path(),
        }
    }
}

impl<'a> Reach<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self { session, connection: None }
    }

    pub(super) async fn connection(&mut self) -> Result<&Connection> {
        if self.connection.is_none() {
            self.connection = Some(self.session.connect().await?);
        }
        self.connection.as_ref().context("there is no connection to a coordinator")
    }

    /// The dataset that `name` names, with those of the `wanted` files that it has.
    pub(super) async fn open(&mut self, name: &str, wanted: &[&str]) -> Result<Opened> {
        let folder = Path::new(name);
        if folder.is_dir() {
            if !folder.join(MANIFEST).is_file() {
                bail!(
                    "{name} is a folder without {MANIFEST}; give one that `clara ingest` or `clara data export` wrote"
                );
            }
            let manifest = inspect::manifest(folder)?;
            return Ok(Opened { manifest, document: None, place: Place::Folder(folder.to_owned()) });
        }
        let client = self.connection().await?.client.clone();
        let mut document = client.dataset(name).await?;
        let manifest = document
            .manifest
            .take()
            .context("the coordinator sent no manifest; check that both have the same version")?;
        let copy = tempfile::tempdir().context("cannot make a folder for the dataset")?;
        for file in &document.files {
            if file.path == MANIFEST || wanted.contains(&file.path.as_str()) {
                client.fetch_dataset_file(name, file, copy.path()).await?;
            }
        }
        Ok(Opened { manifest, document: Some(document), place: Place::Copy(copy) })
    }
}
