//! Certificates of an authority that one test makes for itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::TlsFiles;

/// An authority; what it signs lies in its folder.
pub(crate) struct Authority {
    folder: PathBuf,
    /// Its own certificate.
    pub(crate) certificate: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority that keeps its files in `folder`.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = folder.join(format!("{name}.pem"));
        fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder: folder.to_owned(), certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `host` and the key to it.
    pub(crate) fn sign(&self, host: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = ["certificate", "key"].map(|part| {
            let stem = self.certificate.file_stem().unwrap().display().to_string();
            self.folder.join(format!("{stem}-{host}-{part}.pem"))
        });
        let [at, key_at] = paths;
        fs::write(&at, certificate.pem()).unwrap();
        fs::write(&key_at, key.serialize_pem()).unwrap();
        (at, key_at)
    }

    /// A client that trusts this authority and shows nothing.
    pub(crate) fn trusted(&self) -> TlsFiles {
        TlsFiles { certificate_authority: Some(self.certificate.clone()), client: None }
    }
}
