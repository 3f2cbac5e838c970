//! Tests of the registry rules.

use semver::Version;

use super::*;
use crate::{
    results::TrainingResult,
    samples::{artifact, digest, spec},
};

const AT: &str = "2026-01-01T00:00:00Z";

fn family() -> Family {
    Family::new("law".parse().unwrap(), Method::Lora)
}

fn training(base: &str) -> TrainingResult {
    TrainingResult {
        adapter: artifact("adapter"),
        report: artifact("report"),
        base_model: base.into(),
        base_model_digest: digest(base),
        validation_loss_before: Some(2.0),
        validation_loss_after: Some(1.0),
        training_loss: 1.1,
        steps: 10,
        tokens: 1000,
    }
}

fn lineage(job: &str) -> Lineage {
    Lineage {
        job: job.parse().unwrap(),
        adapter: artifact("adapter"),
        training: spec().training,
        dataset: artifact("dataset"),
        source_digest: digest("source"),
        dataset_key: Some(digest("key")),
        golden_dataset: "law-golden@1.0.0".into(),
        golden_digest: digest("golden"),
        code_version: "0.1.0".into(),
        report: Some(artifact("report")),
        sources: vec!["law.jsonl".into()],
        query: None,
        train_records: Some(9),
        steps: Some(10),
        submitted_by: None,
    }
}

fn register(
    family: &mut Family,
    base: &str,
    lineage: Lineage,
    version: Option<&str>,
) -> Result<String, RegistrationError> {
    let training = training(base);
    let version = version.map(|version| version.parse().unwrap());
    let new =
        NewVersion { training: &training, lineage, version, created_at: AT.into(), created_by: "x".into() };
    family.register(new).map(|registered| registered.adapter_id)
}

fn change(to: AdapterStatus) -> StatusChange<'static> {
    StatusChange { to, actor: "anna", reason: "read it", at: AT }
}

#[test]
fn versions_follow_what_changed() {
    let mut family = family();
    let mut next = |base: &str, lineage: Lineage| register(&mut family, base, lineage, None).unwrap();
    assert_eq!(next("tiny", lineage("job-1")), "law-lora-v1.0.0");
    assert_eq!(next("tiny", lineage("job-2")), "law-lora-v1.0.1", "the same once more");
    let mut wider = lineage("job-3");
    wider.training.rank = 32;
    assert_eq!(next("tiny", wider.clone()), "law-lora-v1.1.0", "another rank");
    let reseeded =
        Lineage { training: TrainingOptions { seed: 7, ..wider.training.clone() }, ..lineage("job-4") };
    assert_eq!(next("tiny", reseeded.clone()), "law-lora-v1.1.1", "another seed");
    let source = Lineage { job: "job-5".parse().unwrap(), source_digest: digest("other"), ..reseeded };
    assert_eq!(next("tiny", source), "law-lora-v1.2.0", "another data source");
    assert_eq!(next("large", lineage("job-6")), "law-lora-v2.0.0", "another base model");
}

#[test]
fn the_same_job_gets_the_same_version_again() {
    let mut family = family();
    let first = register(&mut family, "tiny", lineage("job-1"), None).unwrap();
    assert_eq!(register(&mut family, "tiny", lineage("job-1"), None).unwrap(), first);
    assert_eq!(family.versions.len(), 1);
}

#[test]
fn a_version_given_by_hand_must_be_the_greatest() {
    let mut family = family();
    register(&mut family, "tiny", lineage("job-1"), Some("2.0.0")).unwrap();
    let refused = register(&mut family, "tiny", lineage("job-2"), Some("2.0.0")).unwrap_err();
    let (asked, newest) = (Version::new(2, 0, 0), Version::new(2, 0, 0));
    assert_eq!(refused, RegistrationError::NotGreater { asked, newest, family_id: "law-lora".into() });
}

#[test]
fn only_an_approved_version_becomes_champion() {
    let mut family = family();
    let first = register(&mut family, "tiny", lineage("job-1"), None).unwrap();
    assert!(family.promote(&first).is_err());
    family.set_status(&first, change(AdapterStatus::Approved)).unwrap();
    assert_eq!(family.promote(&first).unwrap(), None);
    let second = register(&mut family, "tiny", lineage("job-2"), None).unwrap();
    family.set_status(&second, change(AdapterStatus::Approved)).unwrap();
    assert_eq!(family.promote(&second).unwrap(), Some(first));
    assert_eq!(family.champion_version().unwrap().adapter_id, second);
}

#[test]
fn an_approved_version_cannot_be_rejected_any_more() {
    let mut family = family();
    let id = register(&mut family, "tiny", lineage("job-1"), None).unwrap();
    family.set_status(&id, change(AdapterStatus::Approved)).unwrap();
    let refused = family.set_status(&id, change(AdapterStatus::Rejected)).unwrap_err();
    assert_eq!(refused.to_string(), "law-lora-v1.0.0 is approved and cannot become rejected");
}

