//! Fetching from servers that fail, hang, repeat themselves and never end, by processes that are killed.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use clara_lifecycle::{id::Domain, spec::IngestOptions};
use clara_runtime::stop::{StopReason, StopSignal, stop_switch};
use tempfile::TempDir;

use super::{CollectObserver, CollectRequest, FetchProgress, collect};
use crate::{
    error::IngestError,
    fetch::{
        Collected, FetchError, Saved, Servers,
        testing::{Dice, World},
    },
};

/// Watches, and lets the process die between any two events.
struct Watch<'a> {
    world: &'a World,
    saves: u64,
    fetched: AtomicU64,
}

impl<'a> Watch<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, saves: 0, fetched: AtomicU64::new(0) }
    }
}

#[async_trait]
impl CollectObserver for Watch<'_> {
    fn fetched(&self, progress: &FetchProgress<'_>) {
        self.fetched.store(progress.fetched, Ordering::SeqCst);
        self.world.event();
    }

    async fn saved(&mut self, _: &Saved) -> Result<(), IngestError> {
        self.saves += 1;
        self.world.event();
        self.world.live().await;
        Ok(())
    }
}

struct Bench {
    folder: TempDir,
    options: IngestOptions,
    servers: Servers,
    domain: Domain,
}

impl Bench {
    fn new(names: &[&str]) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            options: IngestOptions {
                sources: names.iter().map(|name| format!("@{name}")).collect(),
                ..IngestOptions::default()
            },
            servers: World::servers(names),
            domain: "baurecht".parse().unwrap(),
        }
    }

    /// The same with servers that are waited for longer.
    fn patient(mut self) -> Self {
        for settings in self.servers.values_mut() {
            settings.patience.0 = Duration::from_mins(1);
        }
        self
    }

    async fn collect(
        &self,
        world: &World,
        watch: &mut Watch<'_>,
        stop: &StopSignal,
    ) -> Result<Collected, IngestError> {
        let since = BTreeMap::new();
        let request = CollectRequest {
            options: &self.options,
            domain: &self.domain,
            servers: &self.servers,
            since: &since,
            folder: self.folder.path(),
            checkpoint_every: 9,
            patience: Duration::from_secs(1),
        };
        collect(&request, world, watch, stop).await
    }

    async fn whole(&self, world: &World) -> Result<Collected, IngestError> {
        let (_switch, stop) = stop_switch();
        self.collect(world, &mut Watch::new(world), &stop).await
    }

    /// The ids in the files of all sources, in order.
    fn ids(&self) -> Vec<String> {
        let saved = Saved::read(self.folder.path()).unwrap();
        let files = saved.sources.iter().flat_map(|source| &source.files);
        files.flat_map(|file| ids(&self.folder.path().join(&file.path))).collect()
    }

    /// What a kill in the middle of a write leaves: any part of what was not saved, and maybe bytes that mean nothing.
    fn tear(&self, dice: &mut Dice) {
        let saved = Saved::read(self.folder.path()).unwrap();
        for entry in walkdir::WalkDir::new(self.folder.path()).into_iter().map(Result::unwrap) {
            if entry.file_name() != "documents.jsonl" {
                continue;
            }
            let known = saved.sources.iter().flat_map(|source| &source.files);
            let safe = known
                .filter(|file| self.folder.path().join(&file.path) == entry.path())
                .map(|file| file.bytes)
                .next()
                .unwrap_or_default();
            let length = entry.metadata().unwrap().len();
            let file = fs::OpenOptions::new().append(true).open(entry.path()).unwrap();
            file.set_len(safe + dice.below(length - safe + 1)).unwrap();
            if dice.one_in(2) {
                std::io::Write::write_all(&mut &file, &[0xff, b'{', b'"', 0]).unwrap();
            }
        }
    }
}

fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split('"').find(|part| part.starts_with("doc-")).unwrap().to_owned())
        .collect()
}

fn expected(sources: usize, documents: u64) -> Vec<String> {
    (0..sources).flat_map(|_| (0..documents).map(|number| format!("doc-{number}"))).collect()
}

#[tokio::test]
async fn two_hundred_kills_at_any_moment_lose_and_repeat_nothing() {
    let first: u64 = 20_260_701;
    println!("seeds from {first}");
    let (mut kills, mut failures) = (0, 0);
    for seed in first..first + 200 {
        let mut dice = Dice(seed);
        let bench = Bench::new(&["gesetze", "urteile"]).patient();
        let mut world = World::new(20 + dice.below(40), seed);
        world.fault_in = 12;
        let (_switch, stop) = stop_switch();
        let collected = loop {
            world.kill_after(1 + dice.below(40));
            let mut watch = Watch::new(&world);
            let ended = tokio::select! {
                biased;
                () = world.killed() => None,
                ended = bench.collect(&world, &mut watch, &stop) => Some(ended),
            };
            match ended {
                Some(Ok(collected)) => break collected,
                Some(Err(error)) => {
                    assert!(error.is_retryable(), "seed {seed}: {error}");
                    failures += 1;
                }
                None => {
                    kills += 1;
                    bench.tear(&mut dice);
                }
            }
        };
        assert_eq!(bench.ids(), expected(2, world.documents), "seed {seed}");
        for entry in collected.entries() {
            assert_eq!(entry.fetched, world.documents, "seed {seed}");
            assert_eq!(entry.broken, (0..world.documents).filter(|number| number % 11 == 3).count() as u64);
            assert_eq!(entry.state, Some(serde_json::json!({ "sequence": world.documents })));
        }
    }
    println!("{kills} kills, {failures} cut connections");
    assert!(kills > 200 && failures > 50, "{kills} kills, {failures} failures");
}

