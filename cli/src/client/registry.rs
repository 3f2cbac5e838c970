//! Calls of the registry beyond reading and review.

use clara_lifecycle::{adapter::LineageStep, audit::ChainBreak};
use clara_proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AdapterDocument, Answer, Client, older, read};

/// Where a version comes from and where it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LineageDocument {
    pub(crate) adapter_id: String,
    pub(crate) steps: Vec<LineageStep>,
}

/// What a verification of the registry found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct VerificationDocument {
    pub(crate) versions: usize,
    pub(crate) files: usize,
    pub(crate) signed: usize,
    pub(crate) unchecked: Vec<String>,
    pub(crate) without_files: Vec<String>,
    pub(crate) problems: Vec<String>,
    pub(crate) audit_entries: usize,
}

/// What a verification of the audit log found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuditDocument {
    pub(crate) chains: usize,
    pub(crate) entries: usize,
    pub(crate) breaks: Vec<ChainBreak>,
}

impl Client {
    /// Moves or removes an alias; answers the version that it points at now, and the id it pointed at before.
    pub(crate) async fn move_alias(
        &self,
        request: v1::MoveAliasRequest,
    ) -> Answer<(Option<AdapterDocument>, Option<String>)> {
        let answer = self.calls().move_alias(request).await;
        let answer = answer.map_err(|status| older("`clara registry alias`", status))?.into_inner();
        let view = answer.json.map(|json| read("adapter", &json)).transpose()?;
        Ok((view, answer.before))
    }

    pub(crate) async fn deprecate(&self, request: v1::DeprecateAdapterRequest) -> Answer<AdapterDocument> {
        let answer = self.calls().deprecate_adapter(request).await;
        let answer = answer.map_err(|status| older("`clara registry deprecate`", status))?;
        read("adapter", &answer.into_inner().json)
    }

    pub(crate) async fn sign(&self, request: v1::SignAdapterRequest) -> Answer<AdapterDocument> {
        let answer = self.calls().sign_adapter(request).await;
        let answer = answer.map_err(|status| older("`clara registry sign`", status))?;
        read("adapter", &answer.into_inner().json)
    }

    pub(crate) async fn verify_registry(
        &self,
        adapter_id: Option<String>,
        public_key: Option<String>,
    ) -> Answer<VerificationDocument> {
        let request = v1::VerifyRegistryRequest { adapter_id, public_key };
        let answer = self.calls().verify_registry(request).await;
        let answer = answer.map_err(|status| older("`clara registry verify`", status))?;
        read("verification", &answer.into_inner().json)
    }

    pub(crate) async fn verify_audit(&self) -> Answer<AuditDocument> {
        let answer = self.calls().verify_audit(v1::VerifyAuditRequest {}).await;
        let answer = answer.map_err(|status| older("`clara registry audit --verify`", status))?;
        read("verification", &answer.into_inner().json)
    }

    pub(crate) async fn lineage(&self, adapter_id: &str) -> Answer<LineageDocument> {
        let request = v1::GetLineageRequest { adapter_id: adapter_id.to_owned() };
        let answer = self.calls().get_lineage(request).await;
        let answer = answer.map_err(|status| older("`clara registry lineage`", status))?;
        read("lineage", &answer.into_inner().json)
    }

    /// The model card of a version, in Markdown.
    pub(crate) async fn card(&self, adapter_id: &str, licence: Option<String>) -> Answer<String> {
        let request = v1::GetModelCardRequest { adapter_id: adapter_id.to_owned(), licence };
        let answer = self.calls().get_model_card(request).await;
        Ok(answer.map_err(|status| older("`clara registry card`", status))?.into_inner().markdown)
    }

    pub(crate) async fn collect_garbage(&self, request: v1::CollectGarbageRequest) -> Answer<Value> {
        let answer = self.calls().collect_garbage(request).await;
        let answer = answer.map_err(|status| older("`clara registry gc`", status))?;
        read("report", &answer.into_inner().json)
    }
}