#[test]
fn a_change_of_status_notes_who_and_why() {
    let mut family = family();
    let id = register(&mut family, "tiny", lineage("job-1"), None).unwrap();
    family.set_status(&id, change(AdapterStatus::Approved)).unwrap();
    let version = family.version(&id).unwrap();
    assert_eq!(version.review_notes, ["anna: read it"]);
    assert_eq!((version.approved_by.as_deref(), version.approved_at.as_deref()), (Some("anna"), Some(AT)));
}

#[test]
fn an_exported_registry_can_be_imported_and_a_second_time_changes_nothing() {
    let mut family = family();
    register(&mut family, "tiny", lineage("job-1"), None).unwrap();
    let text = serde_json::to_string(&RegistryFile::new(vec![family.clone()], AT.into())).unwrap();
    let file: RegistryFile = serde_json::from_str(&text).unwrap();
    file.check().unwrap();
    let mut empty = Family::new("law".parse().unwrap(), Method::Lora);
    assert_eq!(empty.merge(family.clone()).unwrap(), 1);
    assert_eq!(empty.merge(family.clone()).unwrap(), 0);
    assert_eq!(empty, family);
}

#[test]
fn an_import_of_other_bytes_under_a_known_id_is_refused() {
    let mut here = family();
    register(&mut here, "tiny", lineage("job-1"), None).unwrap();
    let before = here.clone();
    let refuse = |change: fn(&mut AdapterVersion)| {
        let mut there = before.clone();
        change(&mut there.versions[0]);
        let file = RegistryFile::new(vec![there.clone()], AT.into());
        assert_eq!(file.check(), Ok(()), "the file alone is sound");
        before.clone().merge(there).unwrap_err().to_string()
    };
    let adapter = refuse(|version| {
        let lineage = version.lineage.as_mut().unwrap();
        lineage.adapter.files[0].digest = digest("other weights");
        version.adapter_checksum = lineage.adapter.digest().to_string();
    });
    let named = format!("in {}; versions are immutable", artifact("adapter").files[0].path);
    assert!(adapter.contains("law-lora-v1.0.0 is already registered with another adapter"), "{adapter}");
    assert!(adapter.starts_with("nothing was imported") && adapter.contains(&named), "{adapter}");
    let base = refuse(|version| version.base_model_hash = digest("other base").to_string());
    assert!(base.contains("another base model"), "{base}");
    let data =
        refuse(|version| version.lineage.as_mut().unwrap().dataset.files[0].digest = digest("other data"));
    assert!(data.contains("another dataset"), "{data}");
    assert_eq!(here.merge(before.clone()).unwrap(), 0);
    assert_eq!(here, before);
}

#[test]
fn a_registry_file_whose_checksum_is_not_that_of_its_files_is_refused() {
    let mut family = family();
    register(&mut family, "tiny", lineage("job-1"), None).unwrap();
    family.versions[0].adapter_checksum = "0".repeat(64);
    let refused = RegistryFile::new(vec![family], AT.into()).check().unwrap_err();
    assert!(matches!(refused, ImportError::Checksum { .. }), "{refused}");
}

#[test]
fn an_import_under_another_domain_or_method_is_refused() {
    let mut family = family();
    register(&mut family, "tiny", lineage("job-1"), None).unwrap();
    let check = |family: Family| RegistryFile::new(vec![family], AT.into()).check();
    let renamed = Family { domain: "tax".parse().unwrap(), ..family.clone() };
    assert!(matches!(check(renamed), Err(ImportError::WrongFamily { .. })));
    family.versions[0].method = Method::Dora;
    assert!(matches!(check(family), Err(ImportError::ForeignVersion { .. })));
}

#[test]
fn an_import_leaves_out_aliases_of_versions_that_must_not_be_used() {
    let mut pending = family();
    let id = register(&mut pending, "tiny", lineage("job-1"), None).unwrap();
    pending.aliases.insert(Alias::champion(), id.clone());
    let mut approved = pending.clone();
    approved.set_status(&id, change(AdapterStatus::Approved)).unwrap();
    let mut removed = approved.clone();
    removed.versions[0].files_removed_at = Some(AT.into());
    for (there, champion) in [(pending, None), (removed, None), (approved, Some(id.as_str()))] {
        let mut here = family();
        assert_eq!(here.merge(there).unwrap(), 1);
        assert_eq!(here.champion(), champion);
    }
}

#[test]
fn a_registry_file_of_older_versions_is_read() {
    let text = r#"{"version": "1.0.0", "last_updated": "2025-11-22T14:05:30Z", "families": [{
        "family_id": "law-lora", "domain": "law", "method": "lora", "versions": [{
            "adapter_id": "law-lora-v1.0.1", "version": "1.0.1", "domain": "law", "method": "lora", "rank": 16,
            "base_model": "leo-base", "base_model_hash": "abc123", "adapter_path": "models/x",
            "adapter_checksum": "def456", "created_at": "2025-11-22T14:00:00", "status": "approved",
            "metrics": {"llm_judge_score": 87.5}, "approved_by": "automated-pipeline", "deployed": false}]}]}"#;
    let file: RegistryFile = serde_json::from_str(text).unwrap();
    file.check().unwrap();
    assert_eq!(file.families[0].versions[0].status, AdapterStatus::Approved);
}

