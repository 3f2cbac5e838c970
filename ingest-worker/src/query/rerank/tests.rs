//! Ranking by a double of a server of embeddings.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use clara_lifecycle::spec::{IngestOptions, RerankOptions};
use clara_runtime::stop::StopReason;
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

use super::Reranker;
use crate::{
    error::IngestError,
    fetch::Collected,
    ingest::{IngestObserver, IngestRequest, run},
    query::tests::document,
    source::Document,
};

struct Watch(Option<StopReason>);

impl IngestObserver for Watch {
    fn documents(&self, _: u64, _: Option<u64>) {}

    fn stop(&self) -> Option<StopReason> {
        self.0
    }
}

/// A server of embeddings that counts what it is asked.
struct Double {
    _runtime: Runtime,
    url: String,
    requests: Arc<AtomicUsize>,
    texts: Arc<AtomicUsize>,
}

impl Double {
    /// Answers each request by its number and body.
    fn new(
        answer: impl Fn(usize, &HeaderMap, &Value) -> (StatusCode, Value) + Clone + Send + Sync + 'static,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let (requests, texts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&requests), Arc::clone(&texts));
        let handler = move |headers: HeaderMap, Json(body): Json<Value>| {
            let number = counts.0.fetch_add(1, Ordering::SeqCst);
            counts.1.fetch_add(body["input"].as_array().map_or(0, Vec::len), Ordering::SeqCst);
            let (status, reply) = answer(number, &headers, &body);
            async move { (status, [("retry-after", "0")], Json(reply)).into_response() }
        };
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/embeddings", post(handler));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { _runtime: runtime, url, requests, texts }
    }

    fn options(&self) -> RerankOptions {
        RerankOptions {
            endpoint: self.url.clone(),
            model: "embedder".into(),
            api_key_env: None,
            candidates: 100,
            weight: 0.5,
        }
    }
}

/// Vectors of how often a text speaks of the sun and of the water, and a little of both; in reverse order.
fn sun_and_water(body: &Value) -> Value {
    let inputs = body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    let vectors =
        inputs.map(|text| json!([text.matches("Sonne").count(), text.matches("Wasser").count(), 0.01]));
    let mut data: Vec<Value> = vectors
        .zip(0..)
        .map(|(vector, index): (Value, u32)| json!({"index": index, "embedding": vector}))
        .collect();
    data.reverse();
    json!({"object": "list", "data": data, "model": "embedder"})
}

fn documents() -> Vec<Document> {
    ["Wasser und Wasser", "Die Sonne scheint", "Sonne und Wasser"]
        .map(|text| document("x", text, &[]))
        .to_vec()
}

fn rerank(
    options: &RerankOptions,
    scores: Vec<(u64, f32)>,
    documents: &[Document],
) -> Result<Vec<(u64, f32)>, IngestError> {
    let watch = Watch(None);
    let mut reranker = Reranker::new(options, "Sonne", scores, &watch)?;
    for (number, document) in (0..).zip(documents) {
        reranker.take(number, document)?;
    }
    let mut scores = reranker.finish()?.0;
    scores.sort_by(|left, right| right.1.total_cmp(&left.1));
    Ok(scores)
}

#[test]
fn similarity_and_words_are_mixed_by_the_weight() {
    let double = Double::new(|_, _, body| (StatusCode::OK, sun_and_water(body)));
    let scores = vec![(0, 4.0), (1, 2.0), (2, 1.0)];
    let order = |weight| {
        let options = RerankOptions { weight, ..double.options() };
        rerank(&options, scores.clone(), &documents()).unwrap()
    };
    let places = |scores: &[(u64, f32)]| scores.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!(places(&order(0.0)), [0, 1, 2]);
    assert_eq!(places(&order(1.0)), [1, 2, 0]);
    let mixed = order(0.5);
    assert_eq!(places(&mixed), [1, 0, 2]);
    // Words give a half of 2.0 / 4.0; both texts point the same way.
    assert!((mixed[0].1 - (0.25 + 0.5)).abs() < 1e-4, "{mixed:?}");
}

#[test]
fn only_candidates_are_embedded_in_batches_and_the_others_stay_behind_them() {
    let double = Double::new(|_, _, body| (StatusCode::OK, sun_and_water(body)));
    let texts: Vec<Document> = (0..100).map(|n| document("x", &format!("Wasser {n}"), &[])).collect();
    let scores: Vec<(u64, f32)> = (0..100u8).map(|n| (u64::from(n), 200.0 - f32::from(n))).collect();
    let options = RerankOptions { candidates: 70, ..double.options() };
    let reranked = rerank(&options, scores, &texts).unwrap();
    assert_eq!(double.requests.load(Ordering::SeqCst), 1 + 3);
    assert_eq!(double.texts.load(Ordering::SeqCst), 1 + 70);
    let behind: Vec<u64> = reranked.iter().skip(70).map(|(number, _)| *number).collect();
    assert_eq!(behind, (70..100).collect::<Vec<_>>());
}

