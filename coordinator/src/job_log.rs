//! What attempts logged: kept beside the jobs, since job records are loaded often and must stay small.
//!
//! Lines that came together are one record, named by their attempt's fence and the last line's number, and a member of
//! the job's index. So a repeated call writes nothing, and a reader who knows a line finds all that come after it.

use clara_lifecycle::{
    id::{Fence, JobId},
    job::AttemptKey,
    log::{LogLine, LogPart, LogPosition},
};
use clara_runtime::state::{Body, Commit, IndexChange, Order, Page, Record, RecordKey, StateError, Write};

use crate::{
    driver::{Driver, DriverError},
    records::{Records, from_json, to_json},
};

/// So many of the newest lines of an attempt are kept, and at most as many that came together with the oldest of them.
const LINES_KEPT: u64 = 2_000;
/// Records that are removed with one that is written.
const REMOVED_TOGETHER: usize = 16;

/// A reader's place in the log of one job.
#[derive(Debug, Clone)]
pub(crate) struct LogCursor {
    job: JobId,
    /// The last member of the index that was read.
    member: String,
    /// The last line that was read.
    position: LogPosition,
}

impl LogCursor {
    /// After the line at `position`.
    pub(crate) fn after(job: JobId, position: LogPosition) -> Self {
        Self { job, member: member(position), position }
    }

    /// What is new in a part; `None` when nothing is.
    fn advance(&mut self, mut part: LogPart) -> Option<LogPart> {
        let fence = part.fence;
        part.lines.retain(|line| LogPosition { fence, line: line.number } > self.position);
        let line = part.lines.last()?.number;
        self.position = LogPosition { fence, line };
        Some(part)
    }
}

impl Driver {
    /// Keeps lines of an attempt; lines that were kept before are left as they are, and the lease does not matter.
    ///
    /// # Errors
    /// [`DriverError::Invalid`] when the job never had such an attempt or the lines are not in order.
    pub(crate) async fn append_log(
        &self,
        job: &JobId,
        key: AttemptKey,
        lines: Vec<LogLine>,
    ) -> Result<(), DriverError> {
        let Some(last) = lines.last().map(|line| line.number) else { return Ok(()) };
        if !lines.is_sorted_by(|one, next| one.number < next.number) {
            return Err(DriverError::Invalid(
                "field `lines` is not in order of the lines' numbers".to_owned(),
            ));
        }
        let live = self.records.job(job).await?.value.fence;
        if key.fence > live {
            let reason = format!("fence {} of {job} was never given; its newest is {live}", key.fence);
            return Err(DriverError::Invalid(reason));
        }
        let member = member(LogPosition { fence: key.fence, line: last });
        let part = LogPart { stage: key.stage, attempt: key.attempt, fence: key.fence, lines };
        let record = record_key(job, &member);
        let body = Body::put(to_json(&record, &part)?);
        let mut commit = Commit::default();
        commit.writes.push(Write { key: record.clone(), expected: None, body });
        commit.indexes.push(IndexChange { index: index(job), member, present: true });
        let put_alone = commit.clone();
        let surplus = self.surplus(job, key.fence, last).await?;
        for Record { id, version, .. } in surplus {
            let (key, expected) = (record_key(job, &id), Some(version));
            commit.writes.push(Write { key, expected, body: Body::Remove });
            commit.indexes.push(IndexChange { index: index(job), member: id, present: false });
        }
        match self.records.state.commit(&commit).await {
            // Another one removes the same; what was to be kept is kept all the same.
            Err(StateError::Conflict { key, .. }) if key != record => self.commit_once(&put_alone).await,
            Err(StateError::Conflict { .. }) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Commits what may be there already.
    async fn commit_once(&self, commit: &Commit) -> Result<(), DriverError> {
        match self.records.state.commit(commit).await {
            Err(StateError::Conflict { .. }) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// The oldest records of an attempt's log that are too many once line `last` is kept, named by their members.
    async fn surplus(&self, job: &JobId, fence: Fence, last: u64) -> Result<Vec<Record>, DriverError> {
        let Some(too_old) = last.checked_sub(LINES_KEPT).filter(|line| *line > 0) else {
            return Ok(Vec::new());
        };
        let newest_removed = member(LogPosition { fence, line: too_old });
        let after = Some(member(LogPosition { fence, line: 0 }));
        let page = Page { after, limit: REMOVED_TOGETHER, order: Order::Ascending };
        let mut members = self.records.state.members(&index(job), &page).await?;
        members.retain(|member| *member <= newest_removed);
        let keys: Vec<RecordKey> = members.iter().map(|member| record_key(job, member)).collect();
        let records = self.records.state.load_all(&keys).await?;
        let of_job = format!("{job}/");
        let by_member = |record: Record| {
            let id = record.id.strip_prefix(&of_job)?.to_owned();
            Some(Record { id, ..record })
        };
        Ok(records.into_iter().flatten().filter_map(by_member).collect())
    }

    /// The next parts of a log, from at most `limit` records, and whether there may be more at once.
    pub(crate) async fn read_log(
        &self,
        cursor: &mut LogCursor,
        limit: usize,
    ) -> Result<(Vec<LogPart>, bool), DriverError> {
        let page = Page { after: Some(cursor.member.clone()), limit, order: Order::Ascending };
        let members = self.records.state.members(&index(&cursor.job), &page).await?;
        let Some(last) = members.last() else { return Ok((Vec::new(), false)) };
        cursor.member.clone_from(last);
        let keys: Vec<RecordKey> = members.iter().map(|member| record_key(&cursor.job, member)).collect();
        let mut parts = Vec::new();
        for record in self.records.state.load_all(&keys).await?.into_iter().flatten() {
            parts.extend(cursor.advance(from_json(&format!("{LOG}/{}", record.id), &record.body)?));
        }
        Ok((parts, members.len() == limit))
    }
}

/// The changes that remove the whole log of a job.
pub(crate) async fn removal(
    records: &Records,
    job: &JobId,
) -> Result<(Vec<Write>, Vec<IndexChange>), DriverError> {
    let mut page = Page { after: None, limit: 500, order: Order::Ascending };
    let (mut writes, mut indexes) = (Vec::new(), Vec::new());
    let of_job = format!("{job}/");
    loop {
        let members = records.state.members(&index(job), &page).await?;
        let keys: Vec<RecordKey> = members.iter().map(|member| record_key(job, member)).collect();
        for Record { id, version, .. } in records.state.load_all(&keys).await?.into_iter().flatten() {
            let member = id.strip_prefix(&of_job).unwrap_or(&id).to_owned();
            let key = record_key(job, &member);
            writes.push(Write { key, expected: Some(version), body: Body::Remove });
            indexes.push(IndexChange { index: index(job), member, present: false });
        }
        match members.last() {
            Some(last) if members.len() == page.limit => page.after = Some(last.clone()),
            _ => return Ok((writes, indexes)),
        }
    }
}

const LOG: &str = "log";

fn index(job: &JobId) -> String {
    format!("log.{job}")
}

fn record_key(job: &JobId, member: &str) -> RecordKey {
    RecordKey::new(LOG, format!("{job}/{member}"))
}

/// Members in order of their bytes are in order of their positions.
fn member(LogPosition { fence: Fence(fence), line }: LogPosition) -> String {
    format!("{fence:016x}/{line:016x}")
}

#[cfg(test)]
mod tests;