#[tokio::test]
async fn a_finished_source_is_not_asked_again_and_another_request_is() {
    let mut bench = Bench::new(&["gesetze"]);
    let world = World::new(30, 1);
    bench.whole(&world).await.unwrap();
    let pages = world.pages();
    bench.whole(&world).await.unwrap();
    assert_eq!((world.pages(), world.opened().len()), (pages, 1));
    bench.options.query = Some("Bauantrag".into());
    bench.whole(&world).await.unwrap();
    assert_eq!(world.opened().len(), 2);
    assert_eq!(bench.ids(), expected(1, 30));
}

#[tokio::test]
async fn more_patience_or_another_token_go_on_with_what_was_fetched() {
    let mut bench = Bench::new(&["gesetze"]);
    let world = World::new(30, 1);
    bench.whole(&world).await.unwrap();
    let settings = bench.servers.get_mut("gesetze").unwrap();
    settings.token_env = Some("ANOTHER".into());
    settings.patience.0 *= 2;
    settings.page = 3;
    bench.whole(&world).await.unwrap();
    assert_eq!(world.opened().len(), 1);
    bench.servers.get_mut("gesetze").unwrap().table = Some("andere".into());
    bench.whole(&world).await.unwrap();
    assert_eq!(world.opened().len(), 2);
}

#[tokio::test]
async fn a_drain_ends_within_a_second_while_a_server_hangs_and_keeps_what_came() {
    for reason in [StopReason::Drain, StopReason::Cancel] {
        let bench = Bench::new(&["gesetze"]);
        let mut world = World::new(30, 5);
        world.hangs_after = Some(20);
        let mut watch = Watch::new(&world);
        let (switch, stop) = stop_switch();
        let stopping = async {
            world.hung().await;
            let began = Instant::now();
            switch.stop(reason);
            began
        };
        let (ended, began) = tokio::join!(bench.collect(&world, &mut watch, &stop), stopping);
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(matches!(ended, Err(IngestError::Stopped(found)) if found == reason), "{ended:?}");
        let saved = Saved::read(bench.folder.path()).unwrap();
        let fetched = saved.sources.first().map_or(0, |source| source.fetched);
        match reason {
            StopReason::Drain => assert!(fetched >= 20, "{fetched}"),
            StopReason::Cancel | StopReason::Fenced => assert!(fetched < 30, "{fetched}"),
        }
        world.hangs_after = None;
        bench.whole(&world).await.unwrap();
        assert_eq!(bench.ids(), expected(1, 30));
    }
}

#[tokio::test]
async fn a_server_that_gives_the_same_answer_for_ever_is_refused_at_once() {
    let bench = Bench::new(&["gesetze"]).patient();
    let mut world = World::new(30, 1);
    world.endless = Some(true);
    let refused = bench.whole(&world).await.unwrap_err();
    assert!(!refused.is_retryable());
    assert!(refused.to_string().contains("@gesetze cannot be read: it gave the same answer"), "{refused}");
    assert_eq!(bench.ids(), expected(1, 30), "what came is kept");
}

#[tokio::test]
async fn a_server_that_goes_in_circles_is_refused_when_patience_ends() {
    let bench = Bench::new(&["gesetze"]);
    let mut world = World::new(30, 1);
    world.endless = Some(false);
    let began = Instant::now();
    let refused = bench.whole(&world).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(400), "patience was not waited for");
    assert!(!refused.is_retryable());
    assert!(refused.to_string().contains("has given nothing new for 400ms"), "{refused}");
}

#[tokio::test]
async fn a_server_that_hangs_for_ever_is_given_up_and_can_be_asked_later() {
    let bench = Bench::new(&["gesetze"]);
    let mut world = World::new(30, 5);
    world.hangs_after = Some(20);
    let silent = bench.whole(&world).await.unwrap_err();
    assert!(silent.is_retryable());
    assert!(silent.to_string().contains("patience of 400ms"), "{silent}");
    world.hangs_after = None;
    bench.whole(&world).await.unwrap();
    assert_eq!(bench.ids(), expected(1, 30));
}

#[tokio::test]
async fn a_source_without_settings_is_refused_by_its_name() {
    let mut bench = Bench::new(&["gesetze"]);
    bench.options.sources = vec!["@urteile".into()];
    let refused = bench.whole(&World::new(3, 1)).await.unwrap_err();
    assert!(matches!(&refused, IngestError::Fetch(FetchError::Unknown { .. })), "{refused}");
    assert!(refused.to_string().contains("which knows @gesetze"), "{refused}");
}

#[tokio::test]
async fn checkpoints_come_by_count_and_at_the_end() {
    let bench = Bench::new(&["gesetze"]);
    let world = World::new(100, 3);
    let (_switch, stop) = stop_switch();
    let mut watch = Watch::new(&world);
    bench.collect(&world, &mut watch, &stop).await.unwrap();
    assert_eq!(watch.fetched.load(Ordering::SeqCst), 100);
    assert!((7..=12).contains(&watch.saves), "{} saves", watch.saves);
}
