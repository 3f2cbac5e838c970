//! Rollout, rollback, and what is served.

use clara_lifecycle::served::ServedTarget;
use clara_proto::v1;
use serde_json::Value;

use super::{Answer, Client, older, read};

impl Client {
    /// Puts a version on targets; answers when it is served there.
    pub(crate) async fn roll_out(&self, request: v1::RollOutAdapterRequest) -> Answer<Value> {
        let answer = self.calls().roll_out_adapter(request).await;
        let answer = answer.map_err(|status| older("`clara registry rollout`", status))?;
        read("rollout", &answer.into_inner().json)
    }

    /// Makes an earlier version the champion again.
    pub(crate) async fn roll_back(&self, request: v1::RollBackFamilyRequest) -> Answer<Value> {
        let answer = self.calls().roll_back_family(request).await;
        let answer = answer.map_err(|status| older("`clara registry rollback`", status))?;
        read("rollback", &answer.into_inner().json)
    }

    /// What the targets serve: as it was seen last, or asked now.
    pub(crate) async fn served(&self, fresh: bool) -> Answer<Vec<ServedTarget>> {
        let answer = self.calls().list_served(v1::ListServedRequest { fresh }).await;
        let json = answer.map_err(|status| older("`clara registry served`", status))?.into_inner().json;
        json.iter().map(|json| read("target", json)).collect()
    }
}
