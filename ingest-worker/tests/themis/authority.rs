//! Authorities that sign certificates, and servers that show them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

/// An authority whose files lie in a folder.
pub(crate) struct Authority {
    folder: PathBuf,
    name: &'static str,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority.
    pub(crate) fn new(folder: &Path, name: &'static str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate()?;
        fs::write(folder.join(format!("{name}.pem")), params.self_signed(&key)?.pem())?;
        Ok(Self { folder: folder.to_owned(), name, issuer: Issuer::new(params, key) })
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// Certificate and key for a host.
    pub(crate) fn sign(&self, host: &str) -> Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([host.to_owned()])?.signed_by(&key, &self.issuer)?;
        let [at, key_at] =
            ["certificate", "key"].map(|part| self.folder.join(format!("{}-{host}-{part}.pem", self.name)));
        fs::write(&at, certificate.pem())?;
        fs::write(&key_at, key.serialize_pem())?;
        Ok((at, key_at))
    }

    /// A server that shows a certificate for `host` and answers everything with 404; with `asks`, it wants one of its clients.
    pub(crate) fn serve(&self, host: &str, asks: bool) -> Result<String> {
        let (certificate, key) = self.sign(host)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.certificate())?)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_file(certificate)?];
        let config = Arc::new(builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(connection) = ServerConnection::new(Arc::clone(&config)) else { return };
                let mut stream = StreamOwned::new(connection, stream);
                let mut request = [0; 4096];
                let read = stream.read(&mut request);
                if read.is_ok() {
                    let body = r#"{"error":true,"message":"Reached","status_code":404}"#;
                    let head = format!(
                        "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    // The client may be gone already.
                    let _ = stream.write_all(format!("{head}{body}").as_bytes());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                } else {
                    // The alert must arrive before the end of the connection does.
                    let _ = stream.conn.write_tls(&mut stream.sock);
                    let _ = stream.sock.shutdown(Shutdown::Write);
                    let _ = stream.sock.read_to_end(&mut Vec::new());
                }
            }
        });
        Ok(format!("https://localhost:{port}"))
    }
}
