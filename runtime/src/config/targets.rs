//! Servers that approved versions are rolled out to: the tables `[targets.NAME]`.

use std::{path::PathBuf, time::Duration};

use clara_lifecycle::{digest::Digest, fingerprint::ServedDtype};
use serde::{Deserialize, Serialize};

use super::HumanDuration;

/// One rollout target: servers of one kind that serve the same adapters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetSettings {
    /// What the servers are. Required.
    pub kind: Option<TargetKind>,
    /// The base URL of every replica, without `/v1`, e.g. `http://gpu-1:8000`. Required, at least one.
    pub replicas: Vec<String>,
    /// Folder that adapters are staged in, as this coordinator sees it. Required, but for `webhook`.
    pub folder: Option<PathBuf>,
    /// The same folder as the servers see it. Default: `folder`.
    pub folder_on_server: Option<PathBuf>,
    /// Environment variable with the key that is sent as bearer token; for `webhook` the secret that signs. Default: none.
    pub api_key_env: Option<String>,
    /// Longest wait for one answer. Default `30s`, 1s to 10min.
    pub timeout: HumanDuration,
    /// Longest wait until a replica has loaded an adapter, pauses of a busy one included. Default `5min`, 1s to 1h.
    pub load_timeout: HumanDuration,
    /// Greatest rank that the servers take; some kinds tell it themselves. Default: not checked.
    pub max_rank: Option<u32>,
    /// The modules that the servers take adapters for. Default: all.
    pub target_modules: Vec<String>,
    /// Name of the base model at the servers. Default: the first model that they list.
    pub base_model: Option<String>,
    /// SHA-256 of the base model that the servers hold, as the registry shows it. Default: not checked.
    pub base_model_digest: Option<String>,
    /// What the servers compute in: `f32`, `f16`, `bf16` or `quantised`. Default `bf16`.
    pub dtype: ServedDtype,
    /// Whether a rollout must prove that the judged bytes are served: `require` or `off`. Default `require`.
    pub fingerprint: FingerprintRule,
    /// Golden prompts that are asked for the proof. Default 3, 1 to 100.
    pub smoke_prompts: usize,
    /// Former champions that stay loaded for a rollback. Default 1, 0 to 20.
    pub keep_previous: usize,
    /// How often the servers are asked what they serve. Default `10s`, 1s to 1h.
    pub watch_every: HumanDuration,
    /// Whether a champion that a replica lost is loaded there again. Default true.
    pub repair: bool,
    /// Command that makes `{out}/adapter.gguf` from the PEFT folder `{adapter}` and the base model `{base_model}`; only for
    /// `llama-cpp`. Default: `gpu-worker export … --to gguf-lora`.
    pub convert: Vec<String>,
}

/// What the servers of a target are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// vLLM, told to load.
    Vllm,
    /// vLLM that loads from a folder when an adapter is first asked for.
    VllmFolder,
    /// SGLang.
    Sglang,
    /// llama.cpp's server.
    LlamaCpp,
    /// mistral.rs.
    #[serde(rename = "mistralrs")]
    MistralRs,
    /// ThemisDB.
    #[serde(rename = "themisdb")]
    ThemisDb,
    /// Any program that takes signed messages.
    Webhook,
    /// Our own server.
    Clara,
}

/// Whether a rollout must prove what is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FingerprintRule {
    /// Without proof nothing is rolled out.
    #[default]
    Require,
    /// The servers are not asked.
    Off,
}

impl TargetKind {
    /// The name in settings and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::VllmFolder => "vllm-folder",
            Self::Sglang => "sglang",
            Self::LlamaCpp => "llama-cpp",
            Self::MistralRs => "mistralrs",
            Self::ThemisDb => "themisdb",
            Self::Webhook => "webhook",
            Self::Clara => "clara",
        }
    }
}

