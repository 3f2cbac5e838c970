//! Behaviour of the server on the tiny random model.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

async fn served() -> (Router, Arc<Service>) {
    let config = ServeConfig::new(fixture("tiny-llama"));
    let service = Arc::new(load(&config, &ModelCache::new()).await.unwrap());
    service.add_adapter("recht", &fixture("peft-tiny/final")).await.unwrap();
    (routes::router(Arc::clone(&service)), service)
}

async fn send(router: &Router, method: &str, path: &str, body: String) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn get(router: &Router, path: &str) -> (StatusCode, Value) {
    let (status, body) = send(router, "GET", path, String::new()).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// A chat request of eight tokens, with `changes` put over it.
fn chat(changes: Value) -> String {
    let mut body = json!({
        "model": "tiny-llama", "max_tokens": 8, "messages": [{ "role": "user", "content": "Brauche ich das?" }],
    });
    let Value::Object(changes) = changes else { panic!("changes must be an object") };
    body.as_object_mut().unwrap().extend(changes);
    body.to_string()
}

async fn ask(router: &Router, changes: Value) -> (StatusCode, Value) {
    let (status, body) = send(router, "POST", "/v1/chat/completions", chat(changes)).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// The parts of a streamed answer; the last line must be `[DONE]`.
async fn streamed(router: &Router, changes: Value) -> Vec<Value> {
    let (status, body) = send(router, "POST", "/v1/chat/completions", chat(changes)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let mut lines: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(lines.pop(), Some("[DONE]"));
    lines.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

#[tokio::test]
async fn an_answer_has_the_shape_that_clients_expect() {
    let (router, _) = served().await;
    let (status, answer) = ask(&router, json!({})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "tiny-llama");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["choices"][0]["logprobs"], Value::Null);
    assert_eq!(answer["usage"]["completion_tokens"], 8);
    let total = answer["usage"]["prompt_tokens"].as_u64().unwrap() + 8;
    assert_eq!(answer["usage"]["total_tokens"], total);
}

#[tokio::test]
async fn the_adapter_is_chosen_by_the_models_name() {
    let (router, _) = served().await;
    let base = ask(&router, json!({})).await.1;
    let adapter = ask(&router, json!({ "model": "recht" })).await.1;
    assert_eq!(adapter["model"], "recht");
    assert_ne!(content(&base), content(&adapter));
    assert_eq!(content(&base), content(&ask(&router, json!({})).await.1), "greedy answers repeat");
}

async fn post(router: &Router, path: &str, body: Value) -> (StatusCode, String) {
    send(router, "POST", path, body.to_string()).await
}

#[tokio::test]
async fn adapters_come_and_go_while_the_server_runs() {
    let config = ServeConfig::new(fixture("tiny-llama"));
    let folder = fixture("peft-tiny").canonicalize().unwrap();
    let service = load(&config, &ModelCache::new()).await.unwrap().loading_from(Some(folder.clone()));
    let router = routes::router(Arc::new(service));
    let (loading, unloading) = ("/v1/load_lora_adapter", "/v1/unload_lora_adapter");
    let wanted = json!({ "lora_name": "recht", "lora_path": "final" });
    assert_eq!(post(&router, loading, wanted.clone()).await.0, StatusCode::OK);
    let listed = get(&router, "/v1/models/recht").await.1;
    assert_eq!((&listed["parent"], &listed["root"]), (&json!("tiny-llama"), &json!(folder.join("final"))));
    assert_eq!(ask(&router, json!({ "model": "recht" })).await.0, StatusCode::OK);

    let (status, again) = post(&router, loading, wanted).await;
    assert!(status == StatusCode::BAD_REQUEST && again.contains("already been loaded"), "{again}");
    let other = json!({ "lora_name": "recht", "lora_path": folder.join("init") });
    let (status, taken) = post(&router, loading, other).await;
    assert!(status == StatusCode::BAD_REQUEST && taken.contains("choose another name"), "{taken}");

    assert_eq!(post(&router, unloading, json!({ "lora_name": "recht" })).await.0, StatusCode::OK);
    assert_eq!(post(&router, unloading, json!({ "lora_name": "recht" })).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&router, json!({ "model": "recht" })).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_adapters_of_the_folder_are_loaded_and_only_where_there_is_one() {
    let config = ServeConfig::new(fixture("tiny-llama"));
    let folder = fixture("peft-tiny/final").canonicalize().unwrap();
    let service = load(&config, &ModelCache::new()).await.unwrap().loading_from(Some(folder));
    let router = routes::router(Arc::new(service));
    let call = |path: &str| json!({ "lora_name": "recht", "lora_path": path });
    for (path, problem) in
        [("..", "does not lie in"), ("/", "does not lie in"), ("missing", "cannot read the adapter")]
    {
        let (status, told) = post(&router, "/v1/load_lora_adapter", call(path)).await;
        assert!(status == StatusCode::BAD_REQUEST && told.contains(problem), "{path}: {told}");
    }
    let (closed, _) = served().await;
    let (status, told) = post(&closed, "/v1/load_lora_adapter", call("final")).await;
    assert!(status == StatusCode::NOT_FOUND && told.contains("unknown_path"), "{told}");
}

#[tokio::test]
async fn a_streamed_answer_is_the_whole_answer_in_parts() {
    let (router, _) = served().await;
    let whole = ask(&router, json!({})).await.1;
    let parts =
        streamed(&router, json!({ "stream": true, "stream_options": { "include_usage": true } })).await;
    assert_eq!(parts[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String =
        parts.iter().filter_map(|part| part["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, content(&whole));
    let (last, rest) = parts.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
    assert_eq!(rest.last().unwrap()["choices"][0]["finish_reason"], "length");
    assert!(
        parts.iter().all(|part| part["id"] == parts[0]["id"] && part["object"] == "chat.completion.chunk")
    );
    let plain = streamed(&router, json!({ "stream": true })).await;
    assert!(plain.iter().all(|part| part.get("usage").is_none()));
}

#[tokio::test]
async fn logprobs_name_each_token_with_its_rivals() {
    let (router, _) = served().await;
    let wanted = json!({ "logprobs": true, "top_logprobs": 4 });
    let answer = ask(&router, wanted.clone()).await.1;
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len(), 8);
    for token in tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 4);
        assert_eq!((&top[0]["token"], &top[0]["logprob"]), (&token["token"], &token["logprob"]));
        assert!(token["logprob"].as_f64().unwrap() <= 0.0 && token["bytes"].is_array());
    }
    let Value::Object(mut wanted) = wanted else { unreachable!() };
    wanted.insert("stream".into(), true.into());
    let parts = streamed(&router, wanted.into()).await;
    let listed: Vec<&Value> = parts
        .iter()
        .filter_map(|part| part["choices"][0]["logprobs"]["content"].as_array())
        .flatten()
        .collect();
    assert_eq!(listed, tokens.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_schema_is_followed_whatever_the_model_would_say() {
    let (router, _) = served().await;
    let schema = json!({ "type": "object", "required": ["z", "a"], "additionalProperties": false, "properties": {
        "z": { "type": "integer", "minimum": 0, "maximum": 10 }, "a": { "type": "string", "maxLength": 20 } } });
    let format =
        json!({ "type": "json_schema", "json_schema": { "name": "note", "strict": true, "schema": schema } });
    for seed in 0..5 {
        let options =
            json!({ "response_format": format, "temperature": 2.0, "seed": seed, "max_tokens": 200 });
        let answer = ask(&router, options).await.1;
        let value: Value = serde_json::from_str(content(&answer)).unwrap();
        assert!((0..=10).contains(&value["z"].as_i64().unwrap()), "{value}");
        assert!(value["a"].as_str().unwrap().chars().count() <= 20);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn content_may_come_in_text_parts_and_the_newer_limit_counts() {
    let (router, _) = served().await;
    let parts = json!([{ "type": "text", "text": "Brauche " }, { "type": "text", "text": "ich das?" }]);
    let changes = json!({ "messages": [{ "role": "user", "content": parts }], "max_completion_tokens": 3 });
    let answer = ask(&router, changes).await.1;
    assert_eq!(answer["usage"]["completion_tokens"], 3);
    assert!(
        content(&ask(&router, json!({})).await.1).starts_with(content(&answer).trim_end_matches('\u{fffd}'))
    );
}

#[tokio::test]
async fn a_stop_text_ends_the_answer_before_it() {
    let (router, _) = served().await;
    let whole = ask(&router, json!({ "max_tokens": 30 })).await.1;
    let stop: String = content(&whole).chars().skip(4).take(3).collect();
    let cut = ask(&router, json!({ "max_tokens": 30, "stop": [stop] })).await.1;
    assert_eq!(cut["choices"][0]["finish_reason"], "stop");
    assert_eq!(content(&cut), content(&whole).split(&stop).next().unwrap());
}

#[tokio::test]
async fn the_same_seed_draws_the_same_answer() {
    let (router, _) = served().await;
    let drawn = |seed: i64| json!({ "temperature": 1.5, "top_p": 0.95, "seed": seed, "max_tokens": 24 });
    let answers =
        [ask(&router, drawn(-1)).await.1, ask(&router, drawn(-1)).await.1, ask(&router, drawn(2)).await.1];
    assert_eq!(content(&answers[0]), content(&answers[1]));
    assert_ne!(content(&answers[0]), content(&answers[2]));
}

#[tokio::test]
async fn base_model_and_adapters_are_listed() {
    let (router, service) = served().await;
    let (status, list) = get(&router, "/v1/models").await;
    assert_eq!((status, &list["object"]), (StatusCode::OK, &json!("list")));
    let ids: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["tiny-llama", "recht"]);
    assert_eq!(
        (&list["data"][0]["parent"], &list["data"][1]["parent"]),
        (&Value::Null, &json!("tiny-llama"))
    );
    assert_eq!(get(&router, "/v1/models/recht").await.1["id"], "recht");
    assert_eq!(get(&router, "/v1/models/fehlt").await.0, StatusCode::NOT_FOUND);
    service.remove_adapter("recht").await.unwrap();
    assert_eq!(ask(&router, json!({ "model": "recht" })).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/health").await, (StatusCode::OK, json!({ "status": "ok" })));
}

#[tokio::test]
async fn each_refusal_names_its_parameter() {
    let (router, _) = served().await;
    let cases = [
        (json!({ "model": "gpt-4" }), 404, "model", "model_not_found"),
        (json!({ "model": null }), 400, "model", "invalid_value"),
        (json!({ "messages": [] }), 400, "messages", "invalid_value"),
        (
            json!({ "messages": [{ "role": "tool", "content": "x" }] }),
            400,
            "messages[0]",
            "unsupported_parameter",
        ),
        (json!({ "messages": [{ "role": "user" }] }), 400, "messages[0]", "invalid_value"),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url" }] }] }),
            400,
            "messages[0]",
            "unsupported_parameter",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": "wort ".repeat(3000) }] }),
            400,
            "messages",
            "context_length_exceeded",
        ),
        (json!({ "max_tokens": 3000 }), 400, "messages", "context_length_exceeded"),
        (json!({ "max_tokens": 0 }), 400, "max_tokens", "invalid_value"),
        (json!({ "temperature": 3 }), 400, "temperature", "invalid_value"),
        (json!({ "temperature": "heiß" }), 400, "temperature", "invalid_value"),
        (json!({ "top_p": 1.5 }), 400, "top_p", "invalid_value"),
        (json!({ "n": 2 }), 400, "n", "unsupported_parameter"),
        (json!({ "stop": ["a", "b", "c", "d", "e"] }), 400, "stop", "invalid_value"),
        (json!({ "stop": "" }), 400, "stop", "invalid_value"),
        (json!({ "top_logprobs": 3 }), 400, "top_logprobs", "invalid_value"),
        (json!({ "logprobs": true, "top_logprobs": 21 }), 400, "top_logprobs", "invalid_value"),
        (json!({ "frequency_penalty": 0.5 }), 400, "frequency_penalty", "unsupported_parameter"),
        (json!({ "tools": [{ "type": "function" }] }), 400, "tools", "unsupported_parameter"),
        (
            json!({ "response_format": { "type": "json_object" } }),
            400,
            "response_format",
            "unsupported_parameter",
        ),
        (
            json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": { "type": "array" } } } }),
            400,
            "response_format",
            "unsupported_parameter",
        ),
        (json!({ "stream_options": { "include_usage": true } }), 400, "stream_options", "invalid_value"),
        (json!({ "mirostat": 2 }), 400, "mirostat", "unsupported_parameter"),
    ];
    for (changes, status, param, code) in cases {
        let (found, answer) = ask(&router, changes.clone()).await;
        let error = &answer["error"];
        assert_eq!(found.as_u16(), status, "{changes}: {answer}");
        assert_eq!((&error["param"], &error["code"]), (&json!(param), &json!(code)), "{changes}: {answer}");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn parameters_without_effect_here_are_accepted() {
    let (router, _) = served().await;
    let changes = json!({ "user": "u1", "store": false, "n": 1, "presence_penalty": 0, "tools": [], "tool_choice": "none",
        "seed": null, "stop": null, "response_format": { "type": "text" }, "metadata": {} });
    assert_eq!(ask(&router, changes).await.0, StatusCode::OK);
}

#[tokio::test]
async fn broken_bodies_paths_and_methods_are_answered_in_the_same_shape() {
    let (router, _) = served().await;
    let cases = [
        ("POST", "/v1/chat/completions", "{\"model\": ", 400, "invalid_json"),
        ("POST", "/v1/chat/completions", "[]", 400, "invalid_json"),
        ("GET", "/v1/completions", "", 404, "unknown_path"),
        ("GET", "/v1/chat/completions", "", 405, "wrong_method"),
    ];
    for (method, path, body, status, code) in cases {
        let (found, answer) = send(&router, method, path, body.to_owned()).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((found.as_u16(), &answer["error"]["code"]), (status, &json!(code)), "{method} {path}");
    }
    let (status, _) = send(&router, "POST", "/v1/chat/completions", " ".repeat(5 << 20)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn requests_at_the_same_time_get_the_answers_they_get_alone() {
    let (router, _) = served().await;
    let asked = |index: usize| {
        let question = format!("Frage Nummer {index}?");
        json!({ "messages": [{ "role": "user", "content": question }], "model": (["tiny-llama", "recht"][index % 2]) })
    };
    let together = futures::future::join_all((0..12).map(|index| ask(&router, asked(index)))).await;
    for (index, (_, answer)) in together.iter().enumerate() {
        assert_eq!(content(answer), content(&ask(&router, asked(index)).await.1), "question {index}");
    }
}

#[tokio::test]
async fn a_started_server_listens_takes_adapters_and_stops() {
    let handle = start(ServeConfig::new(fixture("tiny-llama")), &ModelCache::new()).await.unwrap();
    assert!(handle.address().ip().is_loopback() && handle.address().port() != 0);
    assert_eq!(handle.base_url(), format!("http://{}/v1", handle.address()));
    handle.add_adapter("recht", &fixture("peft-tiny/final")).await.unwrap();
    assert!(matches!(
        handle.add_adapter("tiny-llama", &fixture("peft-tiny/final")).await,
        Err(ServeError::NameTaken { .. })
    ));
    assert!(matches!(
        handle.add_adapter("leer", Path::new("/nowhere")).await,
        Err(ServeError::Adapter { .. })
    ));
    assert!(matches!(handle.remove_adapter("fehlt").await, Err(ServeError::Text { .. })));
    let taken = ServeConfig { listen: handle.address(), ..ServeConfig::new(fixture("tiny-llama")) };
    assert!(matches!(start(taken, &ModelCache::new()).await, Err(ServeError::Listen { .. })));
    let address = handle.address();
    handle.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
