//! mistral.rs: loads are compared with generations, and one load goes on at a time.

use async_trait::async_trait;
use clara_lifecycle::{dataset::ChatMessage, fingerprint::ServedReply, served::ListedAdapter};
use serde::Deserialize;
use serde_json::{Map, json};

use super::{
    error::TargetError,
    openai,
    replica::{Call, Replica},
    target::{Limits, Staged, Target},
};

const HOW_TO_ENABLE: &str = "start mistral.rs with MISTRALRS_ALLOW_RUNTIME_LORA_UPDATING, and with \
                             MISTRALRS_LORA_ADAPTER_ROOT set to the target's folder";

/// `POST /v1/load_lora_adapter`, `GET /v1/lora_adapters`.
#[derive(Debug)]
pub(super) struct MistralRs {
    pub(super) base_model: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Adapters {
    data: Vec<Adapter>,
    #[serde(default)]
    max_rank: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Adapter {
    id: String,
    generation: String,
    #[serde(default)]
    source: Option<String>,
}

async fn adapters(replica: &Replica) -> Result<Adapters, TargetError> {
    let call = Call::get("/v1/lora_adapters", replica.timeout);
    let answer = replica.accepted(&call, "mistral.rs lists adapters from version 0.9 on").await?;
    replica.read(&call, &answer)
}

#[async_trait]
impl Target for MistralRs {
    async fn limits(&self, replica: &Replica) -> Result<Limits, TargetError> {
        let max_rank = adapters(replica).await?.max_rank.filter(|rank| *rank > 0);
        Ok(Limits { max_rank, target_modules: Vec::new() })
    }

    async fn load(&self, replica: &Replica, staged: &Staged) -> Result<String, TargetError> {
        let body =
            json!({ "lora_name": staged.name, "lora_path": staged.path_on_server, "load_inplace": false });
        let call = Call::post("/v1/load_lora_adapter", &body, replica.load_timeout);
        let answer = replica.call(&call).await?;
        if answer.is_success() || answer.body.contains("lora_adapter_already_loaded") {
            return Ok(answer.short());
        }
        let hint = match answer.status {
            404 if !answer.body.contains("adapter_") => HOW_TO_ENABLE,
            403 => HOW_TO_ENABLE,
            _ => "",
        };
        Err(replica.refused(&call, &answer, hint))
    }

    async fn unload(&self, replica: &Replica, name: &str) -> Result<String, TargetError> {
        let listed = adapters(replica).await?.data.into_iter().find(|adapter| adapter.id == name);
        let Some(listed) = listed else { return Ok("it was not loaded".to_owned()) };
        // Requests that run keep their generation; another one that took the name meanwhile is left alone.
        let body = json!({ "lora_name": name, "expected_generation": listed.generation });
        let call = Call::post("/v1/unload_lora_adapter", &body, replica.timeout);
        let answer = replica.call(&call).await?;
        if answer.is_success() || answer.status == 404 {
            return Ok(answer.short());
        }
        Err(replica.refused(&call, &answer, ""))
    }

    async fn list(&self, replica: &Replica) -> Result<Option<Vec<ListedAdapter>>, TargetError> {
        let listed = |adapter: Adapter| ListedAdapter { name: adapter.id, path: adapter.source };
        Ok(Some(adapters(replica).await?.data.into_iter().map(listed).collect()))
    }

    async fn ask(
        &self,
        replica: &Replica,
        name: &str,
        turns: &[ChatMessage],
    ) -> Result<Option<ServedReply>, TargetError> {
        let more = Map::from_iter([("adapter".to_owned(), name.into())]);
        let base = self.base_model.as_deref().unwrap_or("default");
        openai::ask(replica, base, turns, more).await.map(Some)
    }
}