impl Default for TargetSettings {
    fn default() -> Self {
        Self {
            kind: None,
            replicas: Vec::new(),
            folder: None,
            folder_on_server: None,
            api_key_env: None,
            timeout: HumanDuration(Duration::from_secs(30)),
            load_timeout: HumanDuration(Duration::from_mins(5)),
            max_rank: None,
            target_modules: Vec::new(),
            base_model: None,
            base_model_digest: None,
            dtype: ServedDtype::default(),
            fingerprint: FingerprintRule::default(),
            smoke_prompts: 3,
            keep_previous: 1,
            watch_every: HumanDuration(Duration::from_secs(10)),
            repair: true,
            convert: Vec::new(),
        }
    }
}

impl TargetSettings {
    /// The fields that are wrong, and what is expected of them.
    pub(super) fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let within = |HumanDuration(given): HumanDuration, most: Duration| {
            (Duration::from_secs(1)..=most).contains(&given)
        };
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        let is_webhook = self.kind == Some(TargetKind::Webhook);
        let checks = [
            (
                "kind",
                self.kind.is_some(),
                "one of vllm, vllm-folder, sglang, llama-cpp, mistralrs, themisdb, webhook, clara",
            ),
            (
                "replicas",
                !self.replicas.is_empty() && self.replicas.iter().all(is_url),
                "the http:// or https:// URL of every replica, at least one",
            ),
            (
                "folder",
                is_webhook || self.folder.is_some(),
                "a folder that this coordinator and the servers share",
            ),
            (
                "api_key_env",
                !is_webhook || self.api_key_env.is_some(),
                "the environment variable with the secret that signs messages",
            ),
            ("timeout", within(self.timeout, Duration::from_mins(10)), "1s to 10min"),
            ("load_timeout", within(self.load_timeout, Duration::from_hours(1)), "1s to 1h"),
            ("watch_every", within(self.watch_every, Duration::from_hours(1)), "1s to 1h"),
            ("max_rank", self.max_rank != Some(0), "at least 1"),
            (
                "base_model_digest",
                self.base_model_digest.as_ref().is_none_or(|digest| digest.parse::<Digest>().is_ok()),
                "64 lower-case hexadecimal digits, as `clara registry show` prints them",
            ),
            ("smoke_prompts", (1..=100).contains(&self.smoke_prompts), "1 to 100"),
            ("keep_previous", self.keep_previous <= 20, "0 to 20"),
            (
                "convert",
                self.convert.is_empty() || self.kind == Some(TargetKind::LlamaCpp),
                "nothing: only targets of the kind llama-cpp convert",
            ),
        ];
        checks
            .into_iter()
            .filter(|(_, holds, _)| !holds)
            .map(|(field, _, allowed)| (field, allowed))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, Settings, load};

    fn loaded(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let environment =
            pairs.iter().map(|(key, value)| (format!("CLARA_TARGETS__PROD__{key}"), (*value).to_owned()));
        let layers = Layers { environment: environment.collect(), ..Layers::default() };
        load::<Settings>(&layers).map(|loaded| loaded.value).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_target_is_read_from_the_settings() {
        let settings = loaded(&[
            ("KIND", "mistralrs"),
            ("REPLICAS", "[\"http://a:1\", \"http://b:1\"]"),
            ("FOLDER", "/srv/adapters"),
            ("DTYPE", "f16"),
        ])
        .unwrap();
        let target = settings.targets.values().next().unwrap();
        assert_eq!((target.kind, target.replicas.len()), (Some(TargetKind::MistralRs), 2));
        assert_eq!((target.dtype, target.keep_previous), (ServedDtype::F16, 1));
    }

    #[test]
    fn everything_that_is_wrong_with_a_target_is_told_at_once() {
        let told =
            loaded(&[("REPLICAS", "[\"gpu-1:8000\"]"), ("TIMEOUT", "0s"), ("MAX_RANK", "0")]).unwrap_err();
        for field in ["kind", "replicas", "folder", "timeout", "max_rank"] {
            assert!(told.contains(&format!("targets.prod.{field} = ")), "{field} is missing in {told}");
        }
        let typo = loaded(&[("KIND", "vllm"), ("REPLICA", "http://a")]).unwrap_err();
        assert!(typo.contains("targets.prod.replica"), "{typo}");
    }
}
