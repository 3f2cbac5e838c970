//! Rollout, rollback, and what is served.

use clara_proto::v1;
use serde_json::json;

use super::{Control, library::document};
use crate::{driver::DriverError, rollout::RollBack};

impl Control {
    pub(super) async fn roll_out_adapter(
        &self,
        request: v1::RollOutAdapterRequest,
    ) -> Result<v1::RollOutAdapterResponse, DriverError> {
        let v1::RollOutAdapterRequest { adapter_id, targets, promote, actor, reason } = request;
        let by = (actor.as_str(), reason.as_str());
        let done = Box::pin(self.rollouts.roll_out_by_hand(&adapter_id, &targets, promote, by)).await?;
        let (adapter_id, targets, champion) = done;
        let json = json!({ "adapter_id": adapter_id, "targets": targets, "champion": champion });
        Ok(v1::RollOutAdapterResponse { json: document(&json)? })
    }

    pub(super) async fn roll_back_family(
        &self,
        request: v1::RollBackFamilyRequest,
    ) -> Result<v1::RollBackFamilyResponse, DriverError> {
        let v1::RollBackFamilyRequest { family_id, to, dry_run, force, actor, reason } = request;
        let asked = RollBack { family_id, to, dry_run, force, actor, reason };
        let went = self.rollouts.roll_back(&asked).await?;
        Ok(v1::RollBackFamilyResponse { json: document(&went)? })
    }

    pub(super) async fn list_served(
        &self,
        request: v1::ListServedRequest,
    ) -> Result<v1::ListServedResponse, DriverError> {
        let seen = if request.fresh { self.rollouts.look().await? } else { self.driver.served().await? };
        Ok(v1::ListServedResponse { json: seen.iter().map(document).collect::<Result<_, _>>()? })
    }
}
