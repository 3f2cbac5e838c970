//! TLS of a client: whom it trusts and what it shows, from PEM files that the settings name.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// The PEM files of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that signed the server's certificate; without it the system's authorities are asked.
    pub certificate_authority: Option<PathBuf>,
    /// This client's certificate, followed by those between it and its authority, and the key to it.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What TLS needs, read and found right.
#[derive(Debug)]
pub(crate) struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    /// The same as PEM, for drivers that read it themselves.
    pub(crate) authority: Option<Vec<u8>>,
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; correct {setting}")]
    Unreadable { setting: String, path: PathBuf, source: io::Error },
    /// A file holds something else.
    #[error("{path} holds no {expected} in PEM; correct {setting}")]
    NotPem { setting: String, path: PathBuf, expected: &'static str },
    /// Certificate and key cannot be used together.
    #[error(
        "the certificate in {certificate} and the key in {key} do not belong together ({source}); \
         correct {section}.client_certificate or {section}.client_key"
    )]
    Pair { section: String, certificate: PathBuf, key: PathBuf, source: Box<rustls::Error> },
    /// Nobody is trusted.
    #[error("this system knows no authorities; name the one of the server in {setting}")]
    NoAuthorities { setting: String },
    /// The library cannot do what every server expects.
    #[error("TLS cannot be used: {0}; this is a fault in Clara")]
    Library(Box<rustls::Error>),
}

impl TlsFiles {
    /// Reads the files; `section` is where the settings name them, e.g. `broker`.
    pub(crate) fn read(&self, section: &str) -> Result<ClientTls, TlsError> {
        let setting = |name: &str| format!("{section}.{name}");
        let (mut authorities, mut authority) = (RootCertStore::empty(), None);
        if let Some(path) = &self.certificate_authority {
            let pem = read(path, setting("certificate_authority"))?;
            for certificate in certificates(&pem, path, setting("certificate_authority"))? {
                authorities.add(certificate).map_err(|_| TlsError::NotPem {
                    setting: setting("certificate_authority"),
                    path: path.clone(),
                    expected: "certificate of an authority",
                })?;
            }
            authority = Some(pem);
        } else {
            authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if authorities.is_empty() {
            return Err(TlsError::NoAuthorities { setting: setting("certificate_authority") });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder =
            builder.map_err(|error| TlsError::Library(Box::new(error)))?.with_root_certificates(authorities);
        let Some((certificate, key)) = &self.client else {
            return Ok(ClientTls { config: builder.with_no_client_auth().into(), authority, client: None });
        };
        let certificate_pem = read(certificate, setting("client_certificate"))?;
        let chain = certificates(&certificate_pem, certificate, setting("client_certificate"))?;
        let key_pem = read(key, setting("client_key"))?;
        let private_key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| TlsError::NotPem {
            setting: setting("client_key"),
            path: key.clone(),
            expected: "private key without a passphrase",
        })?;
        let config = builder.with_client_auth_cert(chain, private_key).map_err(|source| TlsError::Pair {
            section: section.to_owned(),
            certificate: certificate.clone(),
            key: key.clone(),
            source: Box::new(source),
        })?;
        Ok(ClientTls { config: config.into(), authority, client: Some((certificate_pem, key_pem)) })
    }
}

fn read(path: &Path, setting: String) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { setting, path: path.to_owned(), source })
}

fn certificates(pem: &[u8], path: &Path, setting: String) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| TlsError::NotPem { setting, path: path.to_owned(), expected: "certificate" })
}

/// What to correct in the settings when TLS is why a connection failed. `section` names the server's settings.
pub(crate) fn remedy(error: &(dyn Error + 'static), section: &str) -> Option<String> {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented};
    let remedy = match cause(error)? {
        InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!(
                "name the authority that signed the server's certificate in {section}.certificate_authority"
            )
        }
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("name the server in {section}.url as its certificate does"),
        InvalidCertificate(_) => "renew the server's certificate".to_owned(),
        InvalidMessage(_) => {
            format!("the server speaks no TLS there; correct scheme or port in {section}.url")
        }
        AlertReceived(AlertDescription::CertificateRequired) | NoCertificatesPresented => {
            format!(
                "the server asks for a certificate of this client; \
                 name it in {section}.client_certificate and {section}.client_key"
            )
        }
        AlertReceived(AlertDescription::ProtocolVersion) => "let the server speak TLS 1.2 or 1.3".to_owned(),
        AlertReceived(_) => format!(
            "the server does not take what this client shows; correct {section}.client_certificate and \
             {section}.client_key"
        ),
        _ => return None,
    };
    Some(remedy)
}

/// The TLS error among the causes of an error.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // Both hide what they hold from `source`.
        let shared = error.downcast_ref::<Arc<dyn Error + Send + Sync>>();
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match (shared, wrapped) {
            (Some(shared), _) => Some(shared.as_ref()),
            (_, Some(wrapped)) => Some(wrapped),
            (None, None) => error.source(),
        };
    }
    None
}
