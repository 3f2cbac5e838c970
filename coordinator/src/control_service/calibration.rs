//! Human labels and calibrations.

use std::collections::BTreeMap;

use clara_lifecycle::{
    label::{LabelSource, NewLabel},
    score::Criterion,
};
use clara_proto::v1;

use super::{Control, library::document};
use crate::{change::time_text, driver::DriverError};

impl Control {
    pub(crate) async fn put_label(
        &self,
        request: v1::PutLabelRequest,
    ) -> Result<v1::PutLabelResponse, DriverError> {
        let new = NewLabel {
            sample_id: request.sample_id,
            scores: scores(request.scores)?,
            actor: request.actor,
            reason: request.reason,
            at: time_text(self.driver.records.state.now().await?),
            source: LabelSource::Label,
        };
        let label = self.label(&request.adapter_id, new).await?;
        Ok(v1::PutLabelResponse { json: document(&label)? })
    }

    pub(crate) async fn list_labels(
        &self,
        request: v1::ListLabelsRequest,
    ) -> Result<v1::ListLabelsResponse, DriverError> {
        let labels = self.driver.labels().await?;
        let wanted = labels
            .iter()
            .filter(|label| request.adapter_id.as_ref().is_none_or(|adapter| label.adapter_id == *adapter));
        Ok(v1::ListLabelsResponse { json: wanted.map(document).collect::<Result<_, _>>()? })
    }

    pub(crate) async fn calibrate(
        &self,
        request: v1::CalibrateRequest,
    ) -> Result<v1::CalibrateResponse, DriverError> {
        let (views, unknown) = self.calibrate_all(&request.actor).await?;
        Ok(v1::CalibrateResponse {
            json: views.iter().map(document).collect::<Result<_, _>>()?,
            unknown_judges: unknown.into_iter().collect(),
        })
    }

    pub(crate) async fn list_calibrations(
        &self,
        _: v1::ListCalibrationsRequest,
    ) -> Result<v1::ListCalibrationsResponse, DriverError> {
        let views = self.driver.calibrations().await?;
        Ok(v1::ListCalibrationsResponse { json: views.iter().map(document).collect::<Result<_, _>>()? })
    }
}

fn scores(given: impl IntoIterator<Item = (String, f64)>) -> Result<BTreeMap<Criterion, f64>, DriverError> {
    let one = |(name, score): (String, f64)| match name.parse() {
        Ok(criterion) => Ok((criterion, score)),
        Err(error) => Err(DriverError::Invalid(format!("field `scores`: {error}"))),
    };
    given.into_iter().map(one).collect()
}
