//! Submits no-op jobs, a window at a time, and measures when all are done and how long an idle one takes.

use std::{collections::HashSet, io::Write as _, ops::Range, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clara_lifecycle::{
    golden::{GoldenDataset, GoldenSample},
    id::JobId,
    samples,
    spec::JobSpec,
};
use clara_proto::v1::{self, control_service_client::ControlServiceClient};
use clara_runtime::{
    artifacts::ArtifactStore,
    coordinator_client::GrpcCoordinator,
    ports,
    service::{Daemon, Service, ServiceArgs, ServiceError, WorkerPorts, run as run_service, spawn_workers},
    task::Tasks,
};
use futures::StreamExt as _;
use tokio::{sync::mpsc, time::Instant};
use tonic::transport::{Channel, Endpoint};

use crate::noop::handlers;

/// A job that is not done by then counts as lost.
const DONE_WITHIN: Duration = Duration::from_mins(10);

#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// URL of the coordinator
    #[arg(long, value_name = "URL")]
    coordinator: String,
    /// Jobs that are submitted as fast as the window allows
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Jobs in flight
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Jobs that are submitted one after another, each watched until it is done
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Jobs that wait behind those in flight all the time: submitted before the workers start, replaced when one ends
    #[arg(long, default_value_t = 0)]
    backlog: usize,
    /// Beginning of the names of the jobs' domains; each job has a domain of its own
    #[arg(long, default_value = "bench")]
    domain: String,
}

/// Runs the load and prints what it measured.
pub(crate) fn run(args: &LoadArgs) -> ExitCode {
    let daemon = Daemon { name: "load", checks: &[], http: |_| ([127, 0, 0, 1], 0).into() };
    let given = args.clone();
    run_service(daemon, &args.service.layers(), false, |service| async move {
        let line = measure(&given, &service).await.map_err(ServiceError::from)?;
        writeln!(std::io::stdout(), "{line}")?;
        Ok(())
    })
}

