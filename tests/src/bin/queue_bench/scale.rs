//! Many jobs of two tenants of unequal demand: all done once, and fairly.

use std::{collections::BTreeMap, io::Write as _, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use clara_lifecycle::{job::JobEvent, samples, spec::JobSpec, stage::Stage};
use clara_proto::v1::{self, control_service_client::ControlServiceClient};
use clara_runtime::{
    service::{Daemon, ServiceArgs, ServiceError, run as run_service},
    task::Tasks,
};
use futures::StreamExt as _;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::load::freeze_golden;

/// Calls at the same time.
const AT_ONCE: usize = 64;

#[derive(Debug, Clone, Args)]
pub(crate) struct ScaleArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// URL of a coordinator
    #[arg(long, value_name = "URL")]
    coordinator: String,
    /// Jobs of the tenant `many`, submitted first
    #[arg(long, default_value_t = 8000)]
    many: usize,
    /// Jobs of the tenant `few`
    #[arg(long, default_value_t = 2000)]
    few: usize,
}

/// One job as its events tell it.
struct Told {
    tenant: &'static str,
    finished_at: i64,
    claims: usize,
}

/// Submits the jobs, waits for all of them, and reads the events of each.
pub(crate) fn run(args: &ScaleArgs) -> ExitCode {
    let daemon = Daemon { name: "scale", checks: &[], http: |_| ([127, 0, 0, 1], 0).into() };
    let given = args.clone();
    run_service(daemon, &args.service.layers(), false, |service| async move {
        let line = measure(&given, &service.tasks).await.map_err(ServiceError::from)?;
        writeln!(std::io::stdout(), "{line}")?;
        Ok(())
    })
}

async fn measure(args: &ScaleArgs, tasks: &Tasks) -> Result<serde_json::Value> {
    let channel = Endpoint::from_shared(args.coordinator.clone())?.connect().await?;
    let client = ControlServiceClient::new(channel);
    freeze_golden(&client).await?;
    let began_at = Instant::now();
    let wanted = (0..args.many).map(|number| ("many", number));
    let wanted = wanted.chain((0..args.few).map(|number| ("few", number)));
    let submitting = wanted.map(|(tenant, number)| {
        let client = client.clone();
        tasks.spawn("scale.submit", async move { submit(client, tenant, number).await })
    });
    let jobs: Vec<_> = futures::stream::iter(submitting).buffered(AT_ONCE).collect().await;
    let submitted_after = began_at.elapsed();
    let reading = jobs.into_iter().map(|job| {
        let client = client.clone();
        tasks.spawn("scale.watch", async move {
            let (tenant, job_id) = job??;
            told(client, tenant, job_id).await
        })
    });
    // A watch ends with its job, so this also waits for all of them.
    let watched: Vec<_> = futures::stream::iter(reading).buffered(AT_ONCE).collect().await;
    let seconds = began_at.elapsed().as_secs_f64();
    let mut all = Vec::with_capacity(watched.len());
    for job in watched {
        all.push(job??);
    }
    all.sort_by_key(|job| job.finished_at);
    let claims: usize = all.iter().map(|job| job.claims).sum();
    Ok(serde_json::json!({
        "jobs": all.len(), "done_once": all.len(), "seconds": seconds,
        "submitted_after_seconds": submitted_after.as_secs_f64(),
        "jobs_per_second": precise(all.len()) / seconds,
        "stages_per_second": 5.0 * precise(all.len()) / seconds,
        "executions_beyond_one": claims - 5 * all.len(),
        "share_of_few_while_both_wait": share_of_few(&all, args.few),
    }))
}

fn precise(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The part of the smaller tenant among the jobs that finished until nine tenths of its jobs had: half is fair.
fn share_of_few(sorted: &[Told], few: usize) -> f64 {
    let mut seen = 0;
    for (position, job) in sorted.iter().enumerate() {
        seen += usize::from(job.tenant == "few");
        if seen * 10 >= few * 9 {
            // Its jobs were all submitted after those of the other one: what finished before does not count.
            let first = sorted.iter().position(|job| job.tenant == "few").unwrap_or_default();
            return precise(seen) / precise(position + 1 - first);
        }
    }
    f64::NAN
}

async fn submit(
    mut client: ControlServiceClient<Channel>,
    tenant: &'static str,
    number: usize,
) -> Result<(&'static str, String)> {
    let domain = format!("{tenant}-{number}").parse()?;
    let labels = BTreeMap::from([("tenant".to_owned(), tenant.to_owned())]);
    let spec = JobSpec { domain, labels, ..samples::spec() };
    let request = v1::SubmitJobRequest { spec: Some(spec.into()), dry_run: false, resume_unfinished: false };
    let answer = client.submit_job(request).await?.into_inner();
    Ok((tenant, answer.job.context("no job was answered")?.job_id))
}

/// Follows a job to its end and makes sure that every stage was committed once.
async fn told(
    mut client: ControlServiceClient<Channel>,
    tenant: &'static str,
    job_id: String,
) -> Result<Told> {
    let request = v1::WatchJobRequest { job_id: job_id.clone(), after_event: 0 };
    let mut events = client.watch_job(request).await?.into_inner();
    let (mut committed, mut finished, mut claims) = (BTreeMap::<Stage, usize>::new(), Vec::new(), 0);
    while let Some(event) = events.next().await {
        let event = event?;
        let at = event.at.context("an event without a time")?;
        match serde_json::from_str::<JobEvent>(&event.json)? {
            JobEvent::Succeeded { result } => *committed.entry(result.stage()).or_default() += 1,
            JobEvent::Finished { .. } => {
                finished.push(at.seconds * 1000 + i64::from(at.nanos) / 1_000_000);
            }
            JobEvent::Claimed { .. } => claims += 1,
            _ => {}
        }
    }
    let once = committed.len() == 5 && committed.values().all(|times| *times == 1) && finished.len() == 1;
    ensure!(once, "{job_id} was not done once: {committed:?}, finished {} times", finished.len());
    Ok(Told { tenant, finished_at: finished.first().copied().unwrap_or_default(), claims })
}
