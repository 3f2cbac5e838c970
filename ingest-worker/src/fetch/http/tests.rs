//! Requests to servers that fail in many ways.

use clara_runtime::config::RemoteSettings;

use super::{answer::message, *};

fn settings(url: &str) -> RemoteSettings {
    RemoteSettings { url: Some(Secret::new(url)), ..RemoteSettings::default() }
}

#[test]
fn errors_are_understood_in_every_shape() {
    for (body, expected) in [
        (
            r#"{"error":true,"message":"No fulltext index on t.c","status_code":400}"#,
            "No fulltext index on t.c",
        ),
        (r#"{"error":"forbidden","message":"Missing scope data:read"}"#, "Missing scope data:read"),
        (r#"{"status":"error","error":"Unknown format"}"#, "Unknown format"),
        (r#"{"error":"not_found","reason":"missing"}"#, "missing"),
        (r#"{"error":{"code":"E1","message":"inner"}}"#, "inner"),
    ] {
        assert_eq!(message(body.as_bytes()).as_deref(), Some(expected));
    }
    assert_eq!(message(b"<html>gone</html>"), None);
    assert_eq!(message(br#"{"error":true,"status_code":500}"#), None);
}

#[test]
fn a_long_message_is_cut_and_loses_its_line_breaks() {
    let body = serde_json::json!({ "message": "a\nb".repeat(1000) }).to_string();
    let text = message(body.as_bytes()).unwrap();
    assert_eq!(text.chars().count(), 300);
    assert!(!text.contains('\n'));
}

#[test]
fn a_key_keeps_its_colon_and_loses_what_a_path_cannot_hold() {
    assert_eq!(encode("documents:d 1/ä?#%"), "documents:d%201%2F%C3%A4%3F%23%25");
}

#[test]
fn settings_that_cannot_be_used_are_refused_with_their_name() {
    let refused = |settings: &RemoteSettings| Http::new("@g", settings).unwrap_err().to_string();
    assert!(refused(&settings("ftp://host")).contains("[sources.g].url"));
    let no_token =
        RemoteSettings { token_env: Some("CLARA_TEST_NO_SUCH_TOKEN".into()), ..settings("http://h") };
    assert!(refused(&no_token).contains("CLARA_TEST_NO_SUCH_TOKEN is not set"));
    let no_file = RemoteSettings { ca_certificate: Some("/no/such.pem".into()), ..settings("https://h") };
    assert!(refused(&no_file).contains("cannot read /no/such.pem"));
    let no_pem = RemoteSettings { ca_certificate: Some("Cargo.toml".into()), ..settings("https://h") };
    assert!(refused(&no_pem).contains("holds no certificate in PEM"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_given_up_when_patience_ends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:hidden@{}", listener.local_addr().unwrap());
    drop(listener);
    let mut settings = settings(&url);
    settings.patience.0 = Duration::from_millis(350);
    let http = Http::new("@g", &settings).unwrap();
    let error = http.ask(&Ask::get("health")).await.unwrap_err();
    assert!(error.is_retryable());
    let text = error.to_string();
    assert!(text.contains("no connection") && text.contains("[sources.g].patience"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}
