//! `clara ingest`: a dataset from documents, in this process, without a job and without training.

mod folder;
mod summary;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use async_trait::async_trait;
use clap::Args;
use clara_ingest_worker::{
    Count, Figures, GoldenTexts, IngestError, IngestObserver, IngestRequest, TOKENIZER_FILE,
    fetch::{
        CHECKPOINT_EVERY, CollectObserver, CollectRequest, Collected, FetchProgress, OpenByKind, Place,
        Saved, Servers, URL_PATIENCE, Waiting, collect,
    },
    ingest, inspect, reuse,
};
use clara_lifecycle::{
    attempt::Progress, dataset::DatasetManifest, id::Domain, job::JobEvent, spec::IngestOptions,
    stage::Stage, time::Timestamp,
};
use clara_runtime::{
    stop::{StopReason, StopSignal, stop_switch},
    worker::ProgressSender,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{DONE, INTERRUPTED, data};
use crate::{
    follow::NumberedEvent,
    golden_file::GoldenChoice,
    progress::ProgressView,
    session::Session,
    spec::{DataArgs, SourceArgs, absolute, data_in_file},
    usage::{check, usage},
};

use folder::OutFolder;
use summary::{Asked, difference, mended};

/// Makes a dataset and nothing else: what `clara run` would train on, to look at before anybody trains.
///
/// It works in this process and on sources that this machine can reach; with --coordinator, that one is asked for the golden
/// dataset alone. Begun again with the same flags, it leaves a finished dataset as it is when all its sources are files. What
/// servers and URLs hold now is only known by asking them, which takes --replace.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  clara ingest --domain verwaltungsrecht --source law.jsonl --out ./dataset\n  clara ingest --spec job.toml --golden-dataset golden.json --out ./dataset && clara data lint ./dataset\n\nExit codes: 0 done, 1 error, 2 usage, 130 interrupted (the same command continues)."
)]
pub(crate) struct IngestArgs {
    /// Field of knowledge, e.g. verwaltungsrecht; documents that name another one are left out. Needed here or in --spec
    #[arg(long)]
    domain: Option<Domain>,
    #[command(flatten)]
    sources: SourceArgs,
    /// Golden dataset whose samples are kept out: ID, ID@VERSION, or a .json file [default: none, nothing is compared]
    #[arg(long, value_name = "ID[@VERSION]|FILE")]
    golden_dataset: Option<String>,
    /// Base model whose tokenizer counts the tokens: a Hugging Face folder; of a GGUF file none are counted [default: none]
    #[arg(long, value_name = "PATH", env = "CLARA_BASE_MODEL")]
    base_model: Option<String>,
    /// Specification file (TOML) with the fields of a job; flags win over it
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Folder of the dataset; made when it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the dataset that lies there, if it is another one or its sources have to be asked; nothing else is ever replaced
    #[arg(long)]
    replace: bool,
    /// Seed of every choice: split, mixture, order, templates [default: 42]
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<u64>,
    #[command(flatten)]
    data: DataArgs,
}

/// What is made, owned by the thread that makes it.
#[derive(Debug, Clone)]
struct Wanted {
    options: IngestOptions,
    domain: Domain,
    golden: Option<GoldenTexts>,
    base_model: Option<String>,
    collected: Collected,
    folder: OutFolder,
}

impl Wanted {
    fn asked(&self) -> Asked<'_> {
        let golden = self.golden.as_ref().map(|golden| &golden.digest);
        Asked { options: &self.options, domain: &self.domain, golden }
    }

    fn with_request<T>(&self, work: impl FnOnce(&IngestRequest<'_>) -> T) -> T {
        work(&IngestRequest {
            options: &self.options,
            domain: &self.domain,
            golden: self.golden.as_ref(),
            known: &[],
            base_model: self.base_model.as_deref(),
            collected: &self.collected,
            out: &self.folder.dataset(),
            scratch: &self.folder.scratch(),
        })
    }
}

pub(crate) async fn run(session: &Session, args: &IngestArgs) -> Result<u8> {
    let wanted = wanted(session, args).await?;
    for source in wanted.options.sources.iter().filter(|source| !Place::of(source).is_remote()) {
        wanted.folder.check_apart_from(source)?;
    }
    let there = match there_already(session, &wanted, args.replace).await {
        Err(error) if is_interrupt(&error) => return Ok(tell_interrupt(session)),
        there => there?,
    };
    if let Some(manifest) = there {
        session.output.note(
            "the dataset is there already: sources and options are the same; --fresh --replace makes it anew",
        );
        tell(session, &wanted, &manifest, true)?;
        return Ok(DONE);
    }
    let _claimed = wanted.folder.claim()?;
    let made = published(session, &wanted).await;
    if made.is_err() {
        match wanted.folder.abandon() {
            Ok(Some(left)) => session.output.note(format!(
                "what was fetched stays in {}: the same command goes on from there; remove the folder if you do not want it",
                left.display()
            )),
            Ok(None) => {}
            Err(error) => session.output.note(format!("{error:#}")),
        }
    }
    match made {
        Ok(manifest) => {
            tell(session, &wanted, &manifest, false)?;
            Ok(DONE)
        }
        Err(error) if is_interrupt(&error) => Ok(tell_interrupt(session)),
        Err(error) => Err(error),
    }
}

