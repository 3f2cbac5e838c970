//! Lets a stuck job spend more on its judge.

use std::sync::Arc;

use super::{Command, Job, JobEvent, JobState, Rejected};

impl Job {
    /// Raises the most that the job may spend; the judge stage then goes on with a retry.
    pub(super) fn raise_budget(&mut self, most: f64) -> Result<Vec<Command>, Rejected> {
        if !matches!(self.state, JobState::Stuck { .. }) {
            return Err(Rejected::NotApplicable { state: self.state.name() });
        }
        let refuse = |reason: String| Rejected::Budget { most: most.to_string(), reason };
        let before = self.spec.judge.budget.as_ref().and_then(|budget| budget.most);
        let before = before.ok_or_else(|| refuse("the job has no `judge.budget.most`".to_owned()))?;
        if most <= before {
            return Err(refuse(format!("it is {before} now; expected more")));
        }
        let mut judge = self.spec.judge.clone();
        judge.budget = judge.budget.map(|budget| budget.with_most(most));
        if let Some(problem) = judge.problems().first() {
            return Err(refuse(problem.message.clone()));
        }
        Arc::make_mut(&mut self.spec).judge = judge;
        Ok(vec![Command::Record(JobEvent::BudgetRaised { most })])
    }
}
