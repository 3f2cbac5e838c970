//! Evaluations read from the artifact store, the last ones kept: they never change.

use std::{collections::VecDeque, sync::Arc};

use clara_lifecycle::{
    adapter::AdapterVersion, artifact::ArtifactRef, id::GoldenReference, job::Job, results::StageResult,
    review::Subject, stage::Stage,
};
use clara_runtime::artifacts::ArtifactStore;
use parking_lot::Mutex;

use crate::{
    driver::{Driver, DriverError},
    evidence,
};

/// An evaluation of 1,000 samples takes some 10 MB.
const KEPT: usize = 8;

/// The evaluations that were looked at last; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Subjects {
    kept: Arc<Mutex<VecDeque<Kept>>>,
}

/// An evaluation under the name of its artifact and gate.
type Kept = (String, Arc<Subject>);

impl Subjects {
    /// The evaluation of a version; `None` when it has none here.
    pub(super) async fn load(
        &self,
        driver: &Driver,
        artifacts: &ArtifactStore,
        version: &AdapterVersion,
    ) -> Result<Option<Arc<Subject>>, DriverError> {
        let Some(lineage) = &version.lineage else { return Ok(None) };
        let job = match driver.records.job(&lineage.job).await {
            Ok(job) => job.value,
            Err(DriverError::UnknownJob { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(StageResult::Judge(judged)) = job.result(Stage::Judge) else { return Ok(None) };
        // A gate that decides anew is another attempt.
        let key = format!("{}#{}", judged.evaluation.prefix, job.stages.get(Stage::Gate).attempt);
        if let Some(subject) = self.kept(&key) {
            return Ok(Some(subject));
        }
        let subject = Arc::new(read(driver, artifacts, &job, &judged.evaluation).await?);
        if subject.report.is_some() {
            self.keep(key, &subject);
        }
        Ok(Some(subject))
    }

    fn kept(&self, key: &str) -> Option<Arc<Subject>> {
        let mut kept = self.kept.lock();
        let index = kept.iter().position(|(of, _)| of == key)?;
        let found = kept.remove(index)?;
        let subject = Arc::clone(&found.1);
        kept.push_front(found);
        Some(subject)
    }

    fn keep(&self, key: String, subject: &Arc<Subject>) {
        let mut kept = self.kept.lock();
        kept.push_front((key, Arc::clone(subject)));
        kept.truncate(KEPT);
    }
}

async fn read(
    driver: &Driver,
    artifacts: &ArtifactStore,
    job: &Job,
    evaluation: &ArtifactRef,
) -> Result<Subject, DriverError> {
    let evaluation = evidence::evaluation(artifacts, evaluation).await?;
    let answers = match job.result(Stage::Generate) {
        Some(StageResult::Generate(result)) => Some(evidence::answers(artifacts, &result.answers).await?),
        _ => None,
    };
    let reference: Result<GoldenReference, _> = job.golden.reference.parse();
    let golden = match reference {
        Ok(reference) => match driver.golden(&reference).await {
            Ok(golden) => Some(golden.dataset().clone()),
            Err(DriverError::UnknownGolden { .. }) => None,
            Err(error) => return Err(error),
        },
        Err(error) => return Err(DriverError::Invalid(error.to_string())),
    };
    let report = match job.result(Stage::Gate) {
        Some(StageResult::Gate(report)) => Some(report.clone()),
        _ => None,
    };
    Ok(Subject { evaluation, answers, golden, policy: job.spec.gate.clone(), report })
}
