//! llama.cpp's server: adapters are GGUF files that it was started with; a request chooses one by its number.

use std::path::Path;

use async_trait::async_trait;
use clara_lifecycle::{dataset::ChatMessage, fingerprint::ServedReply, served::ListedAdapter};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    error::TargetError,
    openai,
    replica::{Call, Replica},
    target::{Form, Staged, Target},
};

/// `GET /lora-adapters`. Nothing is loaded or unloaded while it runs, and scales for all requests are left alone.
#[derive(Debug)]
pub(super) struct LlamaCpp;

#[derive(Debug, Deserialize)]
struct Adapter {
    id: u32,
    path: String,
}

impl Adapter {
    fn name(&self) -> &str {
        Path::new(&self.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or(&self.path)
    }
}

async fn adapters(replica: &Replica) -> Result<Vec<Adapter>, TargetError> {
    replica.ask(&Call::get("/lora-adapters", replica.timeout)).await
}

fn missing(replica: &Replica, name: &str, path: &str) -> TargetError {
    let reason = format!(
        "llama.cpp takes adapters at its start alone; start it with `--lora {path} --lora-init-without-apply`, then repeat"
    );
    TargetError::Unable { url: replica.url.clone(), name: name.to_owned(), reason }
}

#[async_trait]
impl Target for LlamaCpp {
    fn form(&self) -> Form {
        Form::Gguf
    }

    fn unloads(&self) -> bool {
        false
    }

    async fn load(&self, replica: &Replica, staged: &Staged) -> Result<String, TargetError> {
        let all = adapters(replica).await?;
        let found = all.iter().find(|adapter| adapter.name() == staged.name);
        let found = found.ok_or_else(|| missing(replica, &staged.name, &staged.path_on_server))?;
        Ok(format!("it has it as number {}", found.id))
    }

    async fn unload(&self, _replica: &Replica, _name: &str) -> Result<String, TargetError> {
        Ok("it leaves with the next start of the server".to_owned())
    }

    async fn list(&self, replica: &Replica) -> Result<Option<Vec<ListedAdapter>>, TargetError> {
        let listed = |adapter: Adapter| ListedAdapter {
            name: adapter.name().to_owned(),
            path: Some(adapter.path.clone()),
        };
        Ok(Some(adapters(replica).await?.into_iter().map(listed).collect()))
    }

    async fn ask(
        &self,
        replica: &Replica,
        name: &str,
        turns: &[ChatMessage],
    ) -> Result<Option<ServedReply>, TargetError> {
        let all = adapters(replica).await?;
        let found = all.iter().find(|adapter| adapter.name() == name);
        let id = found.ok_or_else(|| missing(replica, name, &format!("{name}.gguf")))?.id;
        // Those that are not named have scale 0 in this request.
        let lora: Value = json!([{ "id": id, "scale": 1.0 }]);
        openai::ask(replica, "default", turns, Map::from_iter([("lora".to_owned(), lora)])).await.map(Some)
    }
}
