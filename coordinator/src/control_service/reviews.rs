//! Reviews: the queue, a version or one of its answers, and what reviewers do.

use clara_lifecycle::review::ReviewChange;
use clara_proto::v1;

use super::{
    Control,
    library::{document, from_document},
};
use crate::driver::DriverError;

impl Control {
    pub(super) async fn list_reviews(
        &self,
        request: v1::ListReviewsRequest,
    ) -> Result<v1::ListReviewsResponse, DriverError> {
        let queue = self.reviews.queue(&request.reviewer).await?;
        Ok(v1::ListReviewsResponse { json: queue.iter().map(document).collect::<Result<_, _>>()? })
    }

    pub(super) async fn get_review(
        &self,
        request: v1::GetReviewRequest,
    ) -> Result<v1::GetReviewResponse, DriverError> {
        let v1::GetReviewRequest { adapter_id, reviewer, sample_id } = request;
        let json = match sample_id {
            Some(sample_id) => document(&self.reviews.item(&adapter_id, &sample_id, &reviewer).await?)?,
            None => document(&self.reviews.sheet(&adapter_id, &reviewer).await?)?,
        };
        Ok(v1::GetReviewResponse { json })
    }

    pub(super) async fn save_review(
        &self,
        request: v1::SaveReviewRequest,
    ) -> Result<v1::SaveReviewResponse, DriverError> {
        let change: ReviewChange = from_document("change", &request.json)?;
        let saved = self.reviews.save(&request.adapter_id, &request.reviewer, &change).await?;
        Ok(v1::SaveReviewResponse { json: document(&saved)? })
    }
}
