//! Certificates: whose are trusted, whose are refused, and what to do.

use anyhow::Result;
use clara_ingest_worker::fetch::RemoteRequest;
use clara_runtime::config::{Secret, ThemisRoute};

use crate::{
    authority::Authority,
    double::{Double, Faults, Generation, Quirks, Store},
    pass::{failure, request},
};

async fn tls_request(url: &str, authority: &Authority) -> Result<RemoteRequest> {
    let double = Double::start(Quirks::of(Generation::T25), Faults::default(), Store::sections(1)).await?;
    let mut request = request(&double, ThemisRoute::Aql)?;
    request.settings.url = Some(Secret::new(url));
    request.settings.ca_certificate = Some(authority.certificate());
    request.settings.patience.0 = std::time::Duration::from_secs(2);
    Ok(request)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_decide_who_is_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (ours, other) = (Authority::new(folder.path(), "ours")?, Authority::new(folder.path(), "other")?);
    let says = |text: &str, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "`{part}` is missing in: {text}");
        }
    };

    let right = ours.serve("localhost", false)?;
    let (_, text) = failure(tls_request(&right, &ours).await?).await?;
    says(&text, &["404: Reached"]);

    let (is_retryable, text) = failure(tls_request(&right, &other).await?).await?;
    assert!(!is_retryable, "{text}");
    says(&text, &["[sources.gesetze].ca_certificate"]);

    let another_host = ours.serve("themis.example", false)?;
    let (is_retryable, text) = failure(tls_request(&another_host, &ours).await?).await?;
    assert!(!is_retryable, "{text}");
    says(&text, &["another host", "[sources.gesetze].url"]);

    let asks = ours.serve("localhost", true)?;
    let (_, text) = failure(tls_request(&asks, &ours).await?).await?;
    says(&text, &["[sources.gesetze].client_certificate"]);

    let mut shown = tls_request(&asks, &ours).await?;
    let (certificate, key) = ours.sign("client")?;
    shown.settings.client_certificate = Some(certificate);
    shown.settings.client_key = Some(key);
    let (_, text) = failure(shown).await?;
    says(&text, &["404: Reached"]);
    Ok(())
}
