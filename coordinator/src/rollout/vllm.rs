//! vLLM, and our own server, which speaks the same: adapters are loaded and unloaded by calls.

use async_trait::async_trait;
use clara_lifecycle::{dataset::ChatMessage, fingerprint::ServedReply, served::ListedAdapter};
use serde_json::{Map, json};

use super::{
    error::TargetError,
    openai,
    replica::{Answer, Call, Replica},
    target::{Staged, Target},
};

/// `POST /v1/load_lora_adapter` and `/v1/unload_lora_adapter`.
///
/// `load_inplace` is never used: vLLM answers from prefix caches of the adapter that had the name before (#42125, #30931).
#[derive(Debug)]
pub(super) struct Vllm {
    /// How the server is started so that it has the calls.
    how_to_enable: &'static str,
}

impl Vllm {
    pub(super) fn of_vllm() -> Self {
        Self {
            how_to_enable: "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or use the kind vllm-folder",
        }
    }

    pub(super) fn of_clara() -> Self {
        Self {
            how_to_enable: "start the server with --adapter-folder, which lets it load adapters while it runs",
        }
    }
}

#[async_trait]
impl Target for Vllm {
    async fn load(&self, replica: &Replica, staged: &Staged) -> Result<String, TargetError> {
        let body = json!({ "lora_name": staged.name, "lora_path": staged.path_on_server });
        let call = Call::post("/v1/load_lora_adapter", &body, replica.load_timeout);
        let answer = replica.call(&call).await?;
        // A repeated call after a lost answer finds its own work done.
        if answer.is_success() || answer.body.contains("already been loaded") {
            return Ok(answer.short());
        }
        let hint = if is_missing_route(&answer) { self.how_to_enable } else { hint(&answer) };
        Err(replica.refused(&call, &answer, hint))
    }

    async fn unload(&self, replica: &Replica, name: &str) -> Result<String, TargetError> {
        unload(replica, name).await
    }

    async fn list(&self, replica: &Replica) -> Result<Option<Vec<ListedAdapter>>, TargetError> {
        Ok(Some(openai::models(replica).await?.adapters))
    }

    async fn ask(
        &self,
        replica: &Replica,
        name: &str,
        turns: &[ChatMessage],
    ) -> Result<Option<ServedReply>, TargetError> {
        openai::ask(replica, name, turns, Map::new()).await.map(Some)
    }
}

/// Unloads; an adapter that is not there is unloaded already.
pub(super) async fn unload(replica: &Replica, name: &str) -> Result<String, TargetError> {
    let call = Call::post("/v1/unload_lora_adapter", &json!({ "lora_name": name }), replica.timeout);
    let answer = replica.call(&call).await?;
    if answer.is_success() || (answer.status == 404 && !is_missing_route(&answer)) {
        return Ok(answer.short());
    }
    Err(replica.refused(&call, &answer, ""))
}

/// `FastAPI` answers a path that it does not have with this; an adapter that is not there has another text.
pub(super) fn is_missing_route(answer: &Answer) -> bool {
    answer.status == 404 && (answer.body.contains(r#""Not Found""#) || answer.body.contains("unknown_path"))
}

fn hint(answer: &Answer) -> &'static str {
    if answer.body.contains("rank") {
        "start the server with a greater --max-lora-rank, or train with a lower rank"
    } else {
        ""
    }
}