/// Makes the dataset and puts it in its place.
async fn published(session: &Session, wanted: &Wanted) -> Result<DatasetManifest> {
    wanted.folder.begin()?;
    let manifest = watched(session, wanted.clone()).await?;
    wanted.folder.publish()?;
    Ok(manifest)
}

fn is_interrupt(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<IngestError>(), Some(IngestError::Stopped(_)))
}

fn tell_interrupt(session: &Session) -> u8 {
    session.output.note("interrupted: nothing was written; the same command continues");
    INTERRUPTED
}

async fn wanted(session: &Session, args: &IngestArgs) -> Result<Wanted> {
    let file = data_in_file(args.spec.as_deref())?;
    let mut options = file.ingest;
    args.sources.apply(&mut options);
    args.data.apply(&mut options)?;
    if let Some(seed) = args.seed {
        options.seed = seed;
    }
    if options.sources.is_empty() {
        return Err(usage(
            "ingest.sources is missing; give --source PATH, or `sources` under [ingest] in --spec FILE",
        ));
    }
    if options.since_last || options.clean.skip_known {
        return Err(usage(
            "since_last and skip_known compare with the earlier datasets of an adapter's family, which only a job has; \
             leave them out, or use `clara run` or `clara job submit`",
        ));
    }
    check(&options.problems())?;
    let domain = args.domain.clone().or(file.domain);
    let domain =
        domain.ok_or_else(|| usage("domain is missing; give --domain NAME, or `domain` in --spec FILE"))?;
    ingest::check_options(&options, &domain).map_err(|error| usage(error.to_string()))?;
    let golden = args.golden_dataset.clone().or(file.golden_dataset);
    Ok(Wanted {
        options,
        domain,
        golden: golden_texts(session, golden.as_deref()).await?,
        base_model: args.base_model.clone().or(file.base_model).map(|model| counting(&model)).transpose()?,
        collected: Collected::default(),
        folder: OutFolder::of(&args.out)?,
    })
}

/// The base model, which must be there: its tokenizer counts only after everything was read.
fn counting(base_model: &str) -> Result<String> {
    let path = Path::new(base_model);
    let otherwise = "correct --base-model or CLARA_BASE_MODEL, or name none: tokens are not counted then";
    if !path.exists() {
        bail!("base model {base_model} is not there; {otherwise}");
    }
    if path.is_dir() && !path.join(TOKENIZER_FILE).is_file() {
        bail!("base model {base_model} holds no {TOKENIZER_FILE} to count tokens with; {otherwise}");
    }
    Ok(absolute(base_model))
}

async fn golden_texts(session: &Session, named: Option<&str>) -> Result<Option<GoldenTexts>> {
    let Some(named) = named else { return Ok(None) };
    let dataset = match GoldenChoice::of(named)? {
        GoldenChoice::File(dataset) => *dataset,
        GoldenChoice::Known(reference) => {
            let connection = session.connect().await?;
            connection.client.golden(&reference.to_string()).await?.dataset
        }
    };
    Ok(Some(GoldenTexts::new(dataset.reference().to_string(), dataset.digest(), &dataset)))
}

/// The dataset that lies in the folder, when it is the one that would be made again.
async fn there_already(session: &Session, wanted: &Wanted, replace: bool) -> Result<Option<DatasetManifest>> {
    let out = wanted.folder.out().to_owned();
    if !wanted.folder.is_taken()? {
        return Ok(None);
    }
    let manifest = inspect::manifest(&out).ok();
    let is_local = !wanted.options.sources.iter().any(|source| Place::of(source).is_remote());
    if let Some(manifest) = manifest.as_ref().filter(|_| is_local && !wanted.options.fresh) {
        let (asked, interrupt) = (wanted.clone(), Interrupt(session.interrupt.clone()));
        let key = move || asked.with_request(|request| reuse::key_of(request, &interrupt));
        if manifest.key == Some(tokio::task::spawn_blocking(key).await??) {
            let damage = inspect::damage(&out, manifest)?;
            let Some(first) = damage.first() else { return Ok(Some(manifest.clone())) };
            if !replace {
                bail!("the dataset in {} is damaged: {first}; give --replace to make it anew", out.display());
            }
        }
    }
    if !replace && (wanted.options.fresh || !is_local) {
        bail!(
            "{} holds something, and only reading the sources anew would tell whether it is the same; give --replace to do so, \
             or another folder with --out",
            out.display()
        );
    }
    if !replace {
        let differs = manifest
            .as_ref()
            .map_or_else(|| "it is no dataset".to_owned(), |manifest| difference(manifest, wanted.asked()));
        bail!(
            "{} holds something else: {differs}; give another folder with --out, or --replace",
            out.display()
        );
    }
    wanted.folder.check_replaceable()?;
    Ok(None)
}

