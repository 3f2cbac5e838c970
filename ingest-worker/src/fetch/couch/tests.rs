//! Reading a `CouchDB` that is a double, with its faults.

mod double;

use std::time::Duration;

use clara_runtime::config::{HumanDuration, RemoteKind, RemoteSettings, Secret};
use serde_json::{Value, json};

use self::double::{Attached, Double};
use super::CouchDb;
use crate::fetch::{
    FetchError, Fetched, RemoteRequest,
    reading::{documents, goes_on_from_every_page, ids, record},
};

fn request(double: &Double) -> RemoteRequest {
    let settings = RemoteSettings {
        kind: Some(RemoteKind::CouchDb),
        url: Some(Secret::new(&double.url)),
        table: Some("uds3_files".to_owned()),
        fields: [("domain".to_owned(), "metadata.rechtsgebiet".to_owned())].into(),
        page: 7,
        parallel: 3,
        timeout: HumanDuration(Duration::from_secs(20)),
        patience: HumanDuration(Duration::from_secs(20)),
        ..RemoteSettings::default()
    };
    RemoteRequest {
        source: "@files".to_owned(),
        settings,
        domain: "verwaltungsrecht".parse().unwrap(),
        query: None,
        top_k: None,
        since: None,
    }
}

fn narrowed(double: &Double) -> RemoteRequest {
    let mut narrowed = request(double);
    narrowed.settings.filter = Some(r#"{"metadata.rechtsgebiet": "baurecht"}"#.to_owned());
    narrowed
}

async fn refusal(request: &RemoteRequest) -> String {
    let read = match CouchDb::open(request, None) {
        Ok(mut remote) => documents(&mut remote).await,
        Err(error) => Err(error),
    };
    match read {
        Err(error @ FetchError::Refused { .. }) => error.to_string(),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// Thirty files as UDS3 writes them, each third of another domain.
async fn filled() -> Double {
    let double = Double::start().await;
    for number in 0..30 {
        let area = if number % 3 == 0 { "baurecht" } else { "verwaltungsrecht" };
        let document = json!({"filename": format!("akte{number}.txt"), "metadata": {"rechtsgebiet": area, "seiten": number}, "created_at": "2025-11-01T00:00:00"});
        let attached = Attached::new(
            "akte.txt",
            "text/plain; charset=utf-8",
            format!("Text der Akte {number}.").into_bytes(),
        );
        double.put(&format!("f\"{number:03}/ä"), document, vec![attached]);
    }
    double.put("_design/search", json!({"views": {}}), vec![]);
    double
}

#[tokio::test]
async fn a_database_is_read_whole_with_the_texts_of_its_attachments() {
    let double = filled().await;
    let all = request(&double);
    let read = goes_on_from_every_page(|cursor| CouchDb::open(&all, cursor)).await.unwrap();
    assert_eq!(ids(&read), (0..30).map(|n| format!("f\"{n:03}/ä")).collect::<Vec<_>>());
    assert_eq!(
        Value::from(record(&read[4]).clone()),
        json!({"id": "f\"004/ä", "text": "Text der Akte 4.", "domain": "verwaltungsrecht", "filename": "akte4.txt", "metadata.seiten": "4",
            "created_at": "2025-11-01T00:00:00", "attachment": "akte.txt"})
    );
}

#[tokio::test]
async fn a_selector_is_followed_by_its_bookmarks() {
    let double = filled().await;
    let narrowed = narrowed(&double);
    let read = goes_on_from_every_page(|cursor| CouchDb::open(&narrowed, cursor)).await.unwrap();
    assert_eq!(read.len(), 10);
    assert!(read.iter().all(|document| record(document)["domain"] == "baurecht"));
}

#[tokio::test]
async fn a_server_that_repeats_its_page_ends_there() {
    let double = filled().await;
    double.change(|faults| faults.repeats_bookmarks = true);
    let read = documents(&mut CouchDb::open(&narrowed(&double), None).unwrap()).await.unwrap();
    assert_eq!(read.len(), 7, "the page that it repeats, once");
}

#[tokio::test]
async fn a_document_deleted_at_the_edge_of_a_page_takes_no_other_with_it() {
    use crate::fetch::Remote;
    let double = filled().await;
    let mut remote = CouchDb::open(&request(&double), None).unwrap();
    let mut found = ids(&remote.next_page().await.unwrap().unwrap().documents);
    double.delete("f\"005/ä");
    found.extend(ids(&documents(&mut remote).await.unwrap()));
    assert_eq!(found.len(), 30);
}

#[tokio::test]
async fn texts_within_documents_need_no_attachment_and_what_has_neither_is_broken() {
    let double = Double::start().await;
    double.put("a", json!({"text": "eins"}), vec![Attached::new("a.txt", "text/plain", b"weg".to_vec())]);
    double.put("b", json!({"titel": "leer"}), vec![]);
    double.put("c", json!({}), vec![Attached::new("bild.png", "image/png", vec![1, 2])]);
    double.put("d", json!({"instruction": "Frage", "output": "Antwort"}), vec![]);
    double.put(
        "e",
        json!({}),
        vec![Attached::new("e.html", "text/html; charset=iso-8859-1", b"<p>f\xfcr</p>".to_vec())],
    );
    double.put("f", json!({}), vec![Attached::new("f.txt", "text/plain", vec![0xff, 0xfe, 0xfd])]);
    double.put("g", json!({"long": "x".repeat(70 << 20)}), vec![]);
    double.put("h", json!({"text": "letzter"}), vec![]);
    let read = goes_on_from_every_page(|cursor| CouchDb::open(&request(&double), cursor)).await.unwrap();
    let told: Vec<String> = read
        .iter()
        .map(|document| match document {
            Fetched::Record(record) => {
                format!("{}: {}", record["id"].as_str().unwrap(), record.get("text").unwrap_or(&record["id"]))
            }
            Fetched::Broken { id, problem } => format!("{id}: {problem}"),
        })
        .collect();
    let expected = [
        "a: \"eins\"",
        "b: it has no text",
        "c: it has no text",
        "d: \"d\"",
        "e: \"für\"",
        "f: its attachment `f.txt` is no UTF-8",
        "g: it takes more than",
        "h: \"letzter\"",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "expected `{expected}` in {told}");
    }
    let mut found = request(&double);
    found.settings.filter = Some(r#"{"_id": {"$gt": null}}"#.to_owned());
    let by_selector = goes_on_from_every_page(|cursor| CouchDb::open(&found, cursor)).await.unwrap();
    assert_eq!(by_selector, read);
}

#[tokio::test]
async fn a_server_under_load_is_waited_for() {
    let double = filled().await;
    double.change(|faults| (faults.too_many, faults.failing) = (3, 2));
    let read = documents(&mut CouchDb::open(&request(&double), None).unwrap()).await.unwrap();
    assert_eq!(read.len(), 30);
    double.change(|faults| faults.failing = usize::MAX);
    let mut hasty = request(&double);
    hasty.settings.patience.0 = Duration::from_secs(1);
    let error = documents(&mut CouchDb::open(&hasty, None).unwrap()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn wrong_settings_are_refused() {
    let double = filled().await;
    let with = |change: &dyn Fn(&mut RemoteSettings)| {
        let mut changed = request(&double);
        change(&mut changed.settings);
        changed
    };
    let missing = refusal(&with(&|settings| settings.table = Some("nope".into()))).await;
    assert!(
        missing.contains("no database `nope`") && missing.contains("Database does not exist"),
        "{missing}"
    );
    let operator = refusal(&with(&|settings| settings.filter = Some(r#"{"a": {"$nope": 1}}"#.into()))).await;
    assert!(
        operator.contains("Invalid operator: $nope") && operator.contains("correct `filter`"),
        "{operator}"
    );
    assert!(
        refusal(&with(&|settings| settings.filter = Some("a = 1".into())))
            .await
            .contains("`filter` is no JSON")
    );
    assert!(
        refusal(&with(&|settings| settings.tenant = Some("a".into())))
            .await
            .contains("`tenant` means nothing")
    );
    double.change(|faults| faults.wants_password = true);
    let locked = refusal(&request(&double)).await;
    assert!(locked.contains("401") && locked.contains("token_env"), "{locked}");
    let bookmark = json!({"bookmark": "x"});
    let error = CouchDb::open(&request(&double), Some(&bookmark)).unwrap_err();
    assert!(error.to_string().contains("start anew"), "{error}");
    let mut user = request(&double);
    user.settings.user = Some("clara".to_owned());
    double.change(|faults| faults.user = Some("Basic Y2xhcmE6".to_owned()));
    assert_eq!(documents(&mut CouchDb::open(&user, None).unwrap()).await.unwrap().len(), 30);
}
