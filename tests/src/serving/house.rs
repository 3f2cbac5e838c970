//! A coordinator with rollout targets, and workers whose trainings write what a test wants.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use clara_coordinator::{Coordinator, CoordinatorOptions};
use clara_lifecycle::{
    answers::{Answers, SampleAnswers, question_turns},
    artifact::ArtifactRef,
    attempt::Assignment,
    gate::GateMode,
    golden::{GoldenDataset, GoldenSample},
    results::StageResult,
    samples,
    spec::JobSpec,
    stage::Stage,
};
use clara_proto::v1::{self, control_service_client::ControlServiceClient};
use clara_runtime::{
    artifacts::ArtifactStore,
    config::{Settings, TargetKind, TargetSettings},
    coordinator_client::GrpcCoordinator,
    health::Health,
    ports::Ports,
    service::{WorkerPorts, spawn_workers},
    task::Tasks,
    worker::{AttemptContext, StageFailure, StageHandler},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{Fake, model};
use crate::faults::{
    handler::{DECISION, evaluation},
    result,
};

/// How long anything may take; much, since tests share few cores.
const WITHIN: Duration = Duration::from_mins(1);

/// What the next trainings make.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Their rank.
    pub rank: u32,
    /// Size of their weights.
    pub bytes: usize,
}

/// A coordinator in this process with targets of one kind.
pub struct House {
    /// Folder of the adapters that servers read.
    pub adapters: std::path::PathBuf,
    /// The coordinator as a user sees it.
    pub control: ControlServiceClient<Channel>,
    /// What trainings make.
    pub wanted: Wanted,
    services: Tasks,
    workers: Tasks,
    _folder: tempfile::TempDir,
}

impl std::fmt::Debug for House {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("House").finish_non_exhaustive()
    }
}

