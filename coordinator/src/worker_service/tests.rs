//! What workers hear: grants, refusals, duplicates, and a registration that cannot be.

use clara_lifecycle::{
    adapter::AdapterStatus, gate::Decision, id::Fence, job::JobState, resources::Resources, samples,
    spec::JobSpec,
};
use clara_proto::{
    convert::key_to_wire,
    v1::{worker_service_client::WorkerServiceClient, worker_service_server::WorkerServiceServer},
};
use tonic::Code;

use super::*;
use crate::{
    scheduler::Schedule,
    submit::Submission,
    testing::{House, TERMS, claim, complete, complete_until, result},
};

fn workers(house: &House) -> Workers {
    Workers { driver: house.driver.clone(), terms: TERMS, shutdown: CancellationToken::new() }
}

fn claim_request(job: &Job, attempt: u32, claim_id: &str) -> Request<v1::ClaimRequest> {
    Request::new(v1::ClaimRequest {
        job_id: job.id.to_string(),
        stage: v1::Stage::Ingest.into(),
        attempt,
        worker_id: "worker-1".to_owned(),
        claim_id: claim_id.to_owned(),
    })
}

async fn asked(workers: &Workers, job: &Job, attempt: u32, claim_id: &str) -> v1::claim_response::Answer {
    workers.claim(claim_request(job, attempt, claim_id)).await.unwrap().into_inner().answer.unwrap()
}

fn fence(answer: v1::claim_response::Answer) -> u64 {
    match answer {
        v1::claim_response::Answer::Grant(grant) => grant.assignment.unwrap().key.unwrap().fence,
        v1::claim_response::Answer::Refusal(refusal) => panic!("refused: {}", refusal.reason),
    }
}

fn reason(answer: v1::claim_response::Answer) -> String {
    match answer {
        v1::claim_response::Answer::Grant(_) => panic!("granted"),
        v1::claim_response::Answer::Refusal(refusal) => refusal.reason,
    }
}

#[tokio::test]
async fn a_repeated_claim_is_granted_again_and_another_one_is_refused() {
    let house = House::new().await;
    let workers = workers(&house);
    let job = house.submit(samples::spec()).await;
    let first = fence(asked(&workers, &job, 1, "claim-1").await);
    assert_eq!(fence(asked(&workers, &job, 1, "claim-1").await), first);
    assert!(reason(asked(&workers, &job, 1, "claim-2").await).contains("already claimed by worker worker-1"));
    assert!(!reason(asked(&workers, &job, 2, "claim-3").await).is_empty());
}

const FAMILY_ID: &str = "law-lora";

/// Lets a job pass all stages.
async fn approve_one(driver: &Driver) {
    let submitted = driver.submit(samples::spec(), None, Submission::New).await.unwrap();
    complete_until(driver, &submitted.job.unwrap().id, None, Decision::Approve).await;
}

/// The version of the family's copy that a coordinator has.
fn copied(driver: &Driver) -> Option<u64> {
    driver.copies.families.get(FAMILY_ID).and_then(|copy| copy.version)
}

/// A job whose next stage is `stage`, a coordinator with copies of the job and its family, and another coordinator that
/// changed the family since.
async fn behind_another_coordinator(stage: Stage) -> (House, Job) {
    let house = House::new().await;
    approve_one(&house.driver).await;
    let job = house.submit(samples::spec()).await;
    for before in Stage::ALL.into_iter().take_while(|before| *before != stage) {
        complete(&house.driver, &job.id, result(before, Decision::Approve)).await.unwrap();
    }
    approve_one(&Driver::new(Arc::clone(&house.state) as _, Schedule::default())).await;
    let stored = house.driver.records.family(FAMILY_ID).await.unwrap().unwrap().version;
    assert!(copied(&house.driver).is_some_and(|copied| Some(copied) < stored));
    (house, job)
}

/// What a worker is given that claims `stage`.
async fn claimed(house: &House, job: &Job, stage: v1::Stage) -> v1::Assignment {
    let mut request = claim_request(job, 1, "claim-1");
    request.get_mut().stage = stage.into();
    let answer = workers(house).claim(request).await.unwrap().into_inner().answer.unwrap();
    let v1::claim_response::Answer::Grant(grant) = answer else { panic!("refused") };
    grant.assignment.unwrap()
}

#[tokio::test]
async fn a_claim_over_an_old_copy_of_the_family_gets_the_champion_of_now() {
    let (house, job) = behind_another_coordinator(Stage::Generate).await;
    assert_eq!(
        claimed(&house, &job, v1::Stage::Generate).await.champion.unwrap().adapter_id,
        "law-lora-v1.0.2"
    );
    assert_eq!(copied(&house.driver), None);
}