async fn measure(args: &LoadArgs, service: &Service) -> Result<serde_json::Value> {
    let Service { settings, health, tasks, drain, .. } = service;
    let (last, mut done) = mpsc::unbounded_channel();
    let broker = ports::broker(settings, tasks, health, drain).await?;
    let coordinator = std::sync::Arc::new(GrpcCoordinator::new(&args.coordinator, tasks)?);
    let artifacts = ArtifactStore::local(settings.artifact_folder())?;
    let workers = Tasks::new(drain.child_token());
    let ports = WorkerPorts { broker, coordinator, artifacts };
    let channel = Endpoint::from_shared(args.coordinator.clone())?.connect().await?;
    let client = ControlServiceClient::new(channel);
    let submitter = Submitter { client, domain: args.domain.clone() };
    freeze_golden(&submitter.client).await?;
    submitter.submit_all(args.idle..args.idle + args.backlog, tasks).await?;
    drop(spawn_workers("load", handlers(Some(&last)), &ports, settings, &workers)?);
    let mut told = serde_json::Map::new();
    if args.idle > 0 {
        let mut times = Vec::with_capacity(args.idle);
        for number in 0..args.idle {
            times.push(submitter.time_of_one(number).await?.as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        told.insert("idle_jobs".into(), args.idle.into());
        told.insert("idle_p50_ms".into(), percentile(&times, 50).into());
        told.insert("idle_p99_ms".into(), percentile(&times, 99).into());
    }
    while done.try_recv().is_ok() {}
    if args.jobs > 0 {
        let took = submitter.pass(args, &mut done, tasks).await?;
        let jobs_per_second = precise(args.jobs) / took.as_secs_f64();
        told.insert("jobs".into(), args.jobs.into());
        told.insert("window".into(), args.window.into());
        told.insert("seconds".into(), took.as_secs_f64().into());
        told.insert("jobs_per_second".into(), jobs_per_second.into());
        told.insert("stages_per_second".into(), (5.0 * jobs_per_second).into());
    }
    workers.finish(Duration::from_secs(5)).await;
    Ok(told.into())
}

fn precise(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The value at or below which so many percent of sorted values lie.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Makes the golden dataset that the jobs name.
pub(crate) async fn freeze_golden(client: &ControlServiceClient<Channel>) -> Result<()> {
    let (id, domain) = ("law-golden".parse()?, "law".parse()?);
    let at = "2026-01-01T00:00:00Z".to_owned();
    let mut dataset = GoldenDataset::new(id, domain, "bench".to_owned(), at);
    dataset.add(GoldenSample::new("Was regelt § 35 BauGB?".into(), "Das Bauen im Außenbereich.".into()));
    let json = serde_json::to_string(&dataset)?;
    // Left over from a load before, it does as well.
    let put = client.clone().put_golden(v1::PutGoldenRequest { json, append: false }).await;
    let dataset_id = "law-golden".to_owned();
    let freeze = v1::FreezeGoldenRequest { dataset_id, actor: "bench".to_owned() };
    let frozen = client.clone().freeze_golden(freeze).await;
    let reference = v1::GetGoldenRequest { reference: "law-golden".to_owned() };
    let found = client.clone().get_golden(reference).await;
    found.with_context(|| format!("no golden dataset: {put:?}, {frozen:?}")).map(drop)
}

#[derive(Debug, Clone)]
struct Submitter {
    client: ControlServiceClient<Channel>,
    domain: String,
}

impl Submitter {
    async fn submit(&self, number: usize) -> Result<JobId> {
        let domain = format!("{}-{number}", self.domain).parse()?;
        let spec = JobSpec { domain, ..samples::spec() };
        let request =
            v1::SubmitJobRequest { spec: Some(spec.into()), dry_run: false, resume_unfinished: false };
        let answer = self.client.clone().submit_job(request).await?.into_inner();
        Ok(answer.job.context("no job was answered")?.job_id.parse()?)
    }

    /// From the submission until the watch of the job ends.
    async fn time_of_one(&self, number: usize) -> Result<Duration> {
        let began_at = Instant::now();
        let job_id = self.submit(number).await?.to_string();
        let request = v1::WatchJobRequest { job_id, after_event: 0 };
        let mut events = self.client.clone().watch_job(request).await?.into_inner();
        while let Some(event) = events.next().await {
            event?;
        }
        Ok(began_at.elapsed())
    }

    /// Submits all jobs, at most a window in flight, and waits until all are done.
    async fn pass(
        &self,
        args: &LoadArgs,
        done: &mut mpsc::UnboundedReceiver<JobId>,
        tasks: &Tasks,
    ) -> Result<Duration> {
        let began_at = Instant::now();
        let (answers, mut accepted) = mpsc::unbounded_channel();
        let mut begun = 0;
        // A stage may be carried out twice; its job counts once.
        let mut finished: HashSet<JobId> = HashSet::with_capacity(args.jobs);
        let deadline = began_at + DONE_WITHIN;
        while finished.len() < args.jobs {
            while begun < args.jobs && begun < finished.len() + args.window {
                let (submitter, answers) = (self.clone(), answers.clone());
                let number = args.idle + args.backlog + begun;
                tasks.spawn("load.submit", async move {
                    // The load has ended when nobody listens.
                    drop(answers.send(submitter.submit(number).await));
                });
                begun += 1;
            }
            tokio::select! {
                Some(job) = done.recv() => { finished.insert(job); }
                Some(job) = accepted.recv() => drop(job?),
                () = tokio::time::sleep_until(deadline) => {
                    bail!("{} of {} jobs were done within {DONE_WITHIN:?}", finished.len(), args.jobs);
                }
            }
        }
        if args.backlog == 0 {
            self.all_over(deadline).await?;
        }
        Ok(began_at.elapsed())
    }

    /// Submits jobs of these numbers, many at a time.
    async fn submit_all(&self, numbers: Range<usize>, tasks: &Tasks) -> Result<()> {
        const AT_ONCE: usize = 64;
        let submit = |number| {
            let submitter = self.clone();
            tasks.spawn("load.submit", async move { submitter.submit(number).await })
        };
        let mut submissions = futures::stream::iter(numbers.map(submit)).buffer_unordered(AT_ONCE);
        while let Some(submitted) = submissions.next().await {
            submitted??;
        }
        Ok(())
    }

    /// Waits until no job is active: the newest results are committed.
    async fn all_over(&self, deadline: Instant) -> Result<()> {
        loop {
            let state = Some(v1::JobState::Active.into());
            let request = v1::ListJobsRequest { state, limit: 1, ..v1::ListJobsRequest::default() };
            if self.client.clone().list_jobs(request).await?.into_inner().jobs.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "some jobs never ended");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
