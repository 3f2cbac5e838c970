//! TLS to a RabbitMQ that asks for certificates of its clients.

use super::*;
use crate::tls::TlsFiles;

/// All that TLS must do, with the one server of this file.
pub(super) async fn decide_who_talks_to_whom(server: &Server) {
    let other = Authority::new(server.folder.path(), "other");
    let right = TlsFiles { client: Some(server.authority.sign("client")), ..server.authority.trusted() };
    a_known_client_is_served_over_tls(server, &right).await;

    let unknown = TlsFiles { certificate_authority: Some(other.certificate.clone()), ..right.clone() };
    let text = refused(server, &server.tls_url, &unknown).await;
    assert!(text.contains("broker.certificate_authority"), "{text}");

    let text = refused(server, &server.tls_url.replace("localhost", "127.0.0.1"), &right).await;
    assert!(text.contains("localhost") && text.contains("broker.url"), "{text}");

    let text = refused(server, &server.tls_url, &server.authority.trusted()).await;
    assert!(text.contains("a certificate of this client") && text.contains("broker.client_key"), "{text}");

    let stranger = TlsFiles { client: Some(other.sign("client")), ..right.clone() };
    let text = refused(server, &server.tls_url, &stranger).await;
    assert!(text.contains("broker.client_certificate"), "{text}");

    let text = refused(server, &server.url.replace("amqp://", "amqps://"), &right).await;
    assert!(text.contains("no TLS") && text.contains("broker.url"), "{text}");

    let text = refused(server, &server.url, &right).await;
    assert!(text.contains("amqps://"), "{text}");

    let text = refused(server, &server.tls_url.replace("guest:guest", "guest:wrong-secret"), &right).await;
    assert!(text.contains("user, password") && !text.contains("wrong-secret"), "{text}");
}

async fn a_known_client_is_served_over_tls(server: &Server, tls: &TlsFiles) {
    let options = AmqpOptions { url: Secret::new(&*server.tls_url), tls: tls.clone(), ..server.options() };
    let broker = AmqpBroker::connect(&options, &tasks()).await.unwrap();
    let task = task(5);
    broker.publish(&task).await.unwrap();
    let delivery = must_receive(&broker).await;
    assert_eq!(delivery.task, task);
    assert!(broker.acknowledge(&delivery).await.unwrap());
}

async fn refused(server: &Server, url: &str, tls: &TlsFiles) -> String {
    let options = AmqpOptions { url: Secret::new(url), tls: tls.clone(), ..server.options() };
    // A reset of the connection may overtake the alert that says why; then only another try tells.
    for _ in 0..50 {
        let refused = AmqpBroker::connect(&options, &tasks()).await.unwrap_err();
        if !refused.is_retryable() {
            return refused.to_string();
        }
        assert!(refused.to_string().contains("broker.client_certificate"), "{refused:?}");
    }
    panic!("{url} was never refused for a reason");
}