#[tokio::test]
async fn a_gate_claimed_over_an_old_copy_counts_the_evaluations_of_now() {
    let (house, job) = behind_another_coordinator(Stage::Gate).await;
    assert_eq!(claimed(&house, &job, v1::Stage::Gate).await.evaluations, 2);
}

#[tokio::test]
async fn a_decision_over_an_old_copy_of_the_family_keeps_what_another_coordinator_stored() {
    let (house, job) = behind_another_coordinator(Stage::Gate).await;
    complete(&house.driver, &job.id, result(Stage::Gate, Decision::Approve)).await.unwrap();
    let stored = house.driver.records.family(FAMILY_ID).await.unwrap().unwrap();
    let statuses: Vec<_> = stored.value.versions.iter().map(|version| version.status).collect();
    assert_eq!(statuses, [AdapterStatus::Approved; 3]);
    assert_eq!(copied(&house.driver), stored.version);
}

#[tokio::test]
async fn an_exchange_answers_every_kind_of_call_and_ends_with_the_coordinator() {
    let house = House::new().await;
    let workers = workers(&house);
    let shutdown = workers.shutdown.clone();
    let job = house.submit(samples::spec()).await;
    let mut client = WorkerServiceClient::new(WorkerServiceServer::new(workers));
    let (calls, sent) = futures::channel::mpsc::unbounded();
    let mut replies = client.exchange(sent).await.unwrap().into_inner();
    let mut number = 6;
    let mut ask = async |call: Option<Call>| {
        number += 1;
        calls.unbounded_send(v1::ExchangeRequest { number, call }).unwrap();
        let response = replies.message().await.unwrap().unwrap();
        assert_eq!(response.number, number);
        response.reply.unwrap()
    };
    let request = claim_request(&job, 1, "claim-1").into_inner();
    let Reply::Claim(granted) = ask(Some(Call::Claim(request))).await else { panic!("no answer to a claim") };
    let fence = Fence(fence(granted.answer.unwrap()));
    let key = AttemptKey { stage: Stage::Ingest, attempt: Attempt::FIRST, fence };
    let key = || Some(key_to_wire(&job.id, key));
    let beat = v1::HeartbeatRequest { key: key(), progress: Some(v1::Progress::default()) };
    let directive = v1::Directive::Continue.into();
    let going_on = Reply::Heartbeat(v1::HeartbeatResponse { directive });
    assert_eq!(ask(Some(Call::Heartbeat(beat))).await, going_on);
    let outcome = v1::ReportOutcome::Accepted.into();
    let handed_back = Reply::HandBack(v1::HandBackResponse { outcome });
    assert_eq!(ask(Some(Call::HandBack(v1::HandBackRequest { key: key() }))).await, handed_back);
    let outcome = v1::ReportOutcome::Stale.into();
    let fail = v1::FailRequest { key: key(), message: "late".to_owned(), retryable: true };
    assert_eq!(ask(Some(Call::Fail(fail))).await, Reply::Fail(v1::FailResponse { outcome }));
    let result = Some(result(Stage::Ingest, Decision::Approve).into());
    let complete = v1::CompleteRequest { key: key(), result };
    assert_eq!(ask(Some(Call::Complete(complete))).await, Reply::Complete(v1::CompleteResponse { outcome }));
    for (call, code) in
        [(None, Code::Unimplemented), (Some(Call::Fail(v1::FailRequest::default())), Code::InvalidArgument)]
    {
        let Reply::Failure(failure) = ask(call).await else { panic!("no failure") };
        assert_eq!(Code::from(failure.code), code, "{}", failure.message);
    }
    shutdown.cancel();
    assert_eq!(replies.message().await.unwrap(), None);
}

#[tokio::test]
async fn a_ticket_of_an_unknown_job_is_refused_and_not_an_error() {
    let house = House::new().await;
    let mut job = house.submit(samples::spec()).await;
    job.id = "job-gone".parse().unwrap();
    assert!(reason(asked(&workers(&house), &job, 1, "claim-1").await).contains("job-gone"));
}

