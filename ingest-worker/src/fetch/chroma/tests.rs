//! Reading a Chroma that is a double, with its faults.

mod double;

use std::{collections::BTreeMap, time::Duration};

use clara_runtime::config::{HumanDuration, RemoteKind, RemoteSettings, Secret};
use serde_json::{Value, json};

use self::double::Double;
use super::Chroma;
use crate::fetch::{
    FetchError, Fetched, Remote, RemoteRequest,
    reading::{documents, goes_on_from_every_page, ids, record},
};

fn request(url: &str, collection: &str) -> RemoteRequest {
    let settings = RemoteSettings {
        kind: Some(RemoteKind::Chroma),
        url: Some(Secret::new(url)),
        table: Some(collection.to_owned()),
        fields: BTreeMap::from([("domain".to_owned(), "rechtsgebiet".to_owned())]),
        page: 10,
        parallel: 3,
        timeout: HumanDuration(Duration::from_secs(20)),
        patience: HumanDuration(Duration::from_secs(20)),
        ..RemoteSettings::default()
    };
    RemoteRequest {
        source: "@laws".to_owned(),
        settings,
        domain: "verwaltungsrecht".parse().unwrap(),
        query: None,
        top_k: None,
        since: None,
    }
}

async fn refusal(request: &RemoteRequest) -> String {
    let read = match Chroma::open(request, None) {
        Ok(mut remote) => documents(&mut remote).await,
        Err(error) => Err(error),
    };
    match read {
        Err(error @ FetchError::Refused { .. }) => error.to_string(),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// Makes a collection anew and fills it; answers its path.
async fn fill(url: &str, name: &str, records: &[Value]) -> String {
    let all = format!("{url}/api/v2/tenants/default_tenant/databases/default_database/collections");
    let made = post(&all, json!({ "name": name })).await;
    let path = format!("{all}/{}", made["id"].as_str().unwrap());
    for some in records.chunks(200) {
        let column = |name: &str| some.iter().map(|record| record[name].clone()).collect::<Vec<_>>();
        let embeddings: Vec<Value> = some.iter().map(|_| json!([0.5, 0.5])).collect();
        let body = json!({ "ids": column("id"), "documents": column("text"), "metadatas": column("metadata"), "embeddings": embeddings });
        post(&format!("{path}/add"), body).await;
    }
    path
}

async fn post(url: &str, body: Value) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let answer = client.post(url).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

/// A chunk as UDS3 writes it.
fn chunk(document: usize, index: usize) -> Value {
    let area = if document.is_multiple_of(3) { "baurecht" } else { "verwaltungsrecht" };
    json!({
        "id": format!("d{document:03}::chunk::{index}"), "text": format!("Teil {index} von {document}."),
        "metadata": { "document_id": format!("d{document:03}"), "chunk_index": index, "rechtsgebiet": area, "titel": format!("Titel {document}"), "page": index / 2 },
    })
}

/// Forty documents of one to twelve chunks, which lie in no order.
fn chunks() -> Vec<Value> {
    let all = (0..40).flat_map(|document| (0..=document % 12).map(move |index| chunk(document, index)));
    let mut all: Vec<Value> = all.collect();
    all.sort_by_key(|chunk| {
        crate::source::source_digest(&[clara_lifecycle::dataset::SourceFileEntry {
            name: chunk["id"].to_string(),
            size_bytes: 0,
            digest: clara_lifecycle::digest::Digest::from_hash(&[0; 32]),
        }])
        .to_string()
    });
    all
}

/// What every Chroma must pass, the real one and the double.
async fn suite(url: &str) {
    whole_collections_are_read(url).await;
    documents_without_metadata_are_known_by_their_ids(url).await;
    damaged_documents_are_broken(url).await;
    wrong_settings_are_refused(url).await;
}

async fn whole_collections_are_read(url: &str) {
    fill(url, "document_chunks", &chunks()).await;
    let all = request(url, "document_chunks");
    let read = goes_on_from_every_page(|cursor| Chroma::open(&all, cursor)).await.unwrap();
    assert_eq!(ids(&read), (0..40).map(|n| format!("d{n:03}")).collect::<Vec<_>>());
    let eleventh = record(&read[11]);
    let text: Vec<String> = (0..=11).map(|index| format!("Teil {index} von 11.")).collect();
    assert_eq!(
        Value::from(eleventh.clone()),
        json!({"id": "d011", "text": text.join("\n"), "domain": "verwaltungsrecht", "titel": "Titel 11"})
    );
    let mut narrowed = all.clone();
    narrowed.settings.filter = Some(r#"{"rechtsgebiet": "baurecht"}"#.to_owned());
    let read = goes_on_from_every_page(|cursor| Chroma::open(&narrowed, cursor)).await.unwrap();
    assert_eq!(read.len(), 14);
    assert!(read.iter().all(|document| record(document)["domain"] == "baurecht"));
    let page = Chroma::open(&narrowed, None).unwrap().next_page().await.unwrap().unwrap();
    assert_eq!(page.total, Some(14));
}

async fn documents_without_metadata_are_known_by_their_ids(url: &str) {
    let records = [
        json!({"id": "b::chunk::1", "text": "zwei", "metadata": null}),
        json!({"id": "a", "text": "ein Ganzes", "metadata": null}),
        json!({"id": "b::chunk::0", "text": "eins", "metadata": null}),
        json!({"id": "x", "text": "drei", "metadata": {"document_id": 7, "chunk_index": 1}}),
        json!({"id": "y", "text": "vier", "metadata": {"document_id": 7, "chunk_index": 2}}),
    ];
    fill(url, "plain", &records).await;
    let plain = request(url, "plain");
    let read = goes_on_from_every_page(|cursor| Chroma::open(&plain, cursor)).await.unwrap();
    let texts: Vec<(String, Value)> =
        ids(&read).into_iter().zip(read.iter().map(|document| record(document)["text"].clone())).collect();
    let expected = [("7", "drei\nvier"), ("a", "ein Ganzes"), ("b", "eins\nzwei")];
    assert_eq!(texts, expected.map(|(id, text)| (id.to_owned(), json!(text))));
}

async fn damaged_documents_are_broken(url: &str) {
    let mut records = vec![chunk(1, 0), chunk(1, 2), chunk(2, 0), chunk(2, 1), chunk(3, 2)];
    records[3]["text"] = Value::Null;
    records.push(json!({"id": "z", "text": "ohne Nummer", "metadata": {"document_id": "d004"}}));
    records.push(json!({"id": "zz", "text": "ohne Nummer", "metadata": {"document_id": "d004"}}));
    records.push(chunk(5, 0));
    fill(url, "damaged", &records).await;
    let read = documents(&mut Chroma::open(&request(url, "damaged"), None).unwrap()).await.unwrap();
    let problems: Vec<String> = read
        .iter()
        .map(|document| match document {
            Fetched::Broken { id, problem } => format!("{id}: {problem}"),
            Fetched::Record(record) => record["id"].to_string(),
        })
        .collect();
    let expected = [
        "chunk 1 is missing",
        "`d002::chunk::1` has no text",
        "numbers begin at 2",
        "has no number in `chunk_index`",
        "d005",
    ];
    assert_eq!(problems.len(), expected.len());
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "expected `{expected}` in {problem}");
    }
}

async fn wrong_settings_are_refused(url: &str) {
    let said = refusal(&request(url, "nope")).await;
    assert!(
        said.contains("no collection `nope`")
            && said.contains("document_chunks")
            && said.contains("correct `table`"),
        "{said}"
    );
    let mut filtered = request(url, "document_chunks");
    filtered.settings.filter = Some(r#"{"$nope": 1}"#.to_owned());
    assert!(refusal(&filtered).await.contains("correct `filter`"));
    filtered.settings.filter = Some("rechtsgebiet = 'baurecht'".to_owned());
    assert!(refusal(&filtered).await.contains("`filter` is no JSON"));
    let mut foreign = request(url, "document_chunks");
    foreign.settings.key = Some("id".to_owned());
    assert!(refusal(&foreign).await.contains("`key` means nothing"));
    let error = Chroma::open(&request(url, "document_chunks"), Some(&json!({"after": "d001"}))).unwrap_err();
    assert!(error.to_string().contains("its cursor is not one of Chroma"), "{error}");
}

#[tokio::test]
async fn the_double_gives_each_document_once_with_its_chunks_in_order() {
    let double = Double::start().await;
    suite(&double.url).await;
}

#[tokio::test]
#[ignore = "needs Chroma: make uds3"]
async fn live_chroma_gives_each_document_once_with_its_chunks_in_order() {
    let url = std::env::var("CHROMA_URL").expect("scripts/uds3.sh sets CHROMA_URL");
    suite(&url).await;
}

#[tokio::test]
async fn a_collection_that_loses_records_while_it_is_listed_is_listed_anew() {
    let double = Double::start().await;
    fill(&double.url, "document_chunks", &chunks()).await;
    // After the second page of the listing a document of the first page goes.
    double.delete_after(3, "d001::chunk::0");
    double.delete_after(3, "d001::chunk::1");
    let read =
        documents(&mut Chroma::open(&request(&double.url, "document_chunks"), None).unwrap()).await.unwrap();
    let expected: Vec<String> = (0..40).filter(|n| *n != 1).map(|n| format!("d{n:03}")).collect();
    assert_eq!(ids(&read), expected);
    assert!(read.iter().all(|document| matches!(document, Fetched::Record(_))));
}

#[tokio::test]
async fn a_document_that_goes_after_the_listing_is_left_out() {
    let double = Double::start().await;
    fill(&double.url, "document_chunks", &[chunk(12, 0), chunk(24, 0), chunk(36, 0)]).await;
    double.delete_after(1, "d024::chunk::0");
    let read =
        documents(&mut Chroma::open(&request(&double.url, "document_chunks"), None).unwrap()).await.unwrap();
    assert_eq!(ids(&read), ["d012", "d036"]);
}

#[tokio::test]
async fn a_server_of_another_kind_is_refused() {
    let double = Double::start().await;
    let said = refusal(&request(&format!("{}/elsewhere", double.url), "document_chunks")).await;
    assert!(said.contains("404") || said.contains("no collection"), "{said}");
}
