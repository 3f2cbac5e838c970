//! What of a URL is shown.

use std::borrow::Cow;

use super::{shown, shown_list};
use crate::spec::{IngestOptions, PanelJudge, RerankOptions};

#[test]
fn signatures_tokens_and_passwords_of_urls_are_hidden() {
    let secrets = ["geheim", "AKIAEXAMPLE", "6f1d5f0c9c"];
    for (url, expected) in [
        (
            "https://b.s3.amazonaws.com/law.jsonl?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLE%2F20260101&X-Amz-Expires=600&X-Amz-Signature=6f1d5f0c9c",
            "https://b.s3.amazonaws.com/law.jsonl?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=…&X-Amz-Expires=600&X-Amz-Signature=…",
        ),
        (
            "https://acct.blob.core.windows.net/c/law.csv?sv=2024-11-04&sr=b&sig=geheim%3D",
            "https://acct.blob.core.windows.net/c/law.csv?sv=2024-11-04&sr=b&sig=…",
        ),
        (
            "https://storage.googleapis.com/b/law.xml?GoogleAccessId=geheim&Expires=1&Signature=geheim",
            "https://storage.googleapis.com/b/law.xml?GoogleAccessId=…&Expires=1&Signature=…",
        ),
        ("https://host/f?api_key=geheim&id=7", "https://host/f?api_key=…&id=7"),
        ("https://host/f?X%2DAmz%2DSignature=geheim", "https://host/f?X%2DAmz%2DSignature=…"),
        ("https://host/f#access_token=geheim;id=7", "https://host/f#access_token=…;id=7"),
        ("https://anna:geheim@host:8443/f?id=7", "https://…@host:8443/f?id=7"),
        ("postgres://clara:geheim@db/laws", "postgres://…@db/laws"),
        ("https://host/f?x=6f1d5f0c9c6f1d5f0c9c6f1d5f0c9c6f1d5f0c9c6f1d5f0c9c", "https://host/f?x=…"),
    ] {
        assert_eq!(shown(url), expected);
        assert!(secrets.iter().all(|secret| !shown(url).contains(secret)), "{url}");
        assert_eq!(shown(expected), expected, "what was hidden stays so");
    }
}

#[test]
fn what_holds_no_secret_stays_as_it_is() {
    for place in [
        "@gesetze",
        "laws/**/*.xml",
        "/srv/a;b?c#d=e.jsonl",
        "https://host/f.jsonl",
        "https://host/f?id=7f8a2c&format=jsonl&q=Bebauungsplan+und+Au%C3%9Fenbereich",
        "https://host/f?id=0b7f6a0e-3b0e-4c57-9f6e-1a2b3c4d5e6f&sig=&token",
        "https://host/@anna/f.jsonl",
        "s3://bucket/laws/",
    ] {
        assert!(matches!(shown(place), Cow::Borrowed(same) if same == place), "{place}: {}", shown(place));
    }
    assert_eq!(shown_list(&["a.jsonl".into(), "https://h/f?sig=1".into()]), "a.jsonl, https://h/f?sig=…");
}

#[test]
fn options_are_shown_without_secrets_wherever_they_name_a_source() {
    let url = "https://host/law.jsonl?sig=geheim".to_owned();
    let mut options = IngestOptions { sources: vec![url.clone()], ..IngestOptions::default() };
    options.shape.weights = [(url, 0.5)].into();
    options.rerank = Some(RerankOptions {
        endpoint: "http://embedder:8080/v1?api_key=geheim".into(),
        model: "bge-m3".into(),
        api_key_env: None,
        candidates: 10,
        weight: 0.5,
    });
    let shown = options.shown();
    let text = format!("{shown:?}");
    assert_eq!((text.matches('…').count(), text.contains("geheim")), (3, false), "{text}");
    assert_eq!(shown.shown(), shown);
}

#[test]
fn a_specification_is_shown_without_the_keys_of_its_judges() {
    let mut spec = crate::samples::spec();
    let url = || "https://judge.example.org/v1?api-key=geheim".to_owned();
    spec.judge.url = Some(url());
    spec.judge.panel.push(PanelJudge { url: url(), model: None, api_key_env: None });
    let told = spec.shown();
    let hidden = "https://judge.example.org/v1?api-key=…";
    assert_eq!(told.judge.url.as_deref(), Some(hidden));
    assert_eq!(told.judge.panel[0].url, hidden);
    assert_eq!(spec.judge.url, Some(url()));
}