#[tokio::test]
async fn reports_are_accepted_once_then_duplicate_and_stale_after_a_hand_back() {
    let metrics = metrics::install().unwrap();
    let house = House::new().await;
    let workers = workers(&house);
    let job = house.submit(samples::spec()).await.id;
    let late = claim(&house.driver, &job, Stage::Ingest).await;
    house.driver.apply(&job, Event::HandedBack { key: late }).await.unwrap();
    let live = claim(&house.driver, &job, Stage::Ingest).await;
    let mut outcomes = Vec::new();
    for key in [late, live, live] {
        let result = Some(result(Stage::Ingest, Decision::Approve).into());
        let request = v1::CompleteRequest { key: Some(key_to_wire(&job, key)), result };
        outcomes.push(workers.complete(Request::new(request)).await.unwrap().into_inner().outcome());
    }
    let expected = [v1::ReportOutcome::Stale, v1::ReportOutcome::Accepted, v1::ReportOutcome::Duplicate];
    assert_eq!(outcomes, expected);
    let page = metrics.render();
    assert!(page.contains("\nclara_fence_rejections_total{stage=\"ingest\"} "), "{page}");
}

#[tokio::test]
async fn a_heartbeat_after_a_cancel_says_cancel_and_after_a_take_back_fenced() {
    let house = House::new().await;
    let workers = workers(&house);
    let beat = |job: &JobId, key| {
        let request = v1::HeartbeatRequest {
            key: Some(key_to_wire(job, key)),
            progress: Some(v1::Progress::default()),
        };
        workers.heartbeat(Request::new(request))
    };
    let job = house.submit(samples::spec()).await.id;
    let late = claim(&house.driver, &job, Stage::Ingest).await;
    assert_eq!(beat(&job, late).await.unwrap().into_inner().directive(), v1::Directive::Continue);
    house.driver.apply(&job, Event::HandedBack { key: late }).await.unwrap();
    assert_eq!(beat(&job, late).await.unwrap().into_inner().directive(), v1::Directive::Fenced);
    let live = claim(&house.driver, &job, Stage::Ingest).await;
    house.driver.apply(&job, Event::CancelRequested).await.unwrap();
    assert_eq!(beat(&job, live).await.unwrap().into_inner().directive(), v1::Directive::Cancel);
}

#[tokio::test]
async fn a_training_whose_version_was_overtaken_makes_the_job_stuck_with_the_reason() {
    let house = House::new().await;
    let by_hand = JobSpec { version: Some("2.0.0".parse().unwrap()), ..samples::spec() };
    let mut claimed = Vec::new();
    for labelled in ["first", "second"] {
        let labels = [("order".to_owned(), labelled.to_owned())].into();
        let job = house.submit(JobSpec { labels, ..by_hand.clone() }).await.id;
        complete(&house.driver, &job, result(Stage::Ingest, Decision::Approve)).await.unwrap();
        claimed.push((job.clone(), claim(&house.driver, &job, Stage::Train).await));
    }
    for (job, key) in &claimed {
        let result = Some(result(Stage::Train, Decision::Approve).into());
        let request = v1::CompleteRequest { key: Some(key_to_wire(job, *key)), result };
        workers(&house).complete(Request::new(request)).await.unwrap();
    }
    let first = house.job(&claimed[0].0).await;
    assert_eq!(first.adapter_id.as_deref(), Some("law-lora-v2.0.0"));
    let second = house.job(&claimed[1].0).await;
    assert_eq!(second.state, JobState::Stuck { stage: Stage::Train });
    assert_eq!(second.adapter_id, None);
    let failure = second.stages.get(Stage::Train).last_failure.clone().unwrap();
    assert!(failure.message.contains("version 2.0.0 is not greater than 2.0.0"), "{}", failure.message);
}

#[tokio::test]
async fn a_message_that_does_not_fit_is_refused_with_its_field() {
    let house = House::new().await;
    let request = v1::CompleteRequest { key: None, result: None };
    let refused = workers(&house).complete(Request::new(request)).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (tonic::Code::InvalidArgument, "field `key` is missing"));
}

