//! Files that cannot be used are told with the setting to correct.

use std::fs;

use super::{testing::Authority, *};

fn refused(files: &TlsFiles) -> String {
    files.read("broker").unwrap_err().to_string()
}

#[test]
fn files_that_belong_together_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let read =
        TlsFiles { client: Some(authority.sign("client")), ..authority.trusted() }.read("broker").unwrap();
    assert!(read.authority.is_some() && read.client.is_some());
    assert!(authority.trusted().read("broker").unwrap().client.is_none());
}

#[test]
fn a_missing_file_is_told_with_its_setting() {
    let nowhere = || PathBuf::from("/nowhere/authority.pem");
    let text = refused(&TlsFiles { certificate_authority: Some(nowhere()), client: None });
    assert!(
        text.contains("/nowhere/authority.pem") && text.ends_with("correct broker.certificate_authority"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_pem_is_told_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let (certificate, key) = authority.sign("client");
    let garbage = folder.path().join("garbage.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nno base64!\n-----END CERTIFICATE-----\n";
    for content in ["", "garbage", broken] {
        fs::write(&garbage, content).unwrap();
        let with = |certificate_authority: &PathBuf, certificate: &PathBuf, key: &PathBuf| {
            let client = Some((certificate.clone(), key.clone()));
            refused(&TlsFiles { certificate_authority: Some(certificate_authority.clone()), client })
        };
        for (text, setting) in [
            (with(&garbage, &certificate, &key), "broker.certificate_authority"),
            (with(&authority.certificate, &garbage, &key), "broker.client_certificate"),
            (with(&authority.certificate, &certificate, &garbage), "broker.client_key"),
        ] {
            assert!(text.contains("garbage.pem") && text.ends_with(&format!("correct {setting}")), "{text}");
        }
    }
}

#[test]
fn a_key_of_another_certificate_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let client = Some((authority.sign("client").0, authority.sign("other").1));
    let text = refused(&TlsFiles { client, ..authority.trusted() });
    assert!(text.contains("do not belong together") && text.contains("broker.client_key"), "{text}");
}

#[test]
fn the_remedy_is_found_however_drivers_wrap_the_error() {
    let fault = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer),
        )
    };
    let over_amqp = lapin::Error::from(fault());
    let over_redis = redis::RedisError::from(fault());
    for error in [&over_amqp as &(dyn Error + 'static), &over_redis] {
        assert!(remedy(error, "state").unwrap().contains("state.certificate_authority"));
    }
    assert!(remedy(&io::Error::other("away"), "state").is_none());
}
