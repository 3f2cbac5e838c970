//! Files in a bucket: `s3://` and `gs://`.

use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, path::Path};
use reqwest::Url;

use super::{Failed, Partial, RemoteFile};

/// So much is asked for at once: an answer is soon whole, and what was cut off is asked for again alone.
const PIECE_BYTES: u64 = 8 << 20;
/// Where clouds give the credentials of a machine's role; asked where no variable holds others.
const METADATA_HOSTS: [&str; 2] = ["169.254.169.254", "metadata.google.internal"];
/// The variable that names another place for it.
const METADATA_VARIABLE: &str = "AWS_METADATA_ENDPOINT";
/// What to do without credentials, or with wrong ones.
const CREDENTIALS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or GOOGLE_APPLICATION_CREDENTIALS for the \
                           ingest-worker, or AWS_SKIP_SIGNATURE=true (GOOGLE_SKIP_SIGNATURE=true) for a public bucket";

/// A file or prefix in a bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    path: Path,
    is_folder: bool,
    /// Parts of the URLs that a machine's role is asked for at.
    metadata: Vec<String>,
}

impl Bucket {
    /// Prepares requests; nothing is sent yet. Credentials, region and endpoint are among `variables`, by the names that
    /// `object_store` knows, such as `AWS_ACCESS_KEY_ID` or `GOOGLE_APPLICATION_CREDENTIALS`.
    pub(super) fn new(url: &Url, variables: impl Iterator<Item = (String, String)>) -> Result<Self, String> {
        // Another client may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let variables: Vec<(String, String)> = variables.collect();
        let named = variables.iter().filter(|(name, _)| name == METADATA_VARIABLE);
        let named: Vec<String> = named.map(|(_, endpoint)| endpoint.clone()).collect();
        let (store, path) = object_store::parse_url_opts(url, variables)
            .map_err(|error| format!("it cannot be opened: {error}; correct it, or the variables for it"))?;
        let mut bucket = Self::over(store.into(), path, url.path().ends_with('/') || url.path().is_empty());
        bucket.metadata.extend(named.into_iter().filter(|endpoint| !endpoint.is_empty()));
        Ok(bucket)
    }

    /// The file `path` or, as a folder, what lies below it.
    pub(super) fn over(store: Arc<dyn ObjectStore>, path: Path, is_folder: bool) -> Self {
        Self { store, path, is_folder, metadata: METADATA_HOSTS.map(str::to_owned).into() }
    }

    /// The file of this name, else all files below it; `shown` names the source in messages.
    pub(super) async fn list(&self, shown: &str) -> Result<Vec<RemoteFile>, Failed> {
        if !self.is_folder {
            match self.store.head(&self.path).await {
                Ok(found) => {
                    let name = found.location.filename().unwrap_or_default().to_owned();
                    return Ok(vec![remote_file(name, found)]);
                }
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed(&error, shown)),
            }
        }
        let prefix = format!("{}/", self.path);
        let listed: Vec<ObjectMeta> = self
            .store
            .list(Some(&self.path))
            .try_collect()
            .await
            .map_err(|error| self.failed(&error, shown))?;
        let mut files = Vec::with_capacity(listed.len());
        for found in listed {
            let whole = found.location.to_string();
            let name = whole.strip_prefix(&prefix).unwrap_or(&whole).to_owned();
            files.push(remote_file(name, found));
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// Reads a file on to its end, piece by piece.
    pub(super) async fn read_on(&self, file: &RemoteFile, partial: &mut Partial) -> Result<(), Failed> {
        let location = Path::from(file.location.as_str());
        let size = file.size.unwrap_or_default();
        while partial.bytes() < size {
            let end = (partial.bytes() + PIECE_BYTES).min(size);
            let range = Some(GetRange::Bounded(partial.bytes()..end));
            let options = GetOptions { range, if_match: file.entity.clone(), ..GetOptions::default() };
            let found = self
                .store
                .get_opts(&location, options)
                .await
                .map_err(|error| self.failed(&error, &file.name))?;
            let mut pieces = found.into_stream();
            while let Some(bytes) =
                pieces.try_next().await.map_err(|error| self.failed(&error, &file.name))?
            {
                partial.write(&bytes).map_err(Failed::Disk)?;
            }
            if partial.bytes() < end {
                let problem = format!("less of {} came than was asked for", file.name);
                return Err(Failed::Again { problem, pause: None });
            }
            if partial.bytes() > end {
                let problem = format!("more of {} came than was asked for", file.name);
                partial.restart(None).map_err(Failed::Disk)?;
                return Err(Failed::Again { problem, pause: None });
            }
        }
        Ok(())
    }

    fn failed(&self, error: &Error, what: &str) -> Failed {
        // The library has repeated it already, and other machines than those of a cloud have no role.
        let text = error.to_string();
        if self.metadata.iter().any(|place| text.contains(place.as_str())) {
            return Failed::Final(format!(
                "there are no credentials for {what}: {CREDENTIALS}; no variable holds any, and the role of this machine \
                 gave none ({text})"
            ));
        }
        match error {
            Error::NotFound { .. } => {
                Failed::Final(format!("{what} is not there ({error}); correct bucket and name"))
            }
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                Failed::Final(format!("{what} may not be read ({error}); {CREDENTIALS}"))
            }
            Error::Precondition { .. } | Error::NotModified { .. } => Failed::Changed(what.to_owned()),
            error => Failed::Again { problem: format!("{error}"), pause: None },
        }
    }
}

fn remote_file(name: String, found: ObjectMeta) -> RemoteFile {
    RemoteFile { name, location: found.location.to_string(), size: Some(found.size), entity: found.e_tag }
}