#[tokio::test]
async fn lines_are_kept_whoever_has_the_lease_and_unknown_jobs_have_none() {
    let house = House::new().await;
    let workers = workers(&house);
    let job = house.submit(samples::spec()).await.id;
    let late = claim(&house.driver, &job, Stage::Ingest).await;
    house.driver.apply(&job, Event::HandedBack { key: late }).await.unwrap();
    let line = v1::LogLine {
        number: 1,
        at: Some(prost_types::Timestamp::default()),
        level: v1::LogLevel::Warn.into(),
        target: "clara_ingest_worker".to_owned(),
        message: "left out".to_owned(),
    };
    let append = |job: &JobId| {
        let request = v1::AppendLogRequest { key: Some(key_to_wire(job, late)), lines: vec![line.clone()] };
        workers.append_log(Request::new(request))
    };
    append(&job).await.unwrap();
    append(&job).await.unwrap();
    let unknown = append(&"job-gone".parse().unwrap()).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

async fn welcomed(workers: &Workers, hello: v1::HelloRequest) -> v1::HelloResponse {
    workers.hello(Request::new(hello)).await.unwrap().into_inner()
}

fn hello(oldest: u32, newest: u32) -> v1::HelloRequest {
    v1::HelloRequest {
        worker_id: "worker-1".to_owned(),
        stage: v1::Stage::Train.into(),
        protocol: Some(v1::ProtocolRange { oldest, newest }),
        build_version: "0.9.0".to_owned(),
        slots: 1,
        resources: Some(v1::Resources { gpu_memory_bytes: 80, gpu_kind: None, cpu_cores: 4 }),
        classes: Vec::new(),
    }
}

#[tokio::test]
async fn a_greeting_agrees_on_a_version_and_one_beyond_the_coordinator_on_none() {
    let house = House::new().await;
    let workers = workers(&house);
    let ours = ProtocolRange::OURS;
    let agreed = welcomed(&workers, hello(1, ours.newest + 1)).await;
    assert_eq!((agreed.protocol_version, agreed.protocol), (Some(ours.newest), Some(ours.into())));
    assert_eq!(agreed.build_version, env!("CARGO_PKG_VERSION"));
    // Workers of the release before speak the oldest version.
    assert_eq!(welcomed(&workers, hello(1, 1)).await.protocol_version, Some(1));
    assert_eq!(house.driver.present().await.unwrap().len(), 1);

    let mut newer = hello(ours.newest + 1, ours.newest + 2);
    newer.worker_id = "worker-2".to_owned();
    assert_eq!(welcomed(&workers, newer).await.protocol_version, None);
    assert_eq!(house.driver.present().await.unwrap().len(), 1, "a worker that cannot work is not there");
}

#[tokio::test]
async fn a_worker_is_told_the_classes_that_its_resources_and_its_wish_allow() {
    let house = House::new().await;
    let class = |name: &str, gpu_memory_bytes, gpu_kind: Option<&str>| ResourceClass {
        name: name.parse().unwrap(),
        needs: Resources { gpu_memory_bytes, gpu_kind: gpu_kind.map(str::to_owned), cpu_cores: 0 },
    };
    let classes = [
        ResourceClass::default_class(),
        class("gpu40", 40, None),
        class("gpu80", 80, None),
        class("gpu96", 96, None),
        class("h100", 0, Some("h100")),
    ];
    let driver = Driver { classes: classes.into(), ..house.driver.clone() };
    let workers = Workers { driver, terms: TERMS, shutdown: CancellationToken::new() };
    assert_eq!(welcomed(&workers, hello(1, 2)).await.classes, ["default", "gpu40", "gpu80"]);
    let mut choosy = hello(1, 2);
    choosy.classes = vec!["gpu80".to_owned(), "gpu96".to_owned()];
    assert_eq!(welcomed(&workers, choosy).await.classes, ["gpu80"]);
}

#[tokio::test]
async fn the_gate_is_told_how_often_the_family_was_tried_with_the_same_golden_dataset() {
    let house = House::new().await;
    let workers = workers(&house);
    for before in 0..3_u32 {
        let job = house.submit(samples::spec()).await;
        complete_until(&house.driver, &job.id, Some(Stage::Gate), Decision::Reject).await;
        let mut request = claim_request(&job, 1, "claim-1").into_inner();
        request.stage = v1::Stage::Gate.into();
        let grant = workers.claim_of(request).await.unwrap();
        let job = house.job(&job.id).await;
        assert_eq!(grant.assignment.unwrap().evaluations, before);
        let StageState::Leased(lease) = &job.stages.get(Stage::Gate).state else { panic!("not leased") };
        let key = AttemptKey { stage: Stage::Gate, attempt: Attempt(1), fence: lease.fence };
        let decided = Arc::new(result(Stage::Gate, Decision::Reject));
        house.driver.apply(&job.id, Event::Completed { key, result: decided }).await.unwrap();
        let adapter = house.driver.adapter(&job.adapter_id.clone().unwrap()).await.unwrap();
        let figure = adapter.version.metrics["golden_evaluations"];
        assert!((figure - f64::from(before + 1)).abs() < 1e-9, "{figure}");
    }
    let used = house.job(&house.jobs().await[0].id).await.golden.digest.clone();
    assert_eq!(house.driver.evaluations_with(&used).await.unwrap(), 3);
    assert_eq!(house.driver.evaluations_with(&samples::digest("other")).await.unwrap(), 0);
}