#[test]
fn families_of_older_programs_keep_their_champion_and_are_read_by_them() {
    let mut family = family();
    let id = register(&mut family, "base", lineage("job-1"), None).unwrap();
    family.set_status(&id, change(AdapterStatus::Approved)).unwrap();
    family.promote(&id).unwrap();
    let mut stored = serde_json::to_value(&family).unwrap();
    assert_eq!(stored["champion"], id, "older programs look there");
    let fields = stored.as_object_mut().unwrap();
    fields.remove("aliases");
    for field in ["evaluation", "reviews", "rollouts", "deprecation", "signature", "files_removed_at"] {
        fields["versions"][0].as_object_mut().unwrap().remove(field);
    }
    for field in ["report", "sources", "query", "train_records", "steps", "submitted_by"] {
        fields["versions"][0]["lineage"].as_object_mut().unwrap().remove(field);
    }
    let read: Family = serde_json::from_value(stored).unwrap();
    assert_eq!((read.champion(), read.aliases_of(&id).len()), (Some(id.as_str()), 1));
}

#[test]
fn aliases_and_ranges_are_told_apart() {
    for alias in ["champion", "challenger", "canary-2", "vnext"] {
        assert!(alias.parse::<Alias>().is_ok(), "{alias}");
    }
    for other in ["", "V1", "v1", "v1.2", "1.2", "^1", "x", "two words", "-a"] {
        assert!(other.parse::<Alias>().is_err(), "{other}");
    }
    let query = |text: &str| text.parse::<AdapterQuery>();
    assert!(matches!(query("law-lora@champion"), Ok(AdapterQuery::Alias { .. })));
    assert!(matches!(query("law-lora@^1.2"), Ok(AdapterQuery::Range { .. })));
    assert!(matches!(query("law-lora@>=1, <3"), Ok(AdapterQuery::Range { .. })));
    assert!(matches!(query("law-lora-v1.0.0"), Ok(AdapterQuery::Id { .. })));
    assert!(query("law-lora@v1").is_err() && query("nonsense").is_err() && query("@champion").is_err());
}

#[test]
fn an_alias_moves_only_from_what_was_expected_and_to_what_is_there() {
    let mut family = family();
    let id = register(&mut family, "base", lineage("job-1"), None).unwrap();
    let alias: Alias = "canary".parse().unwrap();
    let here = Expected::Version(id.clone());
    let to = |to, expected| AliasMove { alias: &alias, to, expected };
    assert_eq!(family.move_alias(to(Some(&id), &Expected::Nothing)), Ok(None));
    let refused = family.move_alias(to(None, &Expected::Nothing)).unwrap_err();
    assert!(matches!(refused, AliasError::Moved { .. }), "{refused}");
    let unknown = family.move_alias(to(Some("law-lora-v9.0.0"), &Expected::Anything)).unwrap_err();
    assert!(matches!(unknown, AliasError::Unknown { .. }), "{unknown}");
    assert_eq!(family.move_alias(to(None, &here)), Ok(Some(id)));
    assert!(family.aliases.is_empty());
}

#[test]
fn a_card_tells_what_the_record_holds_and_keeps_foreign_text_in_its_place() {
    let mut family = family();
    let from = Lineage { sources: vec!["a|b`<script>.jsonl".into()], ..lineage("job-1") };
    let id = register(&mut family, "base", from, None).unwrap();
    let card = model_card(family.version(&id).unwrap(), CardContext::default());
    for line in ["base_model: \"base\"", "license: \"unknown\"", "library_name: peft", "# law-lora-v1.0.0"] {
        assert!(card.lines().any(|found| found == line), "{line} is missing in:\n{card}");
    }
    assert!(card.contains("None is recorded.") && card.contains("Not signed."), "{card}");
    assert!(card.contains("a\\|b'&lt;script>.jsonl") && !card.contains("<script"), "{card}");
    let licensed = CardContext { licence: Some("apache-2.0"), judge: None };
    assert!(model_card(family.version(&id).unwrap(), licensed).contains("license: \"apache-2.0\""));
}

#[test]
fn files_that_were_removed_keep_a_version_from_being_used_again() {
    let mut family = family();
    let id = register(&mut family, "base", lineage("job-1"), None).unwrap();
    family.set_status(&id, change(AdapterStatus::Rejected)).unwrap();
    family.note(&id, |version| version.files_removed_at = Some(AT.into())).unwrap();
    let refused = family.set_status(&id, change(AdapterStatus::Approved)).unwrap_err();
    assert!(matches!(refused, StatusError::FilesRemoved { .. }), "{refused}");
    let alias: Alias = "study".parse().unwrap();
    let refused = family
        .move_alias(AliasMove { alias: &alias, to: Some(&id), expected: &Expected::Anything })
        .unwrap_err();
    assert!(matches!(refused, AliasError::FilesRemoved { .. }), "{refused}");
}
