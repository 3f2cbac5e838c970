//! A reader that is dropped at any moment goes on from its last checkpoint: nothing is lost, nothing is repeated.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clara_ingest_worker::fetch::{Reached, Remote as _, RemoteRequest, themis::ThemisDb};
use clara_lifecycle::statistics::SplitMix64;
use clara_runtime::config::ThemisRoute;
use futures::{StreamExt as _, stream};
use serde_json::json;

use crate::{
    double::{Cursors, Double, Faults, Generation, Quirks, Store, section},
    pass::{Given, request},
};

const TRIALS: usize = 200;
const SECTIONS: usize = 60;

/// How a reader comes to its end.
#[derive(Debug, Clone, Copy)]
enum End {
    /// After a checkpoint.
    Behind,
    /// A page was read, and its checkpoint is lost.
    Unsaved,
    /// In the middle of a page.
    Within(Duration),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_crashes_lose_and_repeat_nothing() -> Result<()> {
    let trials = stream::iter(0..TRIALS).map(|seed| async move {
        let crashes = trial(seed).await.with_context(|| format!("trial with seed {seed}"))?;
        Ok::<usize, anyhow::Error>(crashes)
    });
    let crashes: Vec<Result<usize>> = trials.buffer_unordered(16).collect().await;
    let crashes: Result<Vec<usize>> = crashes.into_iter().collect();
    let crashes: usize = crashes?.into_iter().sum();
    assert!(crashes > TRIALS * 2, "{crashes} crashes are too few to tell");
    Ok(())
}

async fn trial(seed: usize) -> Result<usize> {
    let mut random = SplitMix64::new(seed as u64);
    let routes = [ThemisRoute::Fulltext, ThemisRoute::Aql, ThemisRoute::Export, ThemisRoute::Auto];
    let route = routes.get(seed % 4).copied().unwrap_or_default();
    let generation = if (seed / 4).is_multiple_of(2) { Generation::T25 } else { Generation::T26 };
    let cursors = [Cursors::Work, Cursors::Repeat, Cursors::Expire, Cursors::None];
    let cursors = cursors.get(seed / 8 % 4).copied().unwrap_or(Cursors::Work);
    let quirks = Quirks { cursors, ..Quirks::of(generation) };
    let double = Double::start(quirks, Faults::storm(seed as u64), Store::sections(SECTIONS)).await?;
    let mut request = request(&double, route)?;
    request.settings.page = 1 + drawn(&mut random, 12);
    request.query = (route == ThemisRoute::Fulltext).then(|| "Verfahren".to_owned());
    if route == ThemisRoute::Auto {
        request.since = Some(json!({ "sequence": 0 }));
    }
    let is_exported = route == ThemisRoute::Export && generation == Generation::T26;
    let (given, crashes) = survive(&double, request, &mut random, is_exported).await?;
    let expected: BTreeSet<String> = (0..SECTIONS)
        .filter(|number| !(is_exported && number % 9 == 8))
        .map(|number| format!("d{number:04}"))
        .collect();
    let lost: Vec<&String> = expected.iter().filter(|id| !given.records.contains_key(*id)).collect();
    ensure!(lost.is_empty(), "{route:?} of {generation:?} lost {lost:?}");
    ensure!(given.broken.is_empty(), "{route:?} of {generation:?} broke {:?}", given.broken);
    Ok(crashes)
}

/// Reads everything, with crashes, and with a server that changes between pages. Only what stood before a checkpoint counts; [`Given`]
/// refuses what comes twice.
async fn survive(
    double: &Double,
    request: RemoteRequest,
    random: &mut SplitMix64,
    is_exported: bool,
) -> Result<(Given, usize)> {
    let (mut given, mut checkpoint, mut crashes) = (Given::default(), None::<Reached>, 0);
    loop {
        let mut themis = ThemisDb::open(request.clone(), checkpoint.clone())?;
        let end = match random.next_u64() % 3 {
            0 => End::Behind,
            1 => End::Unsaved,
            _ => End::Within(Duration::from_micros(random.next_u64() % 30_000)),
        };
        let mut pages = 1 + random.next_u64() % 4;
        // After many crashes it may come to its end.
        if crashes > 30 {
            pages = u64::MAX;
        }
        loop {
            change(double, random, is_exported);
            pages -= 1;
            let page = match end {
                End::Within(after) if pages == 0 => {
                    match tokio::time::timeout(after, themis.next_page()).await {
                        Ok(page) => page?,
                        Err(_) => break,
                    }
                }
                _ => themis.next_page().await?,
            };
            let Some(page) = page else { return Ok((given, crashes)) };
            if pages == 0 && matches!(end, End::Unsaved) {
                break;
            }
            let known = || checkpoint.take().map(|reached| reached.keys).unwrap_or_default();
            let keys = page.keys.clone().unwrap_or_else(known);
            checkpoint = Some(Reached { cursor: page.cursor.clone(), keys });
            given.take(page)?;
            if pages == 0 {
                break;
            }
        }
        crashes += 1;
    }
}

/// Documents come, go and change; those that are looked for stay.
fn change(double: &Double, random: &mut SplitMix64, is_exported: bool) {
    let mut store = double.store();
    let number = drawn(random, SECTIONS);
    // A key that is an anchor of cursors now may be gone at the next page.
    let passing = format!("d{number:04}x");
    if random.next_u64().is_multiple_of(2) {
        store.delete(&passing);
    } else {
        let text = format!("Vorläufiger Abschnitt {passing} über das Verfahren.");
        store.put(&passing, &json!({ "id": passing, "content": text, "domain": "verwaltungsrecht" }));
    }
    // An export tells lines apart by what they say.
    if !is_exported {
        let mut changed = section(number);
        changed["title"] = format!("Fassung {}", random.next_u64() % 100).into();
        store.put(&format!("d{number:04}"), &changed);
    }
}

/// A number below `most`.
fn drawn(random: &mut SplitMix64, most: usize) -> usize {
    usize::try_from(random.next_u64() % most as u64).unwrap_or_default()
}
