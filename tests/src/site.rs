//! A coordinator in this process with its web page, and jobs that go on as a test says instead of by workers.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clara_coordinator::{Coordinator, CoordinatorOptions, simulation::Users};
use clara_lifecycle::{
    artifact::ArtifactRef,
    attempt::Progress,
    id::JobId,
    job::{AttemptKey, Event, Job, JobState, LeaseTerms, StageState},
    results::StageResult,
};
use clara_runtime::{
    artifacts::ArtifactStore,
    broker::sqlite::SqliteBroker,
    config::{PageAudience, Settings},
    health::Health,
    http::{self, Mount},
    metrics,
    state::sqlite::SqliteState,
    task::Tasks,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const TERMS: LeaseTerms =
    LeaseTerms { ttl: Duration::from_mins(10), progress_within: Duration::from_mins(20) };
const END_WITHIN: Duration = Duration::from_secs(5);

/// A coordinator with its web page.
#[derive(Debug)]
pub struct Site {
    /// Where the web page is.
    pub address: SocketAddr,
    users: Users,
    artifacts: ArtifactStore,
    tasks: Tasks,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Site {
    /// Without jobs, versions and golden datasets.
    ///
    /// # Errors
    /// When it cannot listen or write.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let tasks = Tasks::new(CancellationToken::new());
        let artifacts = ArtifactStore::local(folder.path().join("artifacts"))?;
        let state = Arc::new(SqliteState::open(folder.path().join("clara.db"))?);
        let broker = Arc::new(SqliteBroker::open(folder.path().join("broker.db"))?);
        let free_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = CoordinatorOptions::of(&Settings::default(), free_port);
        let users = Users::over(Arc::clone(&state) as _);
        let address = runtime.block_on(async {
            let coordinator = Coordinator::start(options, state, broker, artifacts.clone(), &tasks).await?;
            let pages = Mount::default();
            pages.show(coordinator.pages(PageAudience::Loopback).context("there are no pages")?);
            let (page, shutdown) = (metrics::install()?, tasks.shutdown().clone());
            let (address, serving) = http::serve(free_port, page, Health::default(), pages, shutdown).await?;
            tasks.spawn("http.serve", serving);
            anyhow::Ok(address)
        })?;
        Ok(Self { address, users, artifacts, tasks, runtime, folder })
    }

    /// The address of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Calls the REST interface; `path` begins after its version.
    ///
    /// # Errors
    /// When the call is refused; with the problem.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let (status, answer) = exchange(self.address, method, &format!("/api/v1{path}"), body)?;
        ensure!((200..300).contains(&status), "{method} {path} was answered {status}: {answer}");
        Ok(answer)
    }

    /// A job as it stands.
    ///
    /// # Errors
    /// When there is no such job.
    pub fn job(&self, job: &JobId) -> Result<Job> {
        Ok(self.runtime.block_on(self.users.job(job))?)
    }

    /// Claims the attempt of the job's stage.
    ///
    /// # Errors
    /// When no stage is queued.
    pub fn claim(&self, job: &JobId, worker: &str) -> Result<AttemptKey> {
        let JobState::Active { stage } = self.job(job)?.state else { bail!("{job} is not active") };
        let attempt = self.job(job)?.stages.get(stage).attempt;
        let claim = format!("{worker}-{stage}-{attempt}");
        let event = Event::Claimed { stage, attempt, worker: worker.to_owned(), claim, terms: TERMS };
        let job = self.apply(job, event)?;
        let StageState::Leased(lease) = &job.stages.get(stage).state else { bail!("{stage} is not leased") };
        Ok(AttemptKey { stage, attempt, fence: lease.fence })
    }

    /// Tells progress of an attempt.
    ///
    /// # Errors
    /// When the attempt is not the live one.
    pub fn progress(&self, job: &JobId, key: AttemptKey, progress: Progress) -> Result<()> {
        self.apply(job, Event::Heartbeat { key, progress, terms: TERMS }).map(drop)
    }

    /// Claims the attempt of the job's stage and completes it.
    ///
    /// # Errors
    /// When the result is not of that stage.
    pub fn complete(&self, job: &JobId, worker: &str, result: StageResult) -> Result<Arc<Job>> {
        let key = self.claim(job, worker)?;
        self.apply(job, Event::Completed { key, result: Arc::new(result) })
    }

    /// Lets something happen to a job.
    ///
    /// # Errors
    /// When it does not apply.
    pub fn apply(&self, job: &JobId, event: Event) -> Result<Arc<Job>> {
        Ok(self.runtime.block_on(self.users.driver().apply(job, event))?)
    }

    /// Stores files as an artifact.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn store(&self, prefix: &str, files: &BTreeMap<&str, String>) -> Result<ArtifactRef> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        for (name, content) in files {
            std::fs::write(Path::new(folder.path()).join(name), content)?;
        }
        Ok(self.runtime.block_on(self.artifacts.put_folder(prefix, folder.path()))?)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.runtime.block_on(self.tasks.finish(END_WITHIN));
    }
}

/// Sends one request with a JSON body, or none for `null`; answers the status and the JSON that came back.
///
/// # Errors
/// When there is no answer, or none in JSON.
pub fn exchange(address: SocketAddr, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut connection = TcpStream::connect(address)?;
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    // Not every server closes the connection when it is asked to.
    let mut answer = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(answer.read_line(&mut head)? > 0, "no HTTP: {head}");
    }
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = Vec::new();
    match length {
        Some((_, length)) => answer.take(length.trim().parse()?).read_to_end(&mut body)?,
        None => answer.read_to_end(&mut body)?,
    };
    let body = String::from_utf8(body)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, serde_json::from_str(&body).with_context(|| format!("{method} {path}: no JSON: {body}"))?))
}
