//! Rollout to fakes of every kind of server, on three replicas, and what each fault comes to.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clara_proto::v1;
use clara_runtime::config::{FingerprintRule, HumanDuration, TargetKind, TargetSettings};
use clara_tests::serving::{Fake, Fault, House, Wanted};
use serde_json::{Value, json};

const SMALL: Wanted = Wanted { rank: 16, bytes: 4096 };

fn unchanged(_: &mut TargetSettings) {}

fn outcome(job: &Value) -> String {
    let state = job.get("state").cloned().unwrap_or_default();
    let failure =
        job.pointer("/stages/rollout/last_failure/message").and_then(Value::as_str).unwrap_or_default();
    format!("{state} {failure}")
}

fn approved(job: &Value) -> Result<()> {
    ensure!(job.pointer("/state/outcome") == Some(&json!("approved")), "{}", outcome(job));
    Ok(())
}

/// Every replica serves so many adapters.
fn each_serves(fakes: &[Fake], count: usize) -> bool {
    fakes.iter().all(|fake| fake.serves().len() == count)
}

async fn is_served_by(kind: TargetKind, change: impl Fn(&mut TargetSettings)) -> Result<()> {
    let (house, fakes) = House::with(kind, SMALL, change).await?;
    let job = house.job().await?;
    approved(&job)?;
    ensure!(each_serves(&fakes, 1), "{kind:?}: not every replica serves it");
    ensure!(house.champion().await?.as_deref() == Some("law-lora-v1.0.0"), "{kind:?}: no champion");
    let proof = job.pointer("/stages/rollout/state/result/targets/0/proof").and_then(Value::as_str);
    let proof = proof.with_context(|| format!("no proof in {job}"))?;
    ensure!(proof.contains("24 tokens differ by 0.0000 nats"), "{kind:?}: {proof}");
    let audit = house.audit().await?;
    for action in ["rollout.checked", "rollout.staged", "rollout.loaded", "rollout.listed", "rollout.proven"]
    {
        let times = audit.iter().filter(|(found, _)| found == action).count();
        let expected = if matches!(action, "rollout.checked" | "rollout.staged") { 1 } else { 3 };
        ensure!(times == expected, "{kind:?}: {action} stands {times} times in {audit:?}");
    }
    house.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_server_that_loads_by_a_call_serves_the_judged_bytes() -> Result<()> {
    for kind in [
        TargetKind::Vllm,
        TargetKind::Clara,
        TargetKind::VllmFolder,
        TargetKind::Sglang,
        TargetKind::MistralRs,
    ] {
        is_served_by(kind, unchanged).await?;
    }
    // PATH is set everywhere: as a token it is as good as any.
    is_served_by(TargetKind::ThemisDb, |target| target.api_key_env = Some("PATH".into())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn llama_cpp_serves_after_a_restart_and_says_so() -> Result<()> {
    let copy = "mkdir -p {out} && cp {adapter}/adapter_model.safetensors {out}/adapter.gguf";
    let convert = |target: &mut TargetSettings| {
        target.convert = ["sh", "-c", copy].map(str::to_owned).to_vec();
    };
    let (house, fakes) = House::with(TargetKind::LlamaCpp, SMALL, convert).await?;
    let job = house.job().await?;
    let told = outcome(&job);
    ensure!(told.contains("stuck") && told.contains("takes adapters at its start alone"), "{told}");
    ensure!(house.champion().await?.is_none(), "a champion that nobody serves");
    // As the message says: the file is made again by the next attempt, which needs servers that have it.
    let id = job.get("id").and_then(Value::as_str).context("no id")?.to_owned();
    let retry = v1::RetryJobRequest { job_id: id.clone(), ..v1::RetryJobRequest::default() };
    house.control.clone().retry_job(retry).await?;
    let gguf = || {
        std::fs::read_dir(&house.adapters)
            .into_iter()
            .flatten()
            .flatten()
            .any(|file| file.path().extension().is_some_and(|end| end == "gguf"))
    };
    ensure!(gguf(), "the staged file must stay for the restart");
    fakes.iter().for_each(Fake::restart);
    let first = house.rest(&id).await?;
    if approved(&first).is_err() {
        house
            .control
            .clone()
            .retry_job(v1::RetryJobRequest { job_id: id.clone(), ..v1::RetryJobRequest::default() })
            .await?;
        approved(&house.rest(&id).await?)?;
    }
    house.stop().await;
    Ok(())
}

/// A fault of one replica of three: the job is stuck with these words, nothing is served, nothing has moved.
async fn fails(kind: TargetKind, fault: Fault, words: &str) -> Result<()> {
    let quick = |target: &mut TargetSettings| target.load_timeout = HumanDuration(Duration::from_secs(3));
    let (house, fakes) = House::with(kind, SMALL, quick).await?;
    let broken = fakes.get(1).context("three replicas")?;
    broken.break_by(fault.clone());
    let job = house.job().await?;
    let told = outcome(&job);
    ensure!(told.contains("stuck") && told.contains(words), "{kind:?} {fault:?}: {told}");
    ensure!(told.contains(&broken.url()) || told.contains("target prod"), "{kind:?}: no replica in {told}");
    let others: Vec<Vec<String>> =
        [0, 2].into_iter().filter_map(|place| Some(fakes.get(place)?.serves())).collect();
    // What vLLM has read from the folder it keeps until its end: this replica cannot be told to unload.
    let can_unload = kind != TargetKind::VllmFolder;
    ensure!(!can_unload || others.iter().all(Vec::is_empty), "{kind:?} {fault:?}: still served: {others:?}");
    let left = std::fs::read_dir(&house.adapters).map(Iterator::count).unwrap_or_default();
    ensure!(can_unload || left == 0, "{kind:?} {fault:?}: {left} versions were left in the folder");
    ensure!(house.champion().await?.is_none(), "{kind:?} {fault:?}: the champion moved");
    ensure!(
        house.audit().await?.iter().any(|(action, _)| action == "rollout.failed"),
        "not in the audit log"
    );
    house.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_load_ends_the_rollout_and_nothing_has_moved() -> Result<()> {
    fails(TargetKind::Vllm, Fault::Disabled, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True").await?;
    fails(TargetKind::VllmFolder, Fault::Disabled, "VLLM_PLUGINS=lora_filesystem_resolver").await?;
    fails(TargetKind::Vllm, Fault::MaxRank(8), "start the server with a greater --max-lora-rank").await?;
    fails(TargetKind::Sglang, Fault::MaxRank(8), "its rank is 16, the servers take 8").await?;
    fails(TargetKind::MistralRs, Fault::MaxRank(8), "its rank is 16, the servers take 8").await?;
    fails(TargetKind::Vllm, Fault::DiesMidLoad, "gives no answer").await?;
    fails(TargetKind::Vllm, Fault::Slow(Duration::from_secs(30)), "did not answer").await?;
    fails(TargetKind::Vllm, Fault::Loses, "does not list it").await?;
    fails(TargetKind::MistralRs, Fault::Busy(100), "was too busy").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_serves_other_bytes_is_caught_and_the_version_taken_back() -> Result<()> {
    for kind in [TargetKind::Vllm, TargetKind::Sglang, TargetKind::MistralRs, TargetKind::VllmFolder] {
        fails(kind, Fault::ServesBase, "it answers like the base model").await?;
    }
    // Without log-probabilities the texts tell.
    let (house, fakes) = House::with(TargetKind::Vllm, SMALL, unchanged).await?;
    for fake in &fakes {
        fake.break_by(Fault::NoLogprobs);
    }
    let job = house.job().await?;
    approved(&job)?;
    ensure!(job.to_string().contains("a weaker proof"), "{job}");
    // A server that answers from the cache of the version before.
    fakes.iter().for_each(Fake::restart);
    let (house, fakes) = House::with(TargetKind::Vllm, SMALL, unchanged).await?;
    approved(&house.job().await?)?;
    fakes.first().context("three")?.break_by(Fault::StaleCache);
    let told = outcome(&house.job().await?);
    ensure!(told.contains("it answers like the champion before"), "{told}");
    ensure!(house.champion().await?.as_deref() == Some("law-lora-v1.0.0"), "the champion moved");
    ensure!(each_serves(&fakes, 1), "the champion before must stay loaded, and nothing else");
    house.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_or_slow_replica_is_waited_for() -> Result<()> {
    let (house, fakes) = House::with(TargetKind::MistralRs, SMALL, unchanged).await?;
    fakes.first().context("three")?.break_by(Fault::Busy(2));
    fakes.get(1).context("three")?.break_by(Fault::Slow(Duration::from_millis(700)));
    approved(&house.job().await?)?;
    ensure!(fakes.first().map(Fake::loads) == Some(3), "two refusals and a load");
    house.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_takes_less_than_a_second_and_finds_the_version_loaded() -> Result<()> {
    let (house, fakes) = House::with(TargetKind::Vllm, SMALL, unchanged).await?;
    for _ in 0..3 {
        approved(&house.job().await?)?;
    }
    house.until("the oldest version is unloaded", || each_serves(&fakes, 2)).await?;
    let loads: u64 = fakes.iter().map(Fake::loads).sum();
    let rehearsal = house.roll_back(true).await?;
    ensure!(rehearsal.get("to") == Some(&json!("law-lora-v1.0.1")), "{rehearsal}");
    ensure!(house.champion().await?.as_deref() == Some("law-lora-v1.0.2"), "a rehearsal moved the champion");
    let began = Instant::now();
    let went = house.roll_back(false).await?;
    let took = began.elapsed();
    ensure!(house.champion().await?.as_deref() == Some("law-lora-v1.0.1"), "{went}");
    ensure!(took < Duration::from_secs(1), "it took {took:?}");
    let replicas = went.get("replicas").and_then(Value::as_array).context("no replicas")?;
    ensure!(replicas.iter().all(|replica| replica.get("serves") == Some(&json!("yes"))), "{went}");
    ensure!(fakes.iter().map(Fake::loads).sum::<u64>() == loads, "a rollback loaded something");
    eprintln!("rollback over 3 replicas: {took:?}");
    // The version before that was unloaded long ago: going there needs a rollout first.
    let refused = house.roll_back(false).await.unwrap_err().to_string();
    ensure!(refused.contains("clara registry rollout law-lora-v1.0.0"), "{refused}");
    let request = v1::RollOutAdapterRequest {
        adapter_id: "law-lora-v1.0.0".into(),
        targets: vec![],
        promote: false,
        actor: "anna".into(),
        reason: "to go back further".into(),
    };
    house.control.clone().roll_out_adapter(request).await?;
    house.roll_back(false).await?;
    ensure!(house.champion().await?.as_deref() == Some("law-lora-v1.0.0"), "it did not go back");
    house.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_forgot_its_adapters_is_seen_and_repaired() -> Result<()> {
    let keep = |target: &mut TargetSettings| target.repair = false;
    let (house, fakes) = House::with(TargetKind::Vllm, SMALL, keep).await?;
    approved(&house.job().await?)?;
    fakes.get(2).context("three")?.restart();
    let began = Instant::now();
    loop {
        let served = house.served(false).await?;
        if served.iter().any(|target| target.to_string().contains("does not serve law-lora-v1.0.0-")) {
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(30), "the drift was not seen: {served:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("drift seen after {:?} (asked every 200 ms)", began.elapsed());
    ensure!(fakes.get(2).is_some_and(|fake| fake.serves().is_empty()), "repair is off");
    house.stop().await;

    let (house, fakes) = House::with(TargetKind::Vllm, SMALL, unchanged).await?;
    approved(&house.job().await?)?;
    fakes.get(2).context("three")?.restart();
    house.until("the champion is loaded again", || each_serves(&fakes, 1)).await?;
    ensure!(
        house.audit().await?.iter().any(|(action, _)| action == "rollout.repaired"),
        "not in the audit log"
    );
    house.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_of_50_megabytes_is_served_on_three_replicas_within_ten_seconds() -> Result<()> {
    let large = Wanted { rank: 16, bytes: 50_000_000 };
    let (house, fakes) = House::with(TargetKind::Vllm, large, unchanged).await?;
    let job = house.job().await?;
    approved(&job)?;
    ensure!(each_serves(&fakes, 1), "not every replica serves it");
    let at = |pointer: &str| {
        job.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("{pointer} in {job}"))
    };
    let took = Duration::from_millis(at("/stages/rollout/state/at")? - at("/stages/gate/state/at")?);
    eprintln!("approved to served and proven on 3 replicas, 50 MB: {took:?}");
    ensure!(took < Duration::from_secs(10), "it took {took:?}");
    house.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_signed_messages_and_hears_of_the_champion_once() -> Result<()> {
    let signs = |target: &mut TargetSettings| {
        target.api_key_env = Some("PATH".into());
        target.fingerprint = FingerprintRule::Off;
    };
    let (house, fakes) = House::with(TargetKind::Webhook, SMALL, signs).await?;
    approved(&house.job().await?)?;
    let kinds = |fake: &Fake| -> Vec<String> {
        let kind = |body: &Value| body.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        fake.messages().iter().map(|(_, body)| kind(body)).collect()
    };
    let heard = || fakes.iter().all(|fake| kinds(fake) == ["adapter.load", "champion.moved"]);
    house.until("every receiver hears of the champion", heard).await?;
    let (headers, body) =
        fakes.first().and_then(|fake| fake.messages().into_iter().next()).context("no message")?;
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        ensure!(headers.contains_key(header), "{header} is missing");
    }
    ensure!(!headers.contains_key("authorization"), "the secret was sent");
    ensure!(body.pointer("/data/adapter_id") == Some(&json!("law-lora-v1.0.0")), "{body}");
    house.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_nobody_named_is_refused_at_submission() -> Result<()> {
    let (house, _fakes) = House::with(TargetKind::Vllm, SMALL, unchanged).await?;
    let spec = Some(house.spec("staging").into());
    let request = v1::SubmitJobRequest { spec, ..v1::SubmitJobRequest::default() };
    let refused = house.control.clone().submit_job(request).await.unwrap_err();
    ensure!(
        refused.message().contains("no rollout target `staging`; the coordinators' settings have prod"),
        "{refused}"
    );
    house.stop().await;
    Ok(())
}