#[test]
fn a_busy_server_is_asked_again() {
    let double = Double::new(|number, _, body| match number {
        0 => (StatusCode::TOO_MANY_REQUESTS, json!({"error": {"message": "slow down"}})),
        1 => (StatusCode::BAD_GATEWAY, json!("oops")),
        _ => (StatusCode::OK, sun_and_water(body)),
    });
    assert_eq!(rerank(&double.options(), vec![(1, 1.0)], &documents()).unwrap().len(), 1);
    assert_eq!(double.requests.load(Ordering::SeqCst), 4);
}

#[test]
fn a_server_that_stays_busy_may_be_tried_again_later() {
    let double =
        Double::new(|_, _, _| (StatusCode::SERVICE_UNAVAILABLE, json!({"error": {"message": "loading"}})));
    let error = rerank(&double.options(), vec![(1, 1.0)], &documents()).unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().contains("503") && error.to_string().contains("after 5 tries"), "{error}");
}

#[test]
fn a_wrong_model_is_final() {
    let double = Double::new(|_, _, _| {
        (StatusCode::NOT_FOUND, json!({"error": {"message": "the model `embedder` does not exist"}}))
    });
    let error = rerank(&double.options(), vec![(1, 1.0)], &documents()).unwrap_err();
    assert!(!error.is_retryable());
    assert!(
        error.to_string().contains("does not exist") && error.to_string().contains("ingest.rerank.model"),
        "{error}"
    );
    assert_eq!(double.requests.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_no_embedding_is_refused() {
    type Answer = fn(usize, &HeaderMap, &Value) -> (StatusCode, Value);
    let cases: [(Answer, &str); 4] = [
        (|_, _, _| (StatusCode::OK, json!({"choices": []})), "gave no embeddings"),
        (|_, _, _| (StatusCode::OK, json!({"data": []})), "0 embeddings for 1 texts"),
        (
            |_, _, _| (StatusCode::OK, json!({"data": [{"index": 0, "embedding": [0.0, 0.0]}]})),
            "without direction",
        ),
        (
            |number, _, body| {
                let vector = if number == 0 { json!([1.0]) } else { json!([1.0, 2.0]) };
                let count = body["input"].as_array().unwrap().len();
                let data: Vec<Value> =
                    (0..count).map(|index| json!({"index": index, "embedding": vector})).collect();
                (StatusCode::OK, json!({"data": data}))
            },
            "of 1 and of 2 numbers",
        ),
    ];
    for (answer, part) in cases {
        let double = Double::new(answer);
        let error = rerank(&double.options(), vec![(0, 2.0), (1, 1.0)], &documents()).unwrap_err();
        assert!(!error.is_retryable() && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn only_variables_for_keys_are_read_and_a_missing_one_is_named() {
    let double = Double::new(|_, _, body| (StatusCode::OK, sun_and_water(body)));
    for (variable, part) in
        [("PATH", "end in _API_KEY"), ("CLARA_TEST_MISSING_API_KEY", "has no environment variable")]
    {
        let options = RerankOptions { api_key_env: Some(variable.into()), ..double.options() };
        let error = rerank(&options, vec![(1, 1.0)], &documents()).unwrap_err();
        assert!(!error.is_retryable() && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_stop_ends_the_wait_for_a_server_that_says_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = RerankOptions {
        endpoint: format!("http://{}/v1", silent.local_addr().unwrap()),
        model: "embedder".into(),
        api_key_env: None,
        candidates: 10,
        weight: 0.5,
    };
    let watch = Watch(Some(StopReason::Cancel));
    let stopped = Reranker::new(&options, "Sonne", vec![(1, 1.0)], &watch).err().unwrap();
    assert!(matches!(stopped, IngestError::Stopped(StopReason::Cancel)));
}

#[test]
fn a_server_of_embeddings_sees_no_personal_data() {
    let seen = Arc::new(parking_lot::Mutex::new(String::new()));
    let told = Arc::clone(&seen);
    let double = Double::new(move |_, _, body| {
        told.lock().push_str(&body.to_string());
        (StatusCode::OK, sun_and_water(body))
    });
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = folder.path().join("law.jsonl");
    let text = "Die Sonne scheint auf das Dach; Rückfragen an max@beispiel.de, danke.";
    std::fs::write(&source, format!("{}\n", json!({ "text": text }))).unwrap();
    let options = IngestOptions {
        sources: vec![source.to_str().unwrap().to_owned()],
        query: Some("Sonne".into()),
        rerank: Some(double.options()),
        ..IngestOptions::default()
    };
    let request = IngestRequest {
        options: &options,
        domain: &"verwaltungsrecht".parse().unwrap(),
        golden: None,
        known: &[],
        base_model: None,
        collected: &Collected::default(),
        out: &folder.path().join("out"),
        scratch: scratch.path(),
    };
    run(&request, &Watch(None)).unwrap();
    let seen = seen.lock().clone();
    assert!(seen.contains("[E-MAIL]") && !seen.contains("beispiel"), "{seen}");
}
