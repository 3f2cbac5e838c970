//! Calls about knowledge gaps.

use clara_lifecycle::{job::Job, score::KnowledgeGap, spec::JobSpec};
use clara_proto::v1;

use super::{Answer, Client, older, read};

/// A job for gaps, or what it would be.
#[derive(Debug)]
pub(crate) struct GapTraining {
    /// `None` after a rehearsal.
    pub(crate) job: Option<Job>,
    pub(crate) spec: JobSpec,
    pub(crate) gaps: Vec<KnowledgeGap>,
}

impl Client {
    /// Knowledge gaps, the worst first.
    pub(crate) async fn gaps(&self, filter: v1::GapFilter) -> Answer<Vec<KnowledgeGap>> {
        let answer = self.calls().list_gaps(v1::ListGapsRequest { filter: Some(filter) }).await;
        documents(&answer.map_err(|status| older("`clara gaps`", status))?.into_inner().json)
    }

    pub(crate) async fn resolve_gaps(&self, request: v1::ResolveGapsRequest) -> Answer<Vec<KnowledgeGap>> {
        documents(&self.calls().resolve_gaps(request).await?.into_inner().json)
    }

    pub(crate) async fn train_gaps(&self, request: v1::TrainGapsRequest) -> Answer<GapTraining> {
        let answer = self.calls().train_gaps(request).await?.into_inner();
        Ok(GapTraining {
            job: answer.job.map(|job| read("job", &job.json)).transpose()?,
            spec: read("specification", &answer.spec_json)?,
            gaps: documents(&answer.gaps_json)?,
        })
    }
}

fn documents(json: &[String]) -> Answer<Vec<KnowledgeGap>> {
    json.iter().map(|json| read("knowledge gap", json)).collect()
}
