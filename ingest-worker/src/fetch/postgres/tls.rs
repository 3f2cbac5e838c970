//! TLS towards a PostgreSQL: whom we trust and what we show, from the PEM files of `[sources.NAME]`.

use std::{path::Path, sync::Arc};

use clara_runtime::config::RemoteSettings;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::fetch::pem;

/// The TLS of one server, ALPN aside.
///
/// # Errors
/// Which file cannot be used, and what to correct.
pub(super) fn client_config(settings: &RemoteSettings, section: &str) -> Result<ClientConfig, String> {
    let mut authorities = RootCertStore::empty();
    if let Some(path) = &settings.ca_certificate {
        for certificate in certificates(path, section, "ca_certificate")? {
            authorities
                .add(certificate)
                .map_err(|_| pem::lacks(path, "certificate of an authority", section, "ca_certificate"))?;
        }
    } else {
        authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}; this is a fault in Clara"))?
        .with_root_certificates(authorities);
    let (Some(certificate), Some(key)) = (&settings.client_certificate, &settings.client_key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate, section, "client_certificate")?;
    let private_key = PrivateKeyDer::from_pem_slice(&pem::read(key, section, "client_key")?)
        .map_err(|_| pem::lacks(key, "private key without a passphrase", section, "client_key"))?;
    builder.with_client_auth_cert(chain, private_key).map_err(|error| {
        format!(
            "the certificate in {} and the key in {} do not belong together ({error}); correct {section}.client_certificate or client_key",
            certificate.display(),
            key.display()
        )
    })
}

fn certificates(path: &Path, section: &str, setting: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = pem::read(path, section, setting)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| pem::lacks(path, "certificate", section, setting))
}
