//! vLLM with its filesystem resolver: an unknown model name is looked for as a folder and loaded when it is first asked.

use async_trait::async_trait;
use clara_lifecycle::{dataset::ChatMessage, fingerprint::ServedReply, served::ListedAdapter};
use serde_json::{Map, json};

use super::{
    error::TargetError,
    openai,
    replica::{Call, Replica},
    target::{Staged, Target},
    vllm,
};

/// A folder that appears whole under a name that no other version has, and a first question.
#[derive(Debug)]
pub(super) struct VllmFolder;

#[async_trait]
impl Target for VllmFolder {
    async fn load(&self, replica: &Replica, staged: &Staged) -> Result<String, TargetError> {
        let body = json!({
            "model": staged.name, "messages": [{ "role": "user", "content": "?" }], "temperature": 0, "max_tokens": 1,
        });
        let call = Call::post("/v1/chat/completions", &body, replica.load_timeout);
        let hint = "start vLLM with --enable-lora, VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, \
                    VLLM_PLUGINS=lora_filesystem_resolver and VLLM_LORA_RESOLVER_CACHE_DIR set to the target's folder";
        let answer = replica.accepted(&call, hint).await?;
        Ok(format!("{} on the first question", answer.status))
    }

    async fn unload(&self, replica: &Replica, name: &str) -> Result<String, TargetError> {
        // Without the call the adapter leaves the memory when room is needed; its folder is removed in any case.
        match vllm::unload(replica, name).await {
            Err(TargetError::Refused { status: 404, .. }) => {
                Ok("404, it leaves the memory by itself".to_owned())
            }
            done => done,
        }
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
