//! Knowledge gaps: list, resolve, train.

use clara_lifecycle::{gaps::GapFilter, score::KnowledgeGap};
use clara_proto::v1;

use super::{
    Control,
    jobs::to_wire,
    library::{document, parsed},
};
use crate::{
    driver::DriverError,
    gaps::{GapQuery, GapTraining},
};

/// A job for gaps takes at most so many unless the request says otherwise.
const DEFAULT_LIMIT: usize = 50;

impl Control {
    pub(super) async fn list_gaps(
        &self,
        request: v1::ListGapsRequest,
    ) -> Result<v1::ListGapsResponse, DriverError> {
        let gaps = self.driver.gaps(&query(request.filter)?, &self.artifacts).await?;
        Ok(v1::ListGapsResponse { json: documents(&gaps)? })
    }

    pub(super) async fn resolve_gaps(
        &self,
        request: v1::ResolveGapsRequest,
    ) -> Result<v1::ResolveGapsResponse, DriverError> {
        let v1::ResolveGapsRequest { gap_ids, actor, notes } = request;
        if gap_ids.is_empty() {
            return Err(DriverError::Invalid("name at least one gap; `clara gaps list` shows all".into()));
        }
        let gaps = self.driver.resolve_gaps(&gap_ids, (&actor, &notes), &self.artifacts).await?;
        Ok(v1::ResolveGapsResponse { json: documents(&gaps)? })
    }

    pub(super) async fn train_gaps(
        &self,
        request: v1::TrainGapsRequest,
    ) -> Result<v1::TrainGapsResponse, DriverError> {
        let v1::TrainGapsRequest { filter, limit, keep_query, dry_run, actor } = request;
        let limit = if limit == 0 { DEFAULT_LIMIT } else { limit as usize };
        let training = GapTraining { limit, keep_query, dry_run, actor };
        let surroundings = (self.check.as_deref(), &self.artifacts);
        let mut submitted = self.driver.train_gaps(query(filter)?, &training, surroundings).await?;
        submitted.spec.ingest = submitted.spec.ingest.shown();
        Ok(v1::TrainGapsResponse {
            job: submitted.job.as_ref().map(to_wire).transpose()?,
            spec_json: document(&submitted.spec)?,
            gaps_json: documents(&submitted.gaps)?,
        })
    }
}

fn query(filter: Option<v1::GapFilter>) -> Result<GapQuery, DriverError> {
    let v1::GapFilter { domain, adapter_id, status, severity, all_versions, gap_ids } =
        filter.unwrap_or_default();
    let filter = GapFilter {
        status: status.as_deref().map(parsed).transpose()?,
        severity: severity.as_deref().map(parsed).transpose()?,
        gap_ids,
    };
    Ok(GapQuery { domain, adapter_id, all_versions, filter })
}

fn documents(gaps: &[KnowledgeGap]) -> Result<Vec<String>, DriverError> {
    gaps.iter().map(document).collect()
}
