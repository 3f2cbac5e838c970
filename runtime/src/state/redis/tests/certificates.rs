//! TLS to a Redis that asks for certificates of its clients and lets only one user in.

use super::*;
use crate::tls::{TlsFiles, testing::Authority};

const HOST: &str = "localhost";

/// Only `clara` may use it, and only over TLS with a certificate.
async fn start(authority: &Authority) -> Server {
    let (certificate, key) = authority.sign(HOST);
    let port = free_port();
    let files = [&certificate, &key, &authority.certificate].map(|path| path.display().to_string());
    let more = format!(
        "--port 0 --tls-port {port} --tls-auth-clients yes \
         --tls-cert-file {} --tls-key-file {} --tls-ca-cert-file {} \
         --user default off --user clara on >right ~clara:* &clara:* +@all -@admin -@dangerous +info",
        files[0], files[1], files[2]
    );
    Server::start_at(port, &more.split_whitespace().collect::<Vec<_>>()).await
}

fn options(server: &Server, host: &str, user: &str, tls: &TlsFiles) -> RedisOptions {
    let url = format!("rediss://{user}@{host}:{}/0", server.port);
    RedisOptions { tls: tls.clone(), ..RedisOptions::new(Secret::new(url)) }
}

async fn error(options: &RedisOptions) -> StateError {
    RedisState::connect(options, &tasks()).await.unwrap_err()
}

async fn refused(options: &RedisOptions) -> String {
    let refused = error(options).await;
    assert!(!refused.is_retryable(), "{refused:?}");
    refused.to_string()
}

#[tokio::test]
async fn certificates_decide_who_talks_to_whom() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) =
        (Authority::new(folder.path(), "authority"), Authority::new(folder.path(), "other"));
    let server = start(&authority).await;
    let right = TlsFiles { client: Some(authority.sign("client")), ..authority.trusted() };
    let user = "clara:right";

    let store = RedisState::connect(&options(&server, HOST, user, &right), &tasks()).await.unwrap();
    contract::check(Arc::new(store)).await.unwrap();

    let unknown = TlsFiles { certificate_authority: Some(other.certificate.clone()), ..right.clone() };
    let text = refused(&options(&server, HOST, user, &unknown)).await;
    assert!(text.contains("state.certificate_authority"), "{text}");

    let text = refused(&options(&server, "127.0.0.1", user, &right)).await;
    assert!(text.contains(HOST) && text.contains("state.url"), "{text}");

    // With TLS 1.3 the server says so after the handshake, so the first answer is its refusal.
    for client in [None, Some(other.sign("client"))] {
        let stranger = TlsFiles { client, ..authority.trusted() };
        let text = error(&options(&server, HOST, user, &stranger)).await.to_string();
        assert!(text.contains("state.client_certificate"), "{text}");
    }

    let text = refused(&options(&server, HOST, "clara:wrong-secret", &right)).await;
    assert!(text.contains("user and password") && !text.contains("wrong-secret"), "{text}");

    let plain = RedisOptions { tls: right, ..RedisOptions::new(Secret::new("redis://127.0.0.1:1/0")) };
    assert!(refused(&plain).await.contains("rediss://"));
}
