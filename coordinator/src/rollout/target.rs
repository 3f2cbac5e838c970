//! What a kind of server can be asked for, and the targets of the settings.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use clara_lifecycle::{
    dataset::ChatMessage, fingerprint::ServedReply, id::TargetName, served::ListedAdapter,
};
use clara_runtime::config::{Secret, TargetKind, TargetSettings};

use super::{
    error::{RolloutError, TargetError},
    llama_cpp::LlamaCpp,
    mistralrs::MistralRs,
    replica::Replica,
    sglang::Sglang,
    themisdb::ThemisDb,
    vllm::Vllm,
    vllm_folder::VllmFolder,
    webhook::Webhook,
};

/// An adapter where the servers find it.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    /// The name that it is served under.
    pub(crate) name: String,
    /// Where it lies for the servers.
    pub(crate) path_on_server: String,
    /// The version.
    pub(crate) adapter_id: String,
    /// Its digest.
    pub(crate) checksum: String,
    /// Name of its base model.
    pub(crate) base_model: String,
    /// What the rollout belongs to: the same through all its repetitions.
    pub(crate) cause: String,
}

/// The form in which a kind of server reads adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A PEFT folder.
    Peft,
    /// One GGUF file.
    Gguf,
    /// It is told where the artifact lies, and fetches it itself.
    Nothing,
}

/// What a server says that it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_rank: Option<u32>,
    /// Empty for all.
    pub(crate) target_modules: Vec<String>,
}

/// A champion that a target is told of.
#[derive(Debug, Clone)]
pub(crate) struct News {
    pub(crate) family_id: String,
    pub(crate) champion: String,
    pub(crate) name: String,
    pub(crate) previous: Option<String>,
    /// Grows with every champion that the target is told of.
    pub(crate) number: u64,
}

/// A kind of server. Every call may be repeated: what is done already is a success.
#[async_trait]
pub(crate) trait Target: Send + Sync + fmt::Debug {
    /// The form in which adapters are staged.
    fn form(&self) -> Form {
        Form::Peft
    }

    /// Whether it forgets adapters while it runs.
    fn unloads(&self) -> bool {
        true
    }

    /// What the server takes, where it tells that.
    async fn limits(&self, _replica: &Replica) -> Result<Limits, TargetError> {
        Ok(Limits::default())
    }

    /// Makes the server serve the adapter; answers what it said.
    async fn load(&self, replica: &Replica, staged: &Staged) -> Result<String, TargetError>;

    /// Makes the server forget the adapter; answers what it said.
    async fn unload(&self, replica: &Replica, name: &str) -> Result<String, TargetError>;

    /// The adapters that it serves; `None` where it cannot tell.
    async fn list(&self, replica: &Replica) -> Result<Option<Vec<ListedAdapter>>, TargetError>;

    /// The greedy answer of a served adapter; `None` where it cannot be asked.
    async fn ask(
        &self,
        replica: &Replica,
        name: &str,
        turns: &[ChatMessage],
    ) -> Result<Option<ServedReply>, TargetError>;

    /// Tells who is champion now; `None` where nobody needs to be told.
    async fn tell(&self, _replica: &Replica, _news: &News) -> Result<Option<String>, TargetError> {
        Ok(None)
    }
}

/// A target of the settings, ready to be called.
#[derive(Debug)]
pub(crate) struct OpenTarget {
    pub(crate) name: String,
    pub(crate) kind: TargetKind,
    pub(crate) settings: TargetSettings,
    pub(crate) server: Box<dyn Target>,
    pub(crate) replicas: Vec<Replica>,
}

/// All targets of the settings.
#[derive(Debug, Default)]
pub struct Targets(BTreeMap<String, Arc<OpenTarget>>);

impl Targets {
    /// Opens the targets of the settings; `variable` reads the environment.
    ///
    /// # Errors
    /// What is wrong with the first target that cannot be used.
    pub fn open(
        settings: &BTreeMap<TargetName, TargetSettings>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let open = |(name, settings): (&TargetName, &TargetSettings)| {
            let target = OpenTarget::open(name.as_str(), settings, &variable)
                .map_err(|reason| format!("rollout target {name}: {reason}"))?;
            Ok((target.name.clone(), Arc::new(target)))
        };
        Ok(Self(settings.iter().map(open).collect::<Result<_, String>>()?))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<OpenTarget>> {
        self.0.values()
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<OpenTarget>, RolloutError> {
        self.0.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            RolloutError::UnknownTarget { target: name.to_owned(), known }
        })
    }
}

impl OpenTarget {
    fn open(
        name: &str,
        settings: &TargetSettings,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let kind = settings.kind.ok_or("it has no kind")?;
        let key = match &settings.api_key_env {
            Some(name) => {
                let key = variable(name).filter(|key| !key.is_empty());
                Some(key.ok_or_else(|| {
                    format!("the environment has no variable {name}; set it, or leave api_key_env out")
                })?)
            }
            None => None,
        };
        let base_model = settings.base_model.clone();
        let server: Box<dyn Target> = match kind {
            TargetKind::Vllm => Box::new(Vllm::of_vllm()),
            TargetKind::Clara => Box::new(Vllm::of_clara()),
            TargetKind::VllmFolder => Box::new(VllmFolder),
            TargetKind::Sglang => Box::new(Sglang { base_model }),
            TargetKind::LlamaCpp => Box::new(LlamaCpp),
            TargetKind::MistralRs => Box::new(MistralRs { base_model }),
            TargetKind::ThemisDb => Box::new(ThemisDb { base_model }),
            TargetKind::Webhook => Box::new(Webhook { target: name.to_owned() }),
        };
        let replica = |url: &String| Replica::open(url, settings, key.clone().map(Secret::new));
        let replicas = settings.replicas.iter().map(replica).collect::<Result<_, String>>()?;
        Ok(Self { name: name.to_owned(), kind, settings: settings.clone(), server, replicas })
    }
}
