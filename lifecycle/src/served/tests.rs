//! Tests of roles and drift.

use super::*;
use crate::spec::Method;

fn family(champion: &str, former: &[&str]) -> Family {
    let mut family = Family::new("law".parse().unwrap(), Method::Lora);
    for number in 0..4 {
        let version = serde_json::json!({
            "adapter_id": format!("law-lora-v1.0.{number}"), "version": format!("1.0.{number}"), "domain": "law",
            "method": "lora", "rank": 8, "base_model": "tiny", "base_model_hash": "", "adapter_path": "",
            "adapter_checksum": format!("{number}{number}aabbccddee"), "created_at": "", "status": "approved",
        });
        family.versions.push(serde_json::from_value(version).unwrap());
    }
    family.aliases.insert(crate::adapter::Alias::champion(), champion.to_owned());
    family.former_champions = former.iter().map(|id| (*id).to_owned()).collect();
    family
}

fn listing(url: &str, names: &[&str]) -> Listing {
    let adapter = |name: &&str| ListedAdapter { name: (*name).to_owned(), path: None };
    Listing { url: url.to_owned(), adapters: Some(Ok(names.iter().map(adapter).collect())) }
}

fn seen_with(deployment: Deployment, listings: &[Listing]) -> ServedTarget {
    let sight = Sight { target: "prod", kind: "vllm", looked_at: "2026-01-01T00:00:00Z", keep_previous: 1 };
    let family = family("law-lora-v1.0.2", &["law-lora-v1.0.1", "law-lora-v1.0.0"]);
    ServedTarget::of(sight, &[family], &[deployment], listings)
}

#[test]
fn each_adapter_has_its_role() {
    let mut deployment = Deployment::new("prod", "law-lora");
    deployment.in_rollout.insert("law-lora-v1.0.3".into());
    let names = [
        "law-lora-v1.0.0-00aabbcc",
        "law-lora-v1.0.1-11aabbcc",
        "law-lora-v1.0.2-22aabbcc",
        "law-lora-v1.0.3-33aabbcc",
        "somebody-elses",
    ];
    let seen = seen_with(deployment, &[listing("http://a", &names)]);
    let roles: Vec<ServedRole> = seen.replicas.first().unwrap().adapters.iter().map(|a| a.role).collect();
    use ServedRole::{Champion, Foreign, Previous, Retired, Rollout};
    assert_eq!(roles, [Retired, Previous, Champion, Rollout, Foreign]);
    assert_eq!((seen.drifted(), seen.unreachable()), (0, 0));
}

#[test]
fn a_replica_without_the_champion_drifts_and_one_that_is_silent_does_not() {
    let silent = Listing { url: "http://c".into(), adapters: Some(Err("no answer".into())) };
    let listings = [listing("http://a", &["law-lora-v1.0.1-11aabbcc"]), listing("http://b", &[]), silent];
    let seen = seen_with(Deployment::new("prod", "law-lora"), &listings);
    assert_eq!((seen.drifted(), seen.unreachable()), (2, 1));
    let drift = &seen.replicas.first().unwrap().drift;
    assert_eq!(
        drift,
        &[
            "does not serve law-lora-v1.0.2-22aabbcc, the champion of law-lora; it serves law-lora-v1.0.1-11aabbcc"
        ]
    );
}

#[test]
fn the_right_name_from_another_folder_is_drift() {
    let wrong = ListedAdapter { name: "law-lora-v1.0.2-22aabbcc".into(), path: Some("/models/old".into()) };
    let listing = Listing { url: "http://a".into(), adapters: Some(Ok(vec![wrong])) };
    assert_eq!(seen_with(Deployment::new("prod", "law-lora"), &[listing]).drifted(), 1);
}

#[test]
fn a_target_that_tells_nothing_drifts_until_it_was_told_of_the_champion() {
    let mut deployment = Deployment::new("prod", "law-lora");
    let listing = Listing { url: "http://hook".into(), adapters: None };
    assert_eq!(seen_with(deployment.clone(), std::slice::from_ref(&listing)).drifted(), 1);
    deployment.told = Some("law-lora-v1.0.2".into());
    assert_eq!(seen_with(deployment, &[listing]).drifted(), 0);
}
