//! Tests of the summary.

use clara_lifecycle::digest::Digest;

use super::*;

#[test]
fn records_that_lose_their_end_are_told_beside_the_training() {
    let nothing = ArtifactRef { prefix: String::new(), files: Vec::new() };
    let training = TrainingResult {
        adapter: nothing.clone(),
        report: nothing,
        base_model: "tiny".to_owned(),
        base_model_digest: Digest::of_parts([("model", b"tiny".as_slice())]),
        validation_loss_before: None,
        validation_loss_after: None,
        training_loss: 1.0,
        steps: 4,
        tokens: 100,
    };
    let cut = CollateReport { records: 157, truncated: 153, ..CollateReport::default() };
    let text = trained(&training, Some(&cut));
    assert!(text.contains("\n153 of 157 records lost their end; raise --sequence-length"), "{text}");
    let whole = CollateReport { truncated: 0, ..cut };
    assert_eq!(trained(&training, Some(&whole)), trained(&training, None));
}
