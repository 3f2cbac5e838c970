//! The in-toto statement about an adapter's files, with the predicate of `model_signing` 1.0.

use std::collections::BTreeMap;

use clara_lifecycle::{artifact::ArtifactRef, digest::Digest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::SignatureError;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://model_signing/signature/v1.0";

/// Files that may lie beside the signed ones; a verifier passes over them.
const BESIDE: [&str; 6] = ["model.sig", "README.md", ".git", ".gitattributes", ".github", ".gitignore"];

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Debug, Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: Digest,
}

impl Statement {
    /// About `files`; paths are compared byte by byte, which is their order in an artifact.
    pub(super) fn of(adapter_id: &str, files: &ArtifactRef) -> Self {
        let resource = |file: &clara_lifecycle::artifact::ArtifactFile| Resource {
            name: file.path.clone(),
            algorithm: "sha256".to_owned(),
            digest: file.digest.clone(),
        };
        let resources: Vec<Resource> = files.files.iter().map(resource).collect();
        let root = ("sha256".to_owned(), root_of(&resources).to_string());
        Self {
            kind: STATEMENT.to_owned(),
            subject: vec![Subject { name: adapter_id.to_owned(), digest: BTreeMap::from([root]) }],
            predicate_type: PREDICATE.to_owned(),
            predicate: Predicate {
                serialization: Serialization {
                    method: "files".to_owned(),
                    hash_type: "sha256".to_owned(),
                    allow_symlinks: false,
                    ignore_paths: BESIDE.map(str::to_owned).to_vec(),
                },
                resources,
            },
        }
    }

    /// Whether the statement holds together and is about exactly `files`.
    pub(super) fn check(&self, files: &ArtifactRef) -> Result<(), SignatureError> {
        let form = |reason: String| Err(SignatureError::Form(reason));
        if self.kind != STATEMENT || self.predicate_type != PREDICATE {
            return form(format!("it is a {} with predicate {}", self.kind, self.predicate_type));
        }
        let Serialization { method, hash_type, .. } = &self.predicate.serialization;
        if (method.as_str(), hash_type.as_str()) != ("files", "sha256") {
            return form(format!(
                "its files are listed by {method} and {hash_type}, expected files and sha256"
            ));
        }
        let resources = &self.predicate.resources;
        let root = root_of(resources).to_string();
        let [Subject { digest, .. }] = self.subject.as_slice() else {
            return form(format!("it has {} subjects, expected one", self.subject.len()));
        };
        if digest.get("sha256") != Some(&root) {
            return form("the digest of its subject does not follow from its files".to_owned());
        }
        let signed: BTreeMap<&str, &Digest> =
            resources.iter().map(|resource| (resource.name.as_str(), &resource.digest)).collect();
        let recorded: BTreeMap<&str, &Digest> =
            files.files.iter().map(|file| (file.path.as_str(), &file.digest)).collect();
        let other =
            signed.keys().chain(recorded.keys()).find(|path| signed.get(*path) != recorded.get(*path));
        match other {
            Some(path) => Err(SignatureError::OtherFiles(format!("{path} differs from the record"))),
            None => Ok(()),
        }
    }
}

/// SHA-256 over the raw digests, in the order of the list.
fn root_of(resources: &[Resource]) -> Digest {
    let mut hasher = Sha256::new();
    for resource in resources {
        hasher.update(raw(resource.digest.as_str()));
    }
    Digest::from_hash(hasher.finalize().as_ref())
}

/// The 32 bytes that 64 hexadecimal digits stand for.
fn raw(digits: &str) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs
        .filter_map(|pair| match pair {
            [high, low] => Some(value(*high)? * 16 + value(*low)?),
            _ => None,
        })
        .collect()
}
