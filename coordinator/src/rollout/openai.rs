//! What all OpenAI-compatible servers share: the list of models, and a greedy answer with log-probabilities.

use clara_lifecycle::{
    dataset::ChatMessage,
    fingerprint::{OPENING_TOKENS, ServedReply, ServedToken},
    served::ListedAdapter,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    error::TargetError,
    replica::{Call, Replica},
};

/// The models of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Models {
    /// The first that is no adapter.
    pub(super) base: Option<String>,
    /// Those that have a parent.
    pub(super) adapters: Vec<ListedAdapter>,
}

#[derive(Debug, Deserialize)]
struct ModelList {
    data: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    id: String,
    #[serde(default)]
    root: Option<String>,
    #[serde(default)]
    parent: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    logprobs: Option<Logprobs>,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Logprobs {
    #[serde(default)]
    content: Option<Vec<Token>>,
}

#[derive(Debug, Deserialize)]
struct Token {
    token: String,
    logprob: f64,
}

/// What `/v1/models` lists.
pub(super) async fn models(replica: &Replica) -> Result<Models, TargetError> {
    let list: ModelList = replica.ask(&Call::get("/v1/models", replica.timeout)).await?;
    let base = list.data.iter().find(|model| model.parent.is_none()).map(|model| model.id.clone());
    let adapters = list
        .data
        .into_iter()
        .filter(|model| model.parent.is_some())
        .map(|model| ListedAdapter { name: model.id, path: model.root })
        .collect();
    Ok(Models { base, adapters })
}

/// The greedy answer of `model`; `more` adds fields to the request.
pub(super) async fn ask(
    replica: &Replica,
    model: &str,
    turns: &[ChatMessage],
    more: Map<String, Value>,
) -> Result<ServedReply, TargetError> {
    let messages: Vec<Value> =
        turns.iter().map(|turn| json!({ "role": turn.role, "content": turn.content })).collect();
    let mut body =
        json!({ "model": model, "messages": messages, "temperature": 0, "max_tokens": OPENING_TOKENS });
    if let Some(members) = body.as_object_mut() {
        members.extend(more);
    }
    let mut with_logprobs = body.clone();
    if let Some(members) = with_logprobs.as_object_mut() {
        members.insert("logprobs".to_owned(), true.into());
        members.insert("top_logprobs".to_owned(), 1.into());
    }
    let path = "/v1/chat/completions";
    let call = Call::post(path, &with_logprobs, replica.timeout);
    let mut answer = replica.call(&call).await?;
    if answer.status == 400 && answer.body.contains("logprobs") {
        answer = replica.call(&Call::post(path, &body, replica.timeout)).await?;
    }
    if !answer.is_success() {
        return Err(replica.refused(&call, &answer, ""));
    }
    let completion: Completion = replica.read(&call, &answer)?;
    let choice = completion.choices.into_iter().next().ok_or_else(|| TargetError::Unreadable {
        url: replica.url.clone(),
        call: path.to_owned(),
        reason: "it has no choice".to_owned(),
    })?;
    let tokens = choice.logprobs.and_then(|logprobs| logprobs.content).filter(|tokens| !tokens.is_empty());
    let token = |token: Token| ServedToken { text: token.token, logprob: token.logprob };
    Ok(ServedReply {
        text: choice.message.content.unwrap_or_default(),
        tokens: tokens.map(|tokens| tokens.into_iter().map(token).collect()),
    })
}
