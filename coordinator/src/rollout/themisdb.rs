//! ThemisDB from 1.3 on: it loads adapters from a folder of its own.
//!
//! Its answers to `/api/v1/llm/inference` were seen to come from the base model whatever adapter is named, so what it
//! serves is proven through the OpenAI-compatible path of newer versions alone.

use async_trait::async_trait;
use clara_lifecycle::{dataset::ChatMessage, fingerprint::ServedReply, served::ListedAdapter};
use serde::Deserialize;
use serde_json::{Map, json};

use super::{
    error::TargetError,
    openai,
    replica::{Call, Replica},
    target::{Staged, Target},
};

/// `POST /api/v1/llm/loras/load` and `/loras/unload`, `GET /api/v1/llm/loras`; all want a bearer token.
#[derive(Debug)]
pub(super) struct ThemisDb {
    pub(super) base_model: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Loras {
    loras: Vec<Lora>,
}

#[derive(Debug, Deserialize)]
struct Lora {
    lora_id: String,
    #[serde(default)]
    status: Option<String>,
}

#[async_trait]
impl Target for ThemisDb {
    async fn load(&self, replica: &Replica, staged: &Staged) -> Result<String, TargetError> {
        let base_model = self.base_model.as_ref().unwrap_or(&staged.base_model);
        let body = json!({ "lora_id": staged.name, "path": staged.path_on_server, "base_model": base_model });
        let call = Call::post("/api/v1/llm/loras/load", &body, replica.load_timeout);
        let answer = replica
            .accepted(&call, "give it a token by api_key_env; 404 means that it is older than 1.3")
            .await?;
        Ok(answer.short())
    }

    async fn unload(&self, replica: &Replica, name: &str) -> Result<String, TargetError> {
        let call = Call::post("/api/v1/llm/loras/unload", &json!({ "lora_id": name }), replica.timeout);
        Ok(replica.accepted(&call, "").await?.short())
    }

    async fn list(&self, replica: &Replica) -> Result<Option<Vec<ListedAdapter>>, TargetError> {
        let all: Loras = replica.ask(&Call::get("/api/v1/llm/loras", replica.timeout)).await?;
        let loaded = all
            .loras
            .into_iter()
            .filter(|lora| lora.status.as_deref().is_none_or(|status| status == "loaded"));
        Ok(Some(loaded.map(|lora| ListedAdapter { name: lora.lora_id, path: None }).collect()))
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
