//! The registry beyond reading and review: aliases, deprecation, signatures, verification, lineage, cards, garbage.

use std::time::Duration;

use clara_lifecycle::{
    adapter::{Alias, CardContext, Expected, LineageStep, lineage_steps, model_card},
    score::JudgeIdentity,
};
use clara_proto::v1;
use serde::Serialize;

use super::{
    Control,
    library::{document, from_document, parsed},
};
use crate::{
    driver::DriverError,
    evidence,
    registry::{AdapterView, AliasChange, Deprecate, GarbageOptions, signature::PublicKey},
};

/// How long what nothing refers to stays, unless the user says otherwise.
pub(crate) const GRACE: Duration = Duration::from_hours(24 * 7);

/// Where a version comes from and where it went.
#[derive(Debug, Serialize)]
pub(crate) struct LineageDocument {
    adapter_id: String,
    steps: Vec<LineageStep>,
}

impl Control {
    pub(super) async fn move_alias(
        &self,
        request: v1::MoveAliasRequest,
    ) -> Result<v1::MoveAliasResponse, DriverError> {
        let v1::MoveAliasRequest { family_id, alias, adapter_id, expected, actor, reason } = request;
        let alias: Alias = parsed(&alias)?;
        let expected = match expected {
            None => Expected::Anything,
            Some(id) if id.is_empty() => Expected::Nothing,
            Some(id) => Expected::Version(id),
        };
        let wish = AliasChange { family_id, alias, to: adapter_id, expected, actor, reason };
        let (view, before) = self.driver.move_alias(&wish).await?;
        let json = view.as_ref().map(document).transpose()?;
        Ok(v1::MoveAliasResponse { json, before })
    }

    pub(super) async fn deprecate_adapter(
        &self,
        request: v1::DeprecateAdapterRequest,
    ) -> Result<v1::DeprecateAdapterResponse, DriverError> {
        let v1::DeprecateAdapterRequest { adapter_id, actor, reason, successor, force } = request;
        let wish = Deprecate { actor, reason, successor, force };
        let view = self.driver.deprecate(&adapter_id, &wish).await?;
        Ok(v1::DeprecateAdapterResponse { json: document(&view)? })
    }

    pub(super) async fn sign_adapter(
        &self,
        request: v1::SignAdapterRequest,
    ) -> Result<v1::SignAdapterResponse, DriverError> {
        let v1::SignAdapterRequest { adapter_id, actor, bundle_json } = request;
        let bundle = bundle_json.map(|json| from_document("bundle", &json)).transpose()?;
        let view = self.driver.sign(&adapter_id, &actor, bundle).await?;
        Ok(v1::SignAdapterResponse { json: document(&view)? })
    }

    pub(super) async fn verify_registry(
        &self,
        request: v1::VerifyRegistryRequest,
    ) -> Result<v1::VerifyRegistryResponse, DriverError> {
        let v1::VerifyRegistryRequest { adapter_id, public_key } = request;
        let key = public_key.map(|pem| PublicKey::from_pem("the public key", &pem)).transpose()?;
        let found = self.driver.verify_registry(adapter_id.as_deref(), key.as_ref(), &self.artifacts).await?;
        Ok(v1::VerifyRegistryResponse { json: document(&found)? })
    }

    pub(super) async fn verify_audit(
        &self,
        _: v1::VerifyAuditRequest,
    ) -> Result<v1::VerifyAuditResponse, DriverError> {
        Ok(v1::VerifyAuditResponse { json: document(&self.driver.verify_audit().await?)? })
    }

    pub(super) async fn get_lineage(
        &self,
        request: v1::GetLineageRequest,
    ) -> Result<v1::GetLineageResponse, DriverError> {
        Ok(v1::GetLineageResponse { json: document(&self.lineage(&request.adapter_id).await?)? })
    }

    /// The steps of a version, oldest first.
    pub(crate) async fn lineage(&self, adapter_id: &str) -> Result<LineageDocument, DriverError> {
        let view = self.driver.adapter(adapter_id).await?;
        let judge = self.judge_of(&view).await?;
        let steps = lineage_steps(&view.version, judge.as_ref());
        Ok(LineageDocument { adapter_id: view.version.adapter_id, steps })
    }

    pub(super) async fn get_model_card(
        &self,
        request: v1::GetModelCardRequest,
    ) -> Result<v1::GetModelCardResponse, DriverError> {
        let view = self.driver.adapter(&request.adapter_id).await?;
        Ok(v1::GetModelCardResponse { markdown: self.model_card(&view, request.licence.as_deref()).await? })
    }

    /// The model card of a version, as Markdown with front matter.
    pub(crate) async fn model_card(
        &self,
        view: &AdapterView,
        licence: Option<&str>,
    ) -> Result<String, DriverError> {
        let judge = self.judge_of(view).await?;
        Ok(model_card(&view.version, CardContext { licence, judge: judge.as_ref() }))
    }

    pub(super) async fn collect_garbage(
        &self,
        request: v1::CollectGarbageRequest,
    ) -> Result<v1::CollectGarbageResponse, DriverError> {
        let v1::CollectGarbageRequest { remove, grace, jobs_older_than } = request;
        let duration = |name: &str, given: Option<prost_types::Duration>| {
            let given = given.map(Duration::try_from).transpose();
            given.map_err(|error| DriverError::Invalid(format!("field `{name}` is no duration: {error}")))
        };
        let options = GarbageOptions {
            dry_run: !remove,
            grace: duration("grace", grace)?.unwrap_or(GRACE),
            jobs_older_than: duration("jobs_older_than", jobs_older_than)?,
        };
        let report = self.driver.collect_garbage(options, &self.artifacts).await?;
        Ok(v1::CollectGarbageResponse { json: document(&report)? })
    }

    /// Who judged a version; `None` when it has no evaluation, or its files are not here.
    async fn judge_of(&self, view: &AdapterView) -> Result<Option<JudgeIdentity>, DriverError> {
        let record = view.version.evaluation.as_ref();
        let Some(artifact) = record.and_then(|record| record.evaluation.as_ref()) else { return Ok(None) };
        match evidence::evaluation(&self.artifacts, artifact).await {
            Ok(evaluation) => Ok(Some(evaluation.judge)),
            Err(DriverError::Artifact(error)) => {
                tracing::warn!("the judge of {} cannot be told: {error}", view.version.adapter_id);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
