//! Tests of the client against a real HTTP server on this machine.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::score::Criterion;
use clara_runtime::{
    clock::SystemClock,
    stop::{StopReason, stop_switch},
};

use serde_json::json;

use super::{
    Access, Allowance, Ask, CallError, Endpoint, Endpoints, Finish, Pacing, Reply, ReplyMode, Secret,
};
use crate::{
    ledger::Terms,
    prompt::{Message, Schema},
    testing::{Call, Canned, Desk, Double},
};

fn access(url: &str) -> Access {
    let (first_pause, longest_pause) = (Duration::from_millis(1), Duration::from_millis(2));
    Access {
        url: url.to_owned(),
        key: Some(Secret("sk-secret".into())),
        timeout: Duration::from_secs(20),
        pacing: Pacing { max_tries: 4, first_pause, longest_pause },
        allowance: Allowance { concurrency: 4, requests_per_minute: 0, tokens_per_minute: 0 },
        is_own: false,
        clock: Arc::new(SystemClock),
    }
}

fn schema() -> Schema {
    let marks = Criterion::ALL.map(|criterion| (criterion.as_str(), Schema::Mark));
    Schema::Object(vec![("scores", Schema::Object(marks.into()))])
}

fn ask<'a>(messages: &'a [Message], schema: &'a Schema) -> Ask<'a> {
    Ask {
        model: "judge-model",
        messages,
        schema,
        max_tokens: 256,
        temperature: 0.0,
        logprobs: false,
        repeat: 0,
        is_readable: &|reply| !reply.text.is_empty(),
        seed: 1,
    }
}

/// An endpoint of a process and a job that know nothing yet.
async fn endpoint(access: Access) -> Result<Called, CallError> {
    let desk = Desk::new();
    let ledger = desk.ledger(1, Terms::default()).await;
    Ok(Called { endpoint: Endpoint::new(access, &Endpoints::default(), &ledger)?, _desk: desk })
}

/// An endpoint with the store of its ledger.
#[derive(Debug)]
struct Called {
    endpoint: Endpoint,
    _desk: Desk,
}

