//! `SGLang`: calls of its own for loading, and `base:adapter` as the name of a model.

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

/// `POST /load_lora_adapter` and `/unload_lora_adapter`; the limits are those of its start.
#[derive(Debug)]
pub(super) struct Sglang {
    pub(super) base_model: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ServerInfo {
    #[serde(default)]
    enable_lora: Option<bool>,
    #[serde(default)]
    max_lora_rank: Option<u32>,
    #[serde(default)]
    lora_target_modules: Option<Vec<String>>,
}

#[async_trait]
impl Target for Sglang {
    async fn limits(&self, replica: &Replica) -> Result<Limits, TargetError> {
        let call = Call::get("/get_server_info", replica.timeout);
        let answer = replica.call(&call).await?;
        // Older and newer versions name the call differently; a server that does not tell refuses on its own.
        if !answer.is_success() {
            return Ok(Limits::default());
        }
        let info: ServerInfo = replica.read(&call, &answer)?;
        if info.enable_lora == Some(false) {
            let (url, reason) = (replica.url.clone(), "start SGLang with --enable-lora".to_owned());
            return Err(TargetError::Unable { url, name: "adapters".to_owned(), reason });
        }
        let modules = info.lora_target_modules.unwrap_or_default();
        let all = modules.iter().any(|module| module == "all");
        Ok(Limits { max_rank: info.max_lora_rank, target_modules: if all { Vec::new() } else { modules } })
    }

    async fn load(&self, replica: &Replica, staged: &Staged) -> Result<String, TargetError> {
        let body = json!({ "lora_name": staged.name, "lora_path": staged.path_on_server, "pinned": false });
        let call = Call::post("/load_lora_adapter", &body, replica.load_timeout);
        let answer = replica.call(&call).await?;
        if answer.is_success() || answer.body.contains("already") {
            return Ok(answer.short());
        }
        let hint = if answer.status == 404 {
            "start SGLang with --enable-lora"
        } else if answer.body.contains("rank") || answer.body.contains("target") {
            "start SGLang with --max-lora-rank and --lora-target-modules that cover the adapters to come"
        } else {
            ""
        };
        Err(replica.refused(&call, &answer, hint))
    }

    async fn unload(&self, replica: &Replica, name: &str) -> Result<String, TargetError> {
        let call = Call::post("/unload_lora_adapter", &json!({ "lora_name": name }), replica.timeout);
        let answer = replica.call(&call).await?;
        let gone = answer.body.contains("not loaded")
            || answer.body.contains("not found")
            || answer.body.contains("does not exist");
        if answer.is_success() || gone {
            return Ok(answer.short());
        }
        Err(replica.refused(&call, &answer, ""))
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
        let base = match &self.base_model {
            Some(base) => base.clone(),
            None => openai::models(replica).await?.base.unwrap_or_else(|| "default".to_owned()),
        };
        openai::ask(replica, &format!("{base}:{name}"), turns, Map::new()).await.map(Some)
    }
}
