//! Whom a client of documents trusts and what it shows, and what to correct when TLS fails.

use std::{error::Error, io};

use clara_runtime::config::RemoteSettings;
use reqwest::{Certificate, ClientBuilder, Identity, Url};
use rustls::{AlertDescription, CertificateError};

use crate::fetch::pem;

/// The builder with the certificates of the settings.
///
/// # Errors
/// What is wrong with the files, and what to do.
pub(super) fn configure(
    builder: ClientBuilder,
    settings: &RemoteSettings,
    base: &Url,
    section: &str,
) -> Result<ClientBuilder, String> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if base.scheme() == "http" {
        // Plain HTTP is for servers nearby: no proxy in between, and no certificates needed.
        return Ok(builder.no_proxy().tls_certs_only([]));
    }
    let builder = match &settings.ca_certificate {
        None => builder,
        Some(path) => {
            let pem = pem::read(path, section, "ca_certificate")?;
            let found = Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
            let found = found.ok_or_else(|| pem::lacks(path, "certificate", section, "ca_certificate"))?;
            builder.tls_certs_only(found)
        }
    };
    let (Some(certificate), Some(key)) = (&settings.client_certificate, &settings.client_key) else {
        return Ok(builder);
    };
    let mut pem = pem::read(certificate, section, "client_certificate")?;
    pem.push(b'\n');
    pem.extend(pem::read(key, section, "client_key")?);
    let identity = Identity::from_pem(&pem).map_err(|_| {
        pem::lacks(
            certificate,
            "certificate with its private key",
            section,
            "client_certificate and client_key",
        )
    })?;
    Ok(builder.identity(identity))
}

/// What to correct when TLS is why a request failed; `None` when it is not, or when a repetition may help.
pub(super) fn remedy(error: &(dyn Error + 'static), section: &str) -> Option<String> {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented};
    let remedy = match cause(error)? {
        InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!("name the authority that signed the server's certificate in {section}.ca_certificate")
        }
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate is another host's: name the server in {section}.url as its certificate does"
        ),
        InvalidCertificate(_) => "renew the server's certificate".to_owned(),
        InvalidMessage(_) => {
            format!("the server speaks no TLS there; correct scheme or port in {section}.url")
        }
        AlertReceived(AlertDescription::CertificateRequired) | NoCertificatesPresented => format!(
            "the server asks for a certificate of this client; name it in {section}.client_certificate and client_key"
        ),
        AlertReceived(AlertDescription::ProtocolVersion) => "let the server speak TLS 1.2 or 1.3".to_owned(),
        AlertReceived(_) => format!(
            "the server does not take what this client shows; correct {section}.client_certificate and client_key"
        ),
        _ => return None,
    };
    Some(remedy)
}

/// The TLS error among the causes of an error.
pub(crate) fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error hides what it holds from `source`.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