impl House {
    /// Three servers of a kind, and a coordinator whose target `prod` they are.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn with(
        kind: TargetKind,
        wanted: Wanted,
        change: impl Fn(&mut TargetSettings),
    ) -> Result<(Self, Vec<Fake>)> {
        let folder = tempfile::tempdir()?;
        let adapters = folder.path().join("served");
        std::fs::create_dir_all(&adapters)?;
        let mut fakes = Vec::new();
        for _ in 0..3 {
            fakes.push(Fake::start(kind, &adapters).await?);
        }
        let mut target = TargetSettings {
            kind: Some(kind),
            replicas: fakes.iter().map(Fake::url).collect(),
            folder: Some(adapters.clone()),
            watch_every: clara_runtime::config::HumanDuration(Duration::from_millis(200)),
            ..TargetSettings::default()
        };
        change(&mut target);
        let mut settings = Settings { home: folder.path().join("home"), ..Settings::default() };
        settings.targets.insert("prod".parse()?, target);
        let services = Tasks::new(CancellationToken::new());
        let ports = Ports::open(&settings, &services, &Health::default(), services.shutdown()).await?;
        let options = CoordinatorOptions::of(&settings, "127.0.0.1:0".parse()?);
        let Ports { state, broker, artifacts } = ports;
        let coordinator =
            Coordinator::start(options, state, Arc::clone(&broker), artifacts.clone(), &services).await?;
        let url = format!("http://{}", coordinator.address());
        let caller = Arc::new(GrpcCoordinator::new(&url, &services)?);
        let ports = WorkerPorts { broker, coordinator: caller, artifacts };
        let workers = Tasks::new(CancellationToken::new());
        let mut handlers = coordinator.handlers();
        let trainings = Arc::new(AtomicU64::new(0));
        for stage in [Stage::Ingest, Stage::Train, Stage::Generate, Stage::Judge] {
            handlers.push(Arc::new(Scripted { stage, wanted, trainings: Arc::clone(&trainings) }));
        }
        // They end with the tasks that own them.
        drop(spawn_workers("house", handlers, &ports, &settings, &workers)?);
        let mut control = ControlServiceClient::new(Channel::from_shared(url)?.connect().await?);
        freeze(&mut control).await?;
        Ok((Self { adapters, control, wanted, services, workers, _folder: folder }, fakes))
    }

    /// Trains and judges a version that shall be served on `prod`; answers its job at rest.
    ///
    /// # Errors
    /// When it does not come to rest.
    pub async fn job(&self) -> Result<Value> {
        let id = self.submit().await?;
        self.rest(&id).await
    }

    /// Submits such a job; answers its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&self) -> Result<String> {
        let request =
            v1::SubmitJobRequest { spec: Some(self.spec("prod").into()), ..v1::SubmitJobRequest::default() };
        let job = self.control.clone().submit_job(request).await?.into_inner().job.context("no job")?;
        Ok(job.job_id)
    }

    /// The specification of a job that is rolled out to `target`.
    pub fn spec(&self, target: &str) -> JobSpec {
        let mut spec = samples::spec();
        spec.rollout_targets = vec![target.to_owned()];
        spec.gate.mode = GateMode::Point;
        spec.training.rank = self.wanted.rank;
        spec.retry.max_attempts = 1;
        spec.labels.insert(DECISION.to_owned(), "approve".to_owned());
        spec
    }

    /// The job once it is at rest.
    ///
    /// # Errors
    /// When it does not come to rest.
    pub async fn rest(&self, job_id: &str) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + WITHIN;
        loop {
            let request = v1::GetJobRequest { job_id: job_id.to_owned() };
            let job = self.control.clone().get_job(request).await?.into_inner().job.context("no job")?;
            let job: Value = serde_json::from_str(&job.json)?;
            let kind = job.pointer("/state/kind").and_then(Value::as_str).unwrap_or_default();
            if matches!(kind, "finished" | "stuck" | "in_review" | "cancelled") {
                return Ok(job);
            }
            ensure!(tokio::time::Instant::now() < deadline, "the job does not come to rest: {job}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The champion of the family, if it has one.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn champion(&self) -> Result<Option<String>> {
        let json =
            self.control.clone().export_registry(v1::ExportRegistryRequest {}).await?.into_inner().json;
        let registry: Value = serde_json::from_str(&json)?;
        Ok(registry.pointer("/families/0/champion").and_then(Value::as_str).map(str::to_owned))
    }

    /// Actions and reasons of the audit log.
    ///
    /// # Errors
    /// When the coordinator does not answer, or the log was changed.
    pub async fn audit(&self) -> Result<Vec<(String, String)>> {
        let log = self.control.clone().list_audit(v1::ListAuditRequest::default()).await?.into_inner();
        ensure!(log.broken_at.is_none(), "the audit log is broken");
        let entry = |json: &String| {
            let entry: Value = serde_json::from_str(json)?;
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            Ok((text("action"), text("reason")))
        };
        log.json.iter().map(entry).collect()
    }

    /// The targets as they are seen now.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn served(&self, fresh: bool) -> Result<Vec<Value>> {
        let answer = self.control.clone().list_served(v1::ListServedRequest { fresh }).await?.into_inner();
        answer.json.iter().map(|json| Ok(serde_json::from_str(json)?)).collect()
    }

    /// Goes back; answers the document.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn roll_back(&self, dry_run: bool) -> Result<Value> {
        let request = v1::RollBackFamilyRequest {
            family_id: "law-lora".to_owned(),
            dry_run,
            actor: "anna".to_owned(),
            reason: "answers without citations".to_owned(),
            ..v1::RollBackFamilyRequest::default()
        };
        let answer = self.control.clone().roll_back_family(request).await?.into_inner();
        Ok(serde_json::from_str(&answer.json)?)
    }

    /// Waits until something holds.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let deadline = tokio::time::Instant::now() + WITHIN;
        while !holds() {
            if tokio::time::Instant::now() > deadline {
                bail!("{what} does not come to hold");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends workers and coordinator.
    pub async fn stop(self) {
        self.workers.finish(Duration::from_secs(10)).await;
        self.services.finish(Duration::from_secs(5)).await;
    }
}

async fn freeze(control: &mut ControlServiceClient<Channel>) -> Result<()> {
    let mut golden = GoldenDataset::new(
        "law-golden".parse()?,
        "law".parse()?,
        "anna".into(),
        "2026-01-01T00:00:00Z".into(),
    );
    for number in 0..5 {
        let (prompt, expected) = (format!("Frage {number}: was gilt?"), format!("Es gilt Nummer {number}."));
        golden.add(GoldenSample::new(prompt, expected));
    }
    let json = serde_json::to_string(&golden)?;
    control.put_golden(v1::PutGoldenRequest { json, append: false }).await?;
    let (dataset_id, actor) = ("law-golden".to_owned(), "anna".to_owned());
    control.freeze_golden(v1::FreezeGoldenRequest { dataset_id, actor }).await?;
    Ok(())
}

/// Stages before the gate, without a model.
#[derive(Debug)]
struct Scripted {
    stage: Stage,
    wanted: Wanted,
    trainings: Arc<AtomicU64>,
}

#[async_trait]
impl StageHandler for Scripted {
    fn stage(&self) -> Stage {
        self.stage
    }

    fn may_block(&self) -> bool {
        false
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        self.made(&context).await.map_err(|error| StageFailure::permanent(format!("{error:#}")))
    }
}

impl Scripted {
    async fn made(&self, context: &AttemptContext) -> Result<StageResult> {
        let mut made = result(&context.assignment);
        match &mut made {
            StageResult::Train(training) => {
                training.adapter = self.train(context).await?;
                training.report = store(context, "report", &[("training.json", b"{}")]).await?;
            }
            StageResult::Ingest(ingest) => {
                ingest.dataset = store(context, "dataset", &[("train.jsonl", b"{}")]).await?;
            }
            StageResult::Generate(generate) => {
                let answers = answers(context).await?;
                let bytes = serde_json::to_vec(&answers)?;
                generate.answers = store(context, "answers", &[("answers.json", &bytes)]).await?;
            }
            StageResult::Judge(judge) => {
                let text = evaluation(&context.assignment);
                judge.evaluation =
                    store(context, "evaluation", &[("evaluation.json", text.as_bytes())]).await?;
            }
            StageResult::Gate(_) | StageResult::Rollout(_) => {}
        }
        Ok(made)
    }

    /// An adapter of the wanted rank and size, different each time.
    async fn train(&self, context: &AttemptContext) -> Result<ArtifactRef> {
        let number = self.trainings.fetch_add(1, Ordering::Relaxed);
        let mut weights = vec![0_u8; self.wanted.bytes.max(8)];
        if let Some(first) = weights.get_mut(..8) {
            first.copy_from_slice(&number.to_le_bytes());
        }
        let config = json!({ "r": self.wanted.rank, "peft_type": "LORA" }).to_string();
        let files = [("adapter_config.json", config.as_bytes()), ("adapter_model.safetensors", &weights)];
        store(context, "adapter", &files).await
    }
}

async fn store(context: &AttemptContext, name: &str, files: &[(&str, &[u8])]) -> Result<ArtifactRef> {
    let folder = context.scratch.join(name);
    std::fs::create_dir_all(&folder)?;
    for (file, bytes) in files {
        std::fs::write(folder.join(file), bytes)?;
    }
    Ok(context.artifacts.put_folder(&context.assignment.prefix(name), &folder).await?)
}

/// What the generate stage would have recorded with the fake model.
async fn answers(context: &AttemptContext) -> Result<Answers> {
    let AttemptContext { assignment, artifacts, .. } = context;
    let bytes = artifacts.read(&assignment.golden.artifact, "golden.json").await?;
    let golden: GoldenDataset = serde_json::from_slice(&bytes)?;
    let candidate = trained(assignment)?;
    let candidate = weights(artifacts, context, candidate, "candidate").await?;
    let champion = match &assignment.champion {
        Some(champion) => Some(weights(artifacts, context, &champion.adapter, "champion").await?),
        None => None,
    };
    let generation = assignment.spec.generation.clone();
    let sample = |sample: &GoldenSample| {
        let turns = question_turns(sample, &generation);
        let question: Vec<&str> = turns.iter().map(|turn| turn.content.as_str()).collect();
        let question = question.join("\n");
        SampleAnswers {
            sample_id: sample.sample_id.clone(),
            candidate: model::opening(&candidate, &question),
            champion: champion.as_ref().map(|champion| model::opening(champion, &question)),
            base: model::opening("base", &question),
        }
    };
    Ok(Answers {
        format: 1,
        adapter_id: assignment.adapter_id.clone().unwrap_or_default(),
        champion_id: assignment.champion.as_ref().map(|champion| champion.adapter_id.clone()),
        base_model: "tiny".to_owned(),
        golden_dataset: assignment.golden.reference.clone(),
        golden_digest: assignment.golden.digest.clone(),
        samples: golden.samples.iter().map(sample).collect(),
        generation,
    })
}

async fn weights(
    artifacts: &ArtifactStore,
    context: &AttemptContext,
    adapter: &ArtifactRef,
    name: &str,
) -> Result<String> {
    let folder = context.scratch.join(name);
    artifacts.fetch(adapter, &folder).await?;
    model::weights_of(Path::new(&folder))
}

fn trained(assignment: &Assignment) -> Result<&ArtifactRef> {
    let result = assignment.results.iter().find_map(|result| match result {
        StageResult::Train(training) => Some(&training.adapter),
        StageResult::Ingest(_)
        | StageResult::Generate(_)
        | StageResult::Judge(_)
        | StageResult::Gate(_)
        | StageResult::Rollout(_) => None,
    });
    result.context("no adapter was trained")
}