impl std::ops::Deref for Called {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

async fn chat(endpoint: &Endpoint) -> Result<Reply, CallError> {
    let (_switch, stop) = stop_switch();
    let messages = [Message { role: "user", content: "Bewerte.".into() }];
    endpoint.chat(&ask(&messages, &schema()), &stop).await
}

async fn chat_with(double: &Double) -> Result<Reply, CallError> {
    let called = endpoint(access(&double.url)).await?;
    chat(&called).await
}

/// A script that answers `first` to the first calls, then well.
fn after(first: Vec<Canned>) -> impl Fn(&Call) -> Canned {
    move |call| first.get(call.index).cloned().unwrap_or_else(|| Canned::scores(8))
}

#[tokio::test]
async fn a_call_has_the_shape_that_openai_documents() {
    let double = Double::start(after(vec![])).await;
    let reply = chat_with(&double).await.unwrap();
    assert_eq!((reply.finish, reply.mode), (Finish::Stop, ReplyMode::JsonSchema));
    assert_eq!(
        (reply.model.as_deref(), reply.system_fingerprint.as_deref()),
        (Some("judge-model-0101"), Some("fp_1"))
    );
    assert_eq!(reply.usage.unwrap().prompt_tokens, 100);

    let call = double.chats().remove(0);
    assert_eq!(call.path, "/v1/chat/completions");
    assert_eq!(call.headers["authorization"], "Bearer sk-secret");
    assert_eq!(call.headers["content-type"], "application/json");
    // A model writes the properties in the order in which they arrive.
    let order = Criterion::ALL.map(|criterion| call.raw.find(&format!("\"{criterion}\"")));
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{}", call.raw);
    let format = &call.body["response_format"];
    assert_eq!((&format["type"], &format["json_schema"]["strict"]), (&"json_schema".into(), &true.into()));
    assert_eq!(format["json_schema"]["schema"], serde_json::to_value(schema()).unwrap());
    assert_eq!((&call.body["temperature"], &call.body["max_tokens"]), (&0.0.into(), &256.into()));
}

#[tokio::test]
async fn busy_and_failing_answers_are_tried_again_until_a_good_one() {
    let busy = Canned::error(429, "rate_limit_exceeded", "slow down").with("retry-after-ms", "2");
    let double =
        Double::start(after(vec![busy, Canned::status(503, ""), Canned::status(500, "<html>")])).await;
    assert!(chat_with(&double).await.is_ok());
    assert_eq!(double.chats().len(), 4);
}

#[tokio::test]
async fn an_asked_pause_is_kept() {
    let busy = Canned::error(429, "rate_limit_exceeded", "slow down").with("retry-after", "0.2");
    let double = Double::start(after(vec![busy])).await;
    let started = std::time::Instant::now();
    chat_with(&double).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_endpoint_that_stays_busy_is_down_and_the_message_says_what_to_do() {
    let double = Double::start(|_| Canned::status(503, "overloaded")).await;
    let error = chat_with(&double).await.unwrap_err();
    assert!(matches!(&error, CallError::Down { tries: 4, .. }) && error.is_retryable(), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains(&double.url) && message.contains("overloaded") && message.contains("resume"),
        "{message}"
    );
    assert_eq!(double.chats().len(), 4);
}

#[tokio::test]
async fn nobody_at_the_port_is_down() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let called = endpoint(access(&url)).await.unwrap();
    let error = chat(&called).await.unwrap_err();
    assert!(matches!(&error, CallError::Down { .. }), "{error:?}");
    assert!(error.to_string().contains(&url), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_down_after_the_timeout() {
    // Accepts connections by its backlog alone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let mut access = access(&url);
    access.timeout = Duration::from_millis(20);
    access.pacing.max_tries = 2;
    let called = endpoint(access).await.unwrap();
    let error = chat(&called).await.unwrap_err();
    assert!(matches!(&error, CallError::Down { tries: 2, .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_that_is_not_openais_is_tried_again_then_an_error() {
    let double = Double::start(after(vec![Canned::status(200, "{\"choices\": [")])).await;
    assert!(chat_with(&double).await.is_ok());
    let double = Double::start(|_| Canned::status(200, "<html>proxy</html>")).await;
    let error = chat_with(&double).await.unwrap_err();
    assert!(matches!(error, CallError::ServerError { .. }), "{error:?}");
    assert_eq!(double.chats().len(), 4);
}

#[tokio::test]
async fn a_used_up_quota_is_final_at_once() {
    let double = Double::start(|_| Canned::error(429, "insufficient_quota", "pay first")).await;
    let error = chat_with(&double).await.unwrap_err();
    assert!(matches!(error, CallError::Quota { .. }) && !error.is_retryable(), "{error:?}");
    assert_eq!(double.chats().len(), 1);
}

#[tokio::test]
async fn a_wrong_key_is_final_and_the_key_stands_in_no_message() {
    let double =
        Double::start(|_| Canned::error(401, "invalid_api_key", "Incorrect API key: sk-secret")).await;
    let error = chat_with(&double).await.unwrap_err();
    assert!(matches!(error, CallError::Refused { status: 401, .. }), "{error:?}");
    assert!(!error.to_string().contains("sk-secret"), "{error}");
    assert!(!format!("{error:?} {:?}", access(&double.url)).contains("sk-secret"));
}

#[tokio::test]
async fn what_an_endpoint_refuses_is_left_out_from_then_on() {
    let double = Double::start(|call: &Call| {
        if call.body.get("response_format").is_some() {
            Canned::error(400, "invalid", "Unknown parameter: 'response_format'")
        } else if call.body.get("max_tokens").is_some() {
            Canned::error(400, "unsupported_parameter", "'max_tokens': use 'max_completion_tokens' instead.")
        } else if call.body.get("temperature").is_some() {
            Canned::error(422, "unsupported_value", "'temperature' does not support 0.0 with this model")
        } else {
            Canned::scores(8)
        }
    })
    .await;
    let endpoint = endpoint(access(&double.url)).await.unwrap();
    assert_eq!(chat(&endpoint).await.unwrap().mode, ReplyMode::Text);
    assert_eq!(double.chats().len(), 6);
    let (_switch, stop) = stop_switch();
    let (messages, schema) = ([Message { role: "user", content: "Und diese?".into() }], schema());
    assert_eq!(endpoint.chat(&ask(&messages, &schema), &stop).await.unwrap().mode, ReplyMode::Text);
    let calls = double.chats();
    assert_eq!((calls.len(), &calls[6].body["max_completion_tokens"]), (7, &256.into()));
}

#[tokio::test]
async fn a_request_that_is_too_long_is_rejected_without_another_try() {
    let double =
        Double::start(|_| Canned::error(400, "context_length_exceeded", "at most 4096 tokens")).await;
    let error = chat_with(&double).await.unwrap_err();
    assert!(matches!(&error, CallError::Rejected { detail, .. } if detail.contains("4096")), "{error:?}");
    assert_eq!(double.chats().len(), 1);
}

#[tokio::test]
async fn a_stop_ends_a_pause_at_once() {
    let double = Double::start(|_| Canned::status(503, "").with("retry-after", "100")).await;
    let endpoint = endpoint(access(&double.url)).await.unwrap();
    let (switch, stop) = stop_switch();
    let messages = [Message { role: "user", content: "Bewerte.".into() }];
    let schema = schema();
    let ask = ask(&messages, &schema);
    let stopping = async {
        while double.chats().is_empty() {
            tokio::task::yield_now().await;
        }
        switch.stop(StopReason::Cancel);
    };
    let calling = async { endpoint.chat(&ask, &stop).await };
    let waited =
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(calling, stopping).0 }).await;
    assert_eq!(waited.unwrap(), Err(CallError::Stopped(StopReason::Cancel)));
}

#[tokio::test]
async fn the_first_listed_model_is_taken() {
    let double = Double::start(after(vec![])).await;
    let (_switch, stop) = stop_switch();
    assert_eq!(endpoint(access(&double.url)).await.unwrap().first_model(&stop).await.unwrap(), "judge-model");
}

#[tokio::test]
async fn a_url_of_another_kind_is_refused() {
    for url in ["ftp://host/v1", "not a url", ""] {
        let error = endpoint(access(url)).await.unwrap_err();
        assert!(matches!(&error, CallError::Setup { .. }) && !error.is_retryable(), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn what_a_model_understands_is_found_out_by_one_call_and_remembered_for_the_process() {
    let double = Double::start(|call: &Call| {
        if call.body["response_format"]["type"] == "json_schema" {
            return Canned::error(400, "invalid", "response_format: json_schema is not known");
        }
        Canned::scores(8)
    })
    .await;
    let (endpoints, desk) = (Endpoints::default(), Desk::new());
    for attempt in 1..=2 {
        let ledger = desk.ledger(attempt, Terms::default()).await;
        let endpoint = Endpoint::new(access(&double.url), &endpoints, &ledger).unwrap();
        let (_switch, stop) = stop_switch();
        let schema = schema();
        let messages: Vec<_> =
            (0..8).map(|n| [Message { role: "user", content: format!("Frage {attempt} {n}") }]).collect();
        let asks: Vec<_> = messages.iter().map(|messages| ask(messages, &schema)).collect();
        let replies = futures::future::join_all(asks.iter().map(|ask| endpoint.chat(ask, &stop))).await;
        assert!(replies.iter().all(|reply| reply.as_ref().unwrap().mode == ReplyMode::JsonObject));
    }
    // Both kinds of schema were refused once.
    assert_eq!(double.chats().len(), 2 + 16);
}

#[tokio::test]
async fn probabilities_of_tokens_are_asked_for_and_read_where_the_endpoint_tells_them() {
    let double = Double::start(|call: &Call| {
        if call.body["top_logprobs"] == 20 {
            return Canned::error(400, "invalid", "top_logprobs must be at most 5");
        }
        let top = json!([{"token": "8", "logprob": -0.1}, {"token": "7", "logprob": -2.5}]);
        let content = json!([{"token": "8", "logprob": -0.1, "top_logprobs": top}]);
        let message = json!({"role": "assistant", "content": "8"});
        let choice = json!({"message": message, "finish_reason": "stop", "logprobs": {"content": content}});
        Canned::status(200, json!({"id": "chatcmpl-7", "choices": [choice]}).to_string())
    })
    .await;
    let endpoint = endpoint(access(&double.url)).await.unwrap();
    let (_switch, stop) = stop_switch();
    let (messages, schema) = ([Message { role: "user", content: "Bewerte.".into() }], schema());
    let reply = endpoint.chat(&Ask { logprobs: true, ..ask(&messages, &schema) }, &stop).await.unwrap();
    let told = reply.tokens_logprobs.unwrap();
    assert_eq!(
        (told[0].token.as_str(), told[0].top.len(), reply.id.as_deref()),
        ("8", 2, Some("chatcmpl-7"))
    );
    let calls = double.chats();
    assert_eq!(
        (calls.len(), &calls[1].body["top_logprobs"], &calls[1].body["logprobs"]),
        (2, &5.into(), &true.into())
    );
}
