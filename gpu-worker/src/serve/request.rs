//! Reads a chat request: every parameter is honoured or refused by name, none is dropped in silence.

use clara_lifecycle::dataset::ChatMessage;

use super::{error::ApiError, fields::Fields, state::Service};
use crate::{
    guided::{Guide, OrderedJson},
    model_cache::PromptError,
    sampling::Sampling,
    text::{TextError, TextRequest},
};

/// Most stop texts per request.
const MAX_STOPS: usize = 4;
/// Most rivals per token.
const MAX_TOP_LOGPROBS: i64 = 20;
/// Parameters that name the caller or the billing and change no answer.
const WITHOUT_EFFECT: [&str; 8] = [
    "user",
    "store",
    "metadata",
    "service_tier",
    "parallel_tool_calls",
    "safety_identifier",
    "prompt_cache_key",
    "verbosity",
];

/// A chat request that can be answered.
#[derive(Debug)]
pub(super) struct ChatRequest {
    /// The model as the caller named it.
    pub(super) model: String,
    pub(super) text: TextRequest,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

/// Reads the body of `/v1/chat/completions`.
pub(super) fn read(body: &[u8], service: &Service) -> Result<ChatRequest, ApiError> {
    let mut fields = Fields::parse(body)?;
    let model = fields.text("model")?.ok_or_else(|| ApiError::invalid("model", "`model` is missing"))?;
    let adapter = service.adapter(&model).ok_or_else(|| unknown_model(&model, service))?;
    let messages = messages(&mut fields)?;
    let sampling = sampling(&mut fields, service)?;
    let stop = stop(&mut fields)?;
    let logprobs = logprobs(&mut fields)?;
    let guide = guide(&mut fields)?;
    let limit = max_tokens(&mut fields)?;
    let stream = fields.boolean("stream")?.unwrap_or(false);
    let include_usage = include_usage(&mut fields, stream)?;
    refuse_what_has_effect(&mut fields)?;
    fields.ignore(&WITHOUT_EFFECT);
    fields.finish()?;

    let prompt = service.model.chat_prompt(&messages).map_err(|error| refused_prompt(&error))?;
    let room = service.engine.model().context_length.saturating_sub(prompt.len());
    let default = service.default_max_tokens.min(u32::try_from(room).unwrap_or(u32::MAX)).max(1);
    let max_tokens = limit.unwrap_or(default);
    let text = TextRequest { prompt, adapter, max_tokens, sampling, stop, guide, logprobs };
    service.engine.model().check(&text).map_err(|error: TextError| ApiError::from(error))?;
    Ok(ChatRequest { model, text, stream, include_usage })
}

fn unknown_model(name: &str, service: &Service) -> ApiError {
    let adapters = service.adapters().into_keys();
    let known: Vec<String> = std::iter::once(service.base_name().to_owned()).chain(adapters).collect();
    ApiError::unknown_model(name, &known)
}

fn refused_prompt(error: &PromptError) -> ApiError {
    ApiError::invalid("messages", error.to_string())
}

fn messages(fields: &mut Fields) -> Result<Vec<ChatMessage>, ApiError> {
    let invalid = |message: &str| ApiError::invalid("messages", message);
    let list = match fields.take("messages") {
        Some(OrderedJson::List(list)) if !list.is_empty() => list,
        Some(_) => return Err(invalid("`messages` must be a list of at least one message")),
        None => return Err(invalid("`messages` is missing")),
    };
    list.into_iter().enumerate().map(|(index, item)| message(index, item)).collect()
}

fn message(index: usize, item: OrderedJson) -> Result<ChatMessage, ApiError> {
    let place = format!("messages[{index}]");
    let mut fields = Fields::of(&place, item)?;
    let role = fields
        .text("role")
        .map_err(|_| ApiError::invalid(&place, format!("{place}.role must be a string")))?;
    let role = match role.as_deref() {
        Some("system" | "developer") => "system",
        Some("user") => "user",
        Some("assistant") => "assistant",
        Some(other) => {
            let message =
                format!("{place}.role is `{other}`; supported are system, developer, user and assistant");
            return Err(ApiError::unsupported(&place, message));
        }
        None => return Err(ApiError::invalid(&place, format!("{place}.role is missing"))),
    };
    let content = match fields.take("content") {
        Some(OrderedJson::Text(text)) => text,
        Some(OrderedJson::List(parts)) => {
            parts.into_iter().map(|part| text_part(&place, part)).collect::<Result<Vec<_>, _>>()?.concat()
        }
        Some(_) | None => {
            return Err(ApiError::invalid(
                &place,
                format!("{place}.content must be a string or a list of text parts"),
            ));
        }
    };
    fields.ignore(&["name", "refusal", "annotations"]);
    fields.finish().map_err(|error| ApiError { param: Some(place.clone()), ..error })?;
    Ok(ChatMessage { role: role.to_owned(), content })
}

fn text_part(place: &str, part: OrderedJson) -> Result<String, ApiError> {
    let mut fields = Fields::of(place, part)?;
    let kind = fields.text("type")?.unwrap_or_default();
    if kind != "text" {
        let message = format!("{place}.content holds a part of type `{kind}`; only `text` is supported");
        return Err(ApiError::unsupported(place, message));
    }
    fields
        .text("text")?
        .ok_or_else(|| ApiError::invalid(place, format!("{place}.content has a part without text")))
}

fn sampling(fields: &mut Fields, service: &Service) -> Result<Sampling, ApiError> {
    let temperature = fields.number("temperature", 0.0..=2.0)?.unwrap_or(0.0);
    let top_p = fields.number("top_p", 0.0..=1.0)?.unwrap_or(1.0);
    let seed = fields.integer("seed", i64::MIN..=i64::MAX)?;
    // Without a seed each answer draws its own way.
    let seed = seed.map_or_else(|| service.next_answer(), i64::cast_unsigned);
    Ok(Sampling { temperature, top_p, seed })
}

fn stop(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let invalid = || {
        let message =
            format!("`stop` must be a string or a list of up to {MAX_STOPS} strings, none of them empty");
        ApiError::invalid("stop", message)
    };
    let stops = match fields.take("stop") {
        None => return Ok(Vec::new()),
        Some(OrderedJson::Text(text)) => vec![text],
        Some(OrderedJson::List(list)) => list
            .into_iter()
            .map(|item| if let OrderedJson::Text(text) = item { Ok(text) } else { Err(invalid()) })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(invalid()),
    };
    if stops.len() > MAX_STOPS || stops.iter().any(String::is_empty) {
        return Err(invalid());
    }
    Ok(stops)
}

fn logprobs(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    let wanted = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.integer("top_logprobs", 0..=MAX_TOP_LOGPROBS)?;
    match (wanted, top) {
        (true, top) => Ok(Some(top.and_then(|top| usize::try_from(top).ok()).unwrap_or(0))),
        (false, None) => Ok(None),
        (false, Some(_)) => {
            Err(ApiError::invalid("top_logprobs", "`top_logprobs` needs `logprobs` to be true"))
        }
    }
}

fn guide(fields: &mut Fields) -> Result<Option<Guide>, ApiError> {
    let Some(format) = fields.take("response_format") else { return Ok(None) };
    let mut format = Fields::of("response_format", format)?;
    let kind = format.text("type")?.unwrap_or_default();
    let schema = match kind.as_str() {
        "text" => return Ok(None),
        "json_schema" => format.take("json_schema"),
        other => {
            let message = format!("`response_format.type` is `{other}`; supported are text and json_schema");
            return Err(ApiError::unsupported("response_format", message));
        }
    };
    let missing = || ApiError::invalid("response_format", "`response_format.json_schema.schema` is missing");
    let mut envelope = Fields::of("response_format", schema.ok_or_else(missing)?)?;
    let schema = envelope.take("schema").ok_or_else(missing)?;
    let compiled = Guide::compile(&schema);
    compiled.map(Some).map_err(|error| ApiError::unsupported("response_format", error.to_string()))
}

fn max_tokens(fields: &mut Fields) -> Result<Option<u32>, ApiError> {
    let range = 1..=i64::from(u32::MAX);
    let old = fields.integer("max_tokens", range.clone())?;
    let new = fields.integer("max_completion_tokens", range)?;
    Ok(new.or(old).and_then(|limit| u32::try_from(limit).ok()))
}

fn include_usage(fields: &mut Fields, stream: bool) -> Result<bool, ApiError> {
    let Some(options) = fields.take("stream_options") else { return Ok(false) };
    if !stream {
        return Err(ApiError::invalid("stream_options", "`stream_options` needs `stream` to be true"));
    }
    let mut options = Fields::of("stream_options", options)?;
    let include = options.boolean("include_usage")?.unwrap_or(false);
    options.ignore(&["include_obfuscation"]);
    options.finish()?;
    Ok(include)
}

/// Parameters that are known and harmless at one value, and not supported at any other.
fn refuse_what_has_effect(fields: &mut Fields) -> Result<(), ApiError> {
    if fields.integer("n", 1..=128)?.is_some_and(|n| n != 1) {
        return Err(ApiError::unsupported("n", "`n` must be 1: send the request again for another answer"));
    }
    for name in ["presence_penalty", "frequency_penalty"] {
        if fields.number(name, -2.0..=2.0)?.is_some_and(|penalty| penalty != 0.0) {
            return Err(ApiError::unsupported(
                name,
                format!("`{name}` is not supported; leave it out or send 0"),
            ));
        }
    }
    for name in ["tools", "functions", "logit_bias"] {
        match fields.take(name) {
            None => {}
            Some(OrderedJson::List(list)) if list.is_empty() => {}
            Some(OrderedJson::Object(members)) if members.is_empty() => {}
            Some(_) => {
                return Err(ApiError::unsupported(name, format!("`{name}` is not supported by this server")));
            }
        }
    }
    for name in ["tool_choice", "function_call"] {
        match fields.take(name) {
            None => {}
            Some(OrderedJson::Text(choice)) if matches!(choice.as_str(), "none" | "auto") => {}
            Some(_) => {
                return Err(ApiError::unsupported(name, format!("`{name}` is not supported by this server")));
            }
        }
    }
    Ok(())
}
