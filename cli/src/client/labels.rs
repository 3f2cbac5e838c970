//! Calls about human labels and calibrations.

use clara_lifecycle::{
    calibration::{Calibration, JudgeStanding},
    label::HumanLabel,
};
use clara_proto::v1;
use serde::{Deserialize, Serialize};

use super::{Answer, Client, older, read};

const COMMAND: &str = "`clara eval label` and `clara eval calibrate`";

/// A calibration, and how far its judge may be trusted now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CalibrationDocument {
    #[serde(flatten)]
    pub(crate) calibration: Calibration,
    pub(crate) standing: JudgeStanding,
}

impl Client {
    pub(crate) async fn put_label(&self, request: v1::PutLabelRequest) -> Answer<HumanLabel> {
        let answer = self.calls().put_label(request).await.map_err(|status| older(COMMAND, status))?;
        read("label", &answer.into_inner().json)
    }

    /// Labels in order of version, sample and person.
    pub(crate) async fn labels(&self, adapter_id: Option<String>) -> Answer<Vec<HumanLabel>> {
        let answer = self.calls().list_labels(v1::ListLabelsRequest { adapter_id }).await;
        let answer = answer.map_err(|status| older(COMMAND, status))?.into_inner();
        answer.json.iter().map(|json| read("label", json)).collect()
    }

    /// Calibrates every judge; answers the results, and the judges that were left out.
    pub(crate) async fn calibrate(&self, actor: String) -> Answer<(Vec<CalibrationDocument>, Vec<String>)> {
        let answer = self.calls().calibrate(v1::CalibrateRequest { actor }).await;
        let answer = answer.map_err(|status| older(COMMAND, status))?.into_inner();
        let calibrations = answer.json.iter().map(|json| read("calibration", json)).collect::<Answer<_>>()?;
        Ok((calibrations, answer.unknown_judges))
    }

    pub(crate) async fn calibrations(&self) -> Answer<Vec<CalibrationDocument>> {
        let answer = self.calls().list_calibrations(v1::ListCalibrationsRequest {}).await;
        let answer = answer.map_err(|status| older(COMMAND, status))?.into_inner();
        answer.json.iter().map(|json| read("calibration", json)).collect()
    }
}