/// Makes the dataset on a thread of its own, and shows how far it is.
async fn watched(session: &Session, wanted: Wanted) -> Result<DatasetManifest, IngestError> {
    let (progress, mut newest) = ProgressSender::new();
    let (switch, stop) = stop_switch();
    let servers = session.settings.sources.clone();
    let mut work = Box::pin(made(wanted, servers, Watch { progress, stop, figures: Figures::default() }));
    let mut view = ProgressView::new(session.output, Timestamp::default()).alone();
    let mut interrupted = false;
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            () = session.interrupt.cancelled(), if !interrupted => {
                interrupted = true;
                view.finish();
                session.output.note("saving the work; a second Ctrl-C ends at once");
                switch.stop(StopReason::Drain);
            }
            Ok(()) = newest.changed(), if !interrupted => show(&mut view, &mut newest),
        }
    };
    view.finish();
    done
}

/// Fetches what lies elsewhere, then makes the dataset on a thread of its own.
async fn made(
    mut wanted: Wanted,
    servers: Servers,
    mut watch: Watch,
) -> Result<DatasetManifest, IngestError> {
    wanted.with_request(ingest::check_early)?;
    let stop = watch.stop.clone();
    let request = CollectRequest {
        options: &wanted.options,
        domain: &wanted.domain,
        servers: &servers,
        since: &BTreeMap::new(),
        folder: &wanted.folder.fetched(),
        checkpoint_every: CHECKPOINT_EVERY,
        patience: URL_PATIENCE,
    };
    wanted.collected = collect(&request, &OpenByKind, &mut watch, &stop).await?;
    let work = move || wanted.with_request(|request| ingest::run(request, &watch));
    tokio::task::spawn_blocking(work).await.map_err(|error| IngestError::Options {
        problem: format!("the thread that makes it ended early: {error}"),
    })?
}

fn show(view: &mut ProgressView, newest: &mut watch::Receiver<Progress>) {
    let progress = newest.borrow_and_update().clone();
    let event = JobEvent::Progressed { stage: Stage::Ingest, progress };
    view.see(&NumberedEvent { number: 0, at: Timestamp::default(), event });
}

fn tell(session: &Session, wanted: &Wanted, manifest: &DatasetManifest, reused: bool) -> Result<()> {
    let out = wanted.folder.out();
    if session.output.is_json() {
        let document = serde_json::json!({ "folder": out, "reused": reused, "manifest": manifest });
        return session.output.json(&document);
    }
    let mut fields = vec![("dataset", out.display().to_string())];
    fields.extend(data::of_manifest(manifest));
    fields.extend(mended(manifest));
    session.output.fields(&fields)?;
    data::tell_dropped(session, manifest)?;
    session
        .output
        .note(format!("look at it: clara data preview {0}; check it: clara data lint {0}", out.display()));
    Ok(())
}

/// The user's interrupt, for work without progress.
struct Interrupt(CancellationToken);

impl IngestObserver for Interrupt {
    fn documents(&self, _: u64, _: Option<u64>) {}

    fn stop(&self) -> Option<StopReason> {
        self.0.is_cancelled().then_some(StopReason::Drain)
    }
}

/// Passes progress and interrupt between the work and the command.
struct Watch {
    progress: ProgressSender,
    stop: StopSignal,
    figures: Figures,
}

impl IngestObserver for Watch {
    fn documents(&self, done: u64, total: Option<u64>) {
        self.figures.tell(&self.progress, Count { done, unit: "documents", total, bytes: None });
    }

    fn stop(&self) -> Option<StopReason> {
        self.stop.reason()
    }
}

#[async_trait]
impl CollectObserver for Watch {
    fn fetched(&self, progress: &FetchProgress<'_>) {
        self.figures.tell(&self.progress, Count::from(progress));
    }

    fn waiting(&self, waiting: &Waiting<'_>) {
        self.progress.update(|progress| progress.note = waiting.to_string());
    }

    /// What was saved lies in the folder of this command, which the next one finds.
    async fn saved(&mut self, _: &Saved) -> Result<(), IngestError> {
        Ok(())
    }
}
