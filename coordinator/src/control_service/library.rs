//! Registry and golden datasets.

use clara_lifecycle::{adapter::RegistryFile, golden::GoldenDataset, id::GoldenReference, job::Verdict};
use clara_proto::v1;
use clara_runtime::state::RecordKey;
use serde::Serialize;

use super::Control;
use crate::{
    driver::DriverError,
    golden::Golden,
    records::to_json,
    registry::{AdapterFilter, Review, Reviewed},
};

pub(super) fn document<T: Serialize>(value: &T) -> Result<String, DriverError> {
    to_json(&RecordKey::new("document", ""), value)
}

pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, DriverError> {
    text.parse().map_err(|error: T::Err| DriverError::Invalid(error.to_string()))
}

pub(super) fn from_document<T: serde::de::DeserializeOwned>(
    what: &str,
    json: &str,
) -> Result<T, DriverError> {
    serde_json::from_str(json)
        .map_err(|error| DriverError::Invalid(format!("the {what} cannot be read: {error}")))
}

#[derive(Serialize)]
struct GoldenLine<'a> {
    #[serde(flatten)]
    dataset: &'a GoldenDataset,
    frozen: bool,
    digest: Option<&'a str>,
}

impl Control {
    pub(super) async fn list_adapters(
        &self,
        request: v1::ListAdaptersRequest,
    ) -> Result<v1::ListAdaptersResponse, DriverError> {
        let method = match request.method {
            None => None,
            Some(number) => {
                let method = v1::Method::try_from(number).map_err(|_| {
                    DriverError::Invalid(format!("field `method` has the unknown value {number}"))
                })?;
                Some(method.try_into()?)
            }
        };
        let filter = AdapterFilter {
            domain: request.domain.as_deref().map(parsed).transpose()?,
            method,
            status: request.status.as_deref().map(parsed).transpose()?,
            range: request.version_range.as_deref().map(parsed).transpose()?,
        };
        let views = self.driver.adapters(&filter).await?;
        Ok(v1::ListAdaptersResponse { json: views.iter().map(document).collect::<Result<_, _>>()? })
    }

    pub(super) async fn get_adapter(
        &self,
        request: v1::GetAdapterRequest,
    ) -> Result<v1::GetAdapterResponse, DriverError> {
        let view = self.driver.adapter(&request.adapter_id).await?;
        Ok(v1::GetAdapterResponse { json: document(&view)? })
    }

    pub(super) async fn review_adapter(
        &self,
        request: v1::ReviewAdapterRequest,
    ) -> Result<v1::ReviewAdapterResponse, DriverError> {
        let verdict = if request.approve { Verdict::Approve } else { Verdict::Reject };
        let review = Review { verdict, actor: request.actor, reason: request.reason };
        let Reviewed { view, job, waits } =
            self.reviews.decide(&request.adapter_id, review, request.review_revision).await?;
        let json = document(&view)?;
        Ok(v1::ReviewAdapterResponse { json, job_id: job.map(String::from), waits })
    }

    pub(super) async fn list_audit(
        &self,
        request: v1::ListAuditRequest,
    ) -> Result<v1::ListAuditResponse, DriverError> {
        // An alias or a range stands for a version; a golden dataset is a subject of its own.
        let subject = match request.adapter_id {
            Some(named) => match self.driver.adapter(&named).await {
                Ok(view) => Some(view.version.adapter_id),
                Err(DriverError::Invalid(_)) => Some(named),
                Err(error) => return Err(error),
            },
            None => None,
        };
        let (entries, broken) = self.driver.audit_log(subject.as_deref()).await?;
        let (broken_chain, broken_at) = broken.unzip();
        let json = entries.iter().map(document).collect::<Result<_, _>>()?;
        Ok(v1::ListAuditResponse { json, broken_at, broken_chain })
    }

    pub(super) async fn export_registry(
        &self,
        _: v1::ExportRegistryRequest,
    ) -> Result<v1::ExportRegistryResponse, DriverError> {
        Ok(v1::ExportRegistryResponse { json: document(&self.driver.export_registry().await?)? })
    }

    pub(super) async fn import_registry(
        &self,
        request: v1::ImportRegistryRequest,
    ) -> Result<v1::ImportRegistryResponse, DriverError> {
        let file: RegistryFile = from_document("registry file", &request.json)?;
        let (imported, unchanged) = self.driver.import_registry(file, &request.actor).await?;
        Ok(v1::ImportRegistryResponse { imported, unchanged })
    }

    pub(super) async fn put_golden(
        &self,
        request: v1::PutGoldenRequest,
    ) -> Result<v1::PutGoldenResponse, DriverError> {
        let dataset: GoldenDataset = from_document("golden dataset", &request.json)?;
        let stored = self.driver.put_golden(dataset, request.append).await?;
        Ok(v1::PutGoldenResponse { json: document(&stored)? })
    }

    pub(super) async fn get_golden(
        &self,
        request: v1::GetGoldenRequest,
    ) -> Result<v1::GetGoldenResponse, DriverError> {
        let reference: GoldenReference = parsed(&request.reference)?;
        let golden = self.driver.golden(&reference).await?;
        let (frozen, digest, evaluations) = match &golden {
            Golden::Draft(_) => (false, None, 0),
            Golden::Frozen(version) => {
                (true, Some(version.digest.to_string()), self.driver.evaluations_with(&version.digest).await?)
            }
        };
        Ok(v1::GetGoldenResponse { json: document(golden.dataset())?, frozen, digest, evaluations })
    }

    pub(super) async fn list_golden(
        &self,
        _: v1::ListGoldenRequest,
    ) -> Result<v1::ListGoldenResponse, DriverError> {
        let all = self.driver.all_golden().await?;
        let line = |golden: &Golden| {
            let (frozen, digest) = match golden {
                Golden::Draft(_) => (false, None),
                Golden::Frozen(version) => (true, Some(version.digest.as_str())),
            };
            document(&GoldenLine { dataset: golden.dataset(), frozen, digest })
        };
        Ok(v1::ListGoldenResponse { json: all.iter().map(line).collect::<Result<_, _>>()? })
    }

    pub(super) async fn freeze_golden(
        &self,
        request: v1::FreezeGoldenRequest,
    ) -> Result<v1::FreezeGoldenResponse, DriverError> {
        let id = parsed(&request.dataset_id)?;
        let frozen = self.driver.freeze_golden(&id, &request.actor, &self.artifacts).await?;
        Ok(v1::FreezeGoldenResponse {
            reference: frozen.dataset.reference().to_string(),
            digest: frozen.digest.to_string(),
        })
    }
}
