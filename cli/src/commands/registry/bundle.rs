//! The registry with its files, as a folder or a tar file: written from the records, and taken over only when every digest
//! and every signature holds.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clara_coordinator::registry::signature::{self, PublicKey};
use clara_lifecycle::{
    adapter::{AdapterVersion, RegistryFile},
    artifact::ArtifactRef,
    digest::Digest,
};
use clara_runtime::artifacts::ArtifactStore;

const REGISTRY: &str = "adapter_registry.json";
const SIGNATURE: &str = "model.sig";
const CARD: &str = "README.md";

/// A bundle whose digests and signatures hold.
#[derive(Debug)]
pub(super) struct Checked {
    folder: PathBuf,
    /// The registry file as it was read.
    pub(super) json: String,
    registry: RegistryFile,
    /// Versions whose signature was verified with the key.
    pub(super) verified: usize,
}

/// Writes the files of every version that has some, each with its card and its signature; answers how many versions.
pub(super) async fn write(
    registry: &RegistryFile,
    cards: &[(String, String)],
    store: &ArtifactStore,
    folder: &Path,
) -> Result<usize> {
    ensure!(
        !folder.exists() || fs::read_dir(folder)?.next().is_none(),
        "{} is not empty; name another folder",
        folder.display()
    );
    let mut versions = 0;
    for version in versions_with_files(registry) {
        let home = folder.join(&version.adapter_id);
        for (part, artifact) in version.artifacts() {
            store.fetch(artifact, &home.join(part)).await?;
        }
        if let Some(bundle) = &version.signature {
            write_file(&home.join(SIGNATURE), &serde_json::to_string(bundle)?)?;
        }
        if let Some((_, card)) = cards.iter().find(|(adapter_id, _)| *adapter_id == version.adapter_id) {
            write_file(&home.join(CARD), card)?;
        }
        versions += 1;
    }
    // Last, so that a folder with it is whole.
    write_file(&folder.join(REGISTRY), &format!("{}\n", serde_json::to_string_pretty(registry)?))?;
    Ok(versions)
}

/// Reads a bundle and verifies everything in it; nothing is written.
pub(super) fn check(folder: &Path, key: Option<&PublicKey>) -> Result<Checked> {
    let path = folder.join(REGISTRY);
    let json = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let registry: RegistryFile =
        serde_json::from_str(&json).with_context(|| format!("{} is no registry file", path.display()))?;
    registry.check()?;
    let (mut problems, mut verified) = (Vec::new(), 0);
    for version in versions_with_files(&registry) {
        let adapter_id = &version.adapter_id;
        for (part, artifact) in version.artifacts() {
            problems.extend(damage(&folder.join(adapter_id).join(part), artifact)?);
        }
        let Some(lineage) = &version.lineage else { continue };
        if lineage.adapter.digest().as_str() != version.adapter_checksum {
            problems.push(format!("{adapter_id}: adapter_checksum does not follow from its files"));
        }
        let checked = match (&version.signature, key) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("it is not signed".to_owned()),
            (Some(bundle), None) => {
                signature::describes(bundle, &lineage.adapter).map_err(|error| error.to_string())
            }
            (Some(bundle), Some(key)) => {
                signature::verify(key, bundle, &lineage.adapter).map_err(|error| error.to_string())
            }
        };
        match checked {
            Ok(()) => verified += usize::from(version.signature.is_some() && key.is_some()),
            Err(problem) => problems.push(format!("{adapter_id}: {problem}")),
        }
    }
    if !problems.is_empty() {
        bail!("nothing was imported:\n  {}", problems.join("\n  "));
    }
    Ok(Checked { folder: folder.to_owned(), json, registry, verified })
}

impl Checked {
    /// Stores the files where the records expect them; what is there already stays.
    pub(super) async fn store(&self, store: &ArtifactStore) -> Result<usize> {
        let mut files = 0;
        for version in versions_with_files(&self.registry) {
            for (part, artifact) in version.artifacts() {
                let folder = self.folder.join(&version.adapter_id).join(part);
                let stored = store.put_folder(&artifact.prefix, &folder).await?;
                ensure!(
                    stored.digest() == artifact.digest(),
                    "{} changed while it was read",
                    folder.display()
                );
                files += stored.files.len();
            }
        }
        Ok(files)
    }

    /// The checksums of the versions in the bundle.
    pub(super) fn checksums(&self) -> impl Iterator<Item = (&str, &str)> {
        let versions = self.registry.families.iter().flat_map(|family| &family.versions);
        versions.map(|version| (version.adapter_id.as_str(), version.adapter_checksum.as_str()))
    }
}

/// Packs a folder into one file, in order of the paths.
pub(super) fn pack(folder: &Path, file: &Path) -> Result<()> {
    let partial = file.with_extension("part");
    let target = fs::File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let mut tar = tar::Builder::new(target);
    for path in files_below(folder)? {
        tar.append_path_with_name(folder.join(&path), &path)?;
    }
    tar.into_inner()?.sync_all()?;
    fs::rename(&partial, file).with_context(|| format!("cannot write {}", file.display()))
}

/// Unpacks the plain files of a tar file into an empty folder; anything else is refused.
pub(super) fn unpack(file: &Path, folder: &Path) -> Result<()> {
    let source = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    for entry in tar::Archive::new(source).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        ensure!(
            kind.is_file() || kind.is_dir(),
            "{} holds {}, which is no plain file",
            file.display(),
            path.display()
        );
        let inside = entry.unpack_in(folder)?;
        ensure!(inside, "{} holds {}, which leads out of it", file.display(), path.display());
    }
    Ok(())
}

fn versions_with_files(registry: &RegistryFile) -> impl Iterator<Item = &AdapterVersion> {
    let versions = registry.families.iter().flat_map(|family| &family.versions);
    versions.filter(|version| version.lineage.is_some() && version.files_removed_at.is_none())
}

/// What is wrong with the files of one artifact: missing, changed, or too many.
fn damage(folder: &Path, artifact: &ArtifactRef) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in &artifact.files {
        let path = folder.join(&file.path);
        match fs::read(&path) {
            Ok(content) if Digest::of(&content) == file.digest => {}
            Ok(content) => problems.push(format!(
                "{} has digest {}, expected {}",
                path.display(),
                Digest::of(&content),
                file.digest
            )),
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    let expected: BTreeSet<PathBuf> = artifact.files.iter().map(|file| PathBuf::from(&file.path)).collect();
    if folder.is_dir() {
        let surplus = files_below(folder)?.into_iter().filter(|path| !expected.contains(path));
        problems.extend(surplus.map(|path| format!("{} is not in the record", folder.join(path).display())));
    }
    Ok(problems)
}

/// The paths of all files below `folder`, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = open.pop() {
        let path = folder.join(&below);
        let entries = fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests;
