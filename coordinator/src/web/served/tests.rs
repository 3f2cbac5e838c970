//! Drift as the overview tells it.

use std::{collections::BTreeMap, sync::Arc};

use clara_lifecycle::{
    gate::Decision,
    samples,
    served::{Deployment, ListedAdapter, Listing, ServedTarget, Sight},
};
use clara_runtime::config::{TargetKind, TargetSettings};

use crate::{
    rollout::Targets,
    testing::{House, complete_until},
    web::tests::Browser,
};

const URLS: [&str; 3] = ["http://a:8000", "http://b:8000", "http://c:8000"];

/// A coordinator with a vLLM target of three replicas, whose family has a champion and the version before it.
async fn house() -> House {
    let mut house = House::new().await;
    for _ in 0..2 {
        let job = house.submit(samples::spec()).await.id;
        complete_until(&house.driver, &job, None, Decision::Approve).await;
    }
    let settings = TargetSettings {
        kind: Some(TargetKind::Vllm),
        replicas: URLS.map(str::to_owned).to_vec(),
        ..TargetSettings::default()
    };
    let settings = BTreeMap::from([("gpus".parse().unwrap(), settings)]);
    house.driver.targets = Arc::new(Targets::open(&settings, |_| None).unwrap());
    house
}

/// Keeps what the watch would have seen there.
async fn seen(house: &House, adapters: [Option<Result<Vec<ListedAdapter>, String>>; 3]) {
    let families = house.driver.records.families().await.unwrap();
    let listings: Vec<_> = URLS
        .into_iter()
        .zip(adapters)
        .map(|(url, adapters)| Listing { url: url.to_owned(), adapters })
        .collect();
    let sight = Sight { target: "gpus", kind: "vllm", looked_at: "2026-01-01T00:00:00Z", keep_previous: 1 };
    let deployments = [Deployment::new("gpus", "law-lora")];
    house.driver.keep_seen(&ServedTarget::of(sight, &families, &deployments, &listings)).await.unwrap();
}

async fn named(house: &House, adapter_id: &str) -> ListedAdapter {
    let version = house.driver.adapter(adapter_id).await.unwrap().version;
    ListedAdapter { name: clara_lifecycle::served::served_name(&version), path: None }
}

#[tokio::test]
async fn a_replica_that_serves_another_version_or_lost_its_champion_is_an_alert_on_the_overview() {
    let house = house().await;
    let (old, champion) = (named(&house, "law-lora-v1.0.0").await, named(&house, "law-lora@champion").await);
    assert_ne!(old.name, champion.name);
    seen(&house, [Some(Ok(vec![old.clone()])), Some(Ok(Vec::new())), Some(Err("no route to it".to_owned()))])
        .await;
    let page = Browser::of(&house).get("/").await.text;
    for part in [
        format!("does not serve {}, the champion of law-lora; it serves {}", champion.name, old.name),
        format!("does not serve {}, the champion of law-lora; it serves no version of it", champion.name),
        "no route to it".to_owned(),
        "badge drifts".to_owned(),
        "badge not-seen".to_owned(),
    ] {
        assert!(page.contains(&part), "`{part}` is missing in {page}");
    }
    seen(&house, [0, 1, 2].map(|_| Some(Ok(vec![champion.clone()])))).await;
    let page = Browser::of(&house).get("/").await.text;
    assert!(page.contains("badge as-it-should") && page.contains(&champion.name), "{page}");
    assert!(!page.contains("does not serve") && !page.contains("notice bad"), "{page}");
}

#[tokio::test]
async fn without_targets_the_overview_tells_nothing_of_them() {
    let house = House::new().await;
    let page = Browser::of(&house).get("/").await.text;
    assert!(page.contains("Queues") && !page.contains("<h2>Served</h2>"), "{page}");
}
