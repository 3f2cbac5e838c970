//! Tests of the whole stage against a real HTTP server and a real artifact store.

mod attacks;
mod judging;
mod world;

use std::time::{Duration, Instant};

use clara_lifecycle::{
    gate::{Decision, GatePolicy, decide},
    score::UnscoredReason,
};
use clara_runtime::{
    config::JudgeSettings,
    stop::StopReason,
    worker::{StageFailure, StageHandler},
};

use super::{JudgeConfig, JudgeHandler};
use crate::testing::{Call, Canned, Double, scores_json};
use world::World;

/// Answers well, with a score that depends on the judged answer.
fn by_answer(call: &Call) -> Canned {
    Canned::scores(if call.last_turn().contains("champion") { 7 } else { 9 })
}

/// Whether the call judges the candidate's answer to sample `number`.
fn judges(call: &Call, number: usize) -> bool {
    let turn = call.body["messages"][3]["content"].as_str().unwrap_or_default();
    turn.contains(&format!("candidate {number}\n"))
}

#[tokio::test]
async fn candidate_and_champion_are_judged_and_both_files_are_stored() {
    let double = Double::start(by_answer).await;
    let world = World::new(&double.url, 6, true).await;
    let (evaluation, result) = world.judge().await.unwrap();
    assert_eq!(result.samples, 6);
    assert_eq!((result.unscored, result.average_score, result.pass_rate), (0, Some(90.0), Some(1.0)));
    assert_eq!(evaluation.champion.as_ref().unwrap().average_score, Some(70.0));
    let input = evaluation.gate_input();
    assert_eq!(input.samples.iter().filter(|sample| sample.champion.is_some()).count(), 6);
    assert_eq!(evaluation.judge.model, "judge-model");
    assert_eq!(evaluation.summary.evaluated_at, "2023-11-14T22:13:20Z");
    let order: Vec<_> = evaluation.results.iter().map(|score| score.sample_id.as_str()).collect();
    assert_eq!(order, ["golden-1", "golden-2", "golden-3", "golden-4", "golden-5", "golden-6"]);

    let replies = world.read(&result, "replies.jsonl").await;
    let replies = String::from_utf8(replies).unwrap();
    assert_eq!(replies.lines().count(), 12);
    let first: serde_json::Value = serde_json::from_str(replies.lines().next().unwrap()).unwrap();
    assert_eq!((&first["number"], &first["mode"]), (&1.into(), &"json_schema".into()));
    assert_eq!(first["text"], scores_json(9));
    let progress = world.progress();
    assert_eq!((progress.done, progress.total, progress.unit.as_str()), (6, Some(6), "samples"));
}

#[tokio::test]
async fn a_reply_that_cannot_be_read_is_asked_for_once_more_with_its_fault() {
    let double = Double::start(|call: &Call| match call.body["messages"].as_array().map(Vec::len) {
        Some(4) => Canned::reply("Die Antwort ist gut.", "stop"),
        _ => Canned::scores(6),
    })
    .await;
    let world = World::new(&double.url, 1, false).await;
    let (evaluation, _) = world.judge().await.unwrap();
    assert_eq!(evaluation.summary.average_score, Some(60.0));
    let calls = double.chats();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].body["messages"][4]["content"], "Die Antwort ist gut.");
    assert!(
        calls[1].last_turn().contains("no JSON object with scores was found"),
        "{}",
        calls[1].last_turn()
    );
}

#[tokio::test]
async fn an_endpoint_without_schemas_is_read_tolerantly() {
    let double = Double::start(|call: &Call| {
        if call.body.get("response_format").is_some() {
            return Canned::error(400, "invalid", "response_format is not supported");
        }
        Canned::reply(format!("Gerne!\n```json\n{}\n```", scores_json(8)), "stop")
    })
    .await;
    let world = World::new(&double.url, 3, false).await;
    let (evaluation, _) = world.judge().await.unwrap();
    assert_eq!(evaluation.summary.scored, 3);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_reply_no_score_is_made_up() {
    let missing = scores_json(9).replace("\"style\":4.5", "\"stylish\":4.5");
    let cases = [
        (Canned::reply("nonsense", "stop"), UnscoredReason::Unparsable),
        (Canned::reply("{\"scores\": {\"accuracy\": 9", "length"), UnscoredReason::Truncated),
        (Canned::reply(missing, "stop"), UnscoredReason::MissingCriterion),
        (Canned::scores(11), UnscoredReason::ScoreOutOfRange),
        (Canned::reply(serde_json::Value::Null, "stop"), UnscoredReason::EmptyReply),
        (Canned::reply("", "content_filter"), UnscoredReason::Refused),
        (Canned::status(200, r#"{"choices": []}"#), UnscoredReason::EmptyReply),
        (Canned::error(400, "context_length_exceeded", "too long"), UnscoredReason::RequestRejected),
        (Canned::status(500, "crashed"), UnscoredReason::ServerError),
        (Canned::status(200, "not json"), UnscoredReason::ServerError),
    ];
    for (canned, reason) in cases {
        let broken = canned.clone();
        let double =
            Double::start(move |call| if judges(call, 2) { broken.clone() } else { Canned::scores(9) }).await;
        let world = World::new(&double.url, 3, false).await;
        let (evaluation, result) = world.judge().await.unwrap();
        assert_eq!((result.samples, result.unscored), (3, 1), "{reason}");
        let unscored: Vec<_> =
            evaluation.unscored.iter().map(|one| (one.sample_id.as_str(), one.reason)).collect();
        assert_eq!(unscored, [("golden-2", reason)], "{canned:?}");
        assert!(evaluation.results.iter().all(|score| (score.overall_score - 90.0).abs() < 1e-9), "{reason}");
    }
}

#[tokio::test]
async fn nonsense_for_every_sample_is_a_result_that_the_gate_calls_an_error() {
    let double = Double::start(|_| Canned::reply("Mehr Licht!", "stop")).await;
    let world = World::new(&double.url, 30, false).await;
    let (evaluation, result) = world.judge().await.unwrap();
    assert_eq!((result.unscored, result.average_score, result.pass_rate), (30, None, None));
    let report = decide(&GatePolicy::default(), &evaluation.gate_input());
    assert_eq!((report.decision, report.mean), (Decision::Error, None));
    // One call and one request to repair it, for each.
    assert_eq!(double.chats().len(), 60);
}

#[tokio::test]
async fn an_endpoint_that_fails_for_every_sample_fails_the_attempt() {
    let double = Double::start(|_| Canned::status(500, "crashed")).await;
    let world = World::new(&double.url, 3, false).await;
    let failure = world.judge().await.unwrap_err();
    assert!(
        matches!(&failure, StageFailure::Failed { retryable: true, message } if message.contains(&double.url))
    );
}

#[tokio::test]
async fn a_judge_that_is_down_fails_the_attempt_which_may_be_repeated() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let world = World::new(&url, 3, false).await;
    let failure = world.judge().await.unwrap_err();
    let StageFailure::Failed { message, retryable: true } = failure else { panic!("{failure:?}") };
    assert!(message.contains(&url) && message.contains("check that it runs"), "{message}");
}

#[tokio::test]
async fn a_used_up_quota_fails_the_attempt_for_good() {
    let double = Double::start(|_| Canned::error(429, "insufficient_quota", "pay first")).await;
    let world = World::new(&double.url, 3, false).await;
    let failure = world.judge().await.unwrap_err();
    assert!(
        matches!(&failure, StageFailure::Failed { retryable: false, message } if message.contains("pay first"))
    );
}

#[tokio::test]
async fn a_cancelled_attempt_asks_the_judge_nothing_more() {
    let double = Double::start(|_| Canned::status(503, "").with("retry-after", "100")).await;
    let world = World::new(&double.url, 3, false).await;
    world.stop(StopReason::Cancel);
    let failure = tokio::time::timeout(Duration::from_secs(20), world.judge()).await.unwrap().unwrap_err();
    assert_eq!(failure, StageFailure::Stopped(StopReason::Cancel));
    assert_eq!(double.chats().len(), 0);
}

#[tokio::test]
async fn notes_of_a_sample_reach_the_judge() {
    let double = Double::start(by_answer).await;
    let world = World::new(&double.url, 1, false).await;
    world.judge().await.unwrap();
    let turn = double.chats()[0].body["messages"][1]["content"].to_string();
    assert!(turn.contains("- accuracy: muss § 1 nennen"), "{turn}");
}

#[tokio::test]
async fn the_key_reaches_the_endpoint_and_no_file() {
    let double = Double::start(by_answer).await;
    let mut world = World::new(&double.url, 2, false).await;
    world.options().api_key_env = Some("JUDGE_API_KEY".into());
    let (_, result) = world.judge().await.unwrap();
    assert_eq!(double.chats()[0].headers["authorization"], "Bearer key-of-the-judge");
    for file in ["evaluation.json", "replies.jsonl"] {
        let text = String::from_utf8(world.read(&result, file).await).unwrap();
        assert!(!text.contains("key-of-the-judge"), "{file}");
    }
}

#[tokio::test]
async fn only_variables_for_keys_are_read() {
    for (variable, expected) in
        [("HOME", "_API_KEY"), ("OTHER_API_KEY", "has no environment variable OTHER_API_KEY")]
    {
        let mut world = World::new("http://127.0.0.1:9/v1", 1, false).await;
        world.options().api_key_env = Some(variable.into());
        let failure = world.judge().await.unwrap_err();
        assert!(
            matches!(&failure, StageFailure::Failed { retryable: false, message }
                if message.contains(expected) && message.contains("judge.api_key_env") && !message.contains("judge.url")),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn without_an_endpoint_the_default_of_the_worker_judges() {
    let double = Double::start(by_answer).await;
    let mut world = World::new("unused", 1, false).await;
    world.options().url = None;
    let failure = world.judge().await.unwrap_err();
    assert!(matches!(&failure, StageFailure::Failed { retryable: false, .. }), "{failure:?}");
    world.config.default_url = Some(double.url.clone());
    world.config.default_model = Some("our-own".into());
    let (evaluation, _) = world.judge().await.unwrap();
    assert_eq!(evaluation.judge.model, "our-own");
}

#[tokio::test]
async fn two_jobs_of_one_worker_keep_its_limit_together() {
    let double = Double::start(by_answer).await;
    let settings = JudgeSettings { max_requests_per_minute: 1_200, ..JudgeSettings::default() };
    let (mut one, mut two) =
        (World::new(&double.url, 4, false).await, World::new(&double.url, 4, false).await);
    one.config.allowance = JudgeConfig::of(&settings).allowance;
    two.config.allowance = one.config.allowance;
    two.config.endpoints = one.config.endpoints.clone();
    let started = Instant::now();
    let (first, second) = tokio::join!(one.judge(), two.judge());
    assert_eq!((first.unwrap().1.samples, second.unwrap().1.samples), (4, 4));
    // A call each 50 ms, the first at once.
    let calls = u32::try_from(double.chats().len()).unwrap();
    let least = Duration::from_millis(50) * (calls - 1);
    assert!(calls >= 8 && started.elapsed() >= least, "{calls} calls in {:?}", started.elapsed());
}

#[tokio::test]
async fn answers_to_another_golden_dataset_are_refused() {
    let double = Double::start(by_answer).await;
    let mut world = World::new(&double.url, 2, false).await;
    world.assignment.golden.digest = clara_lifecycle::digest::Digest::of(b"another");
    let failure = world.judge().await.unwrap_err();
    assert!(
        matches!(&failure, StageFailure::Failed { retryable: false, message } if message.contains("stage generate"))
    );
    world.assignment.results.clear();
    let failure = world.judge().await.unwrap_err();
    assert!(
        matches!(&failure, StageFailure::Failed { retryable: false, message } if message.contains("no answers"))
    );
}

#[test]
fn the_handler_carries_out_the_judge_stage() {
    let handler = JudgeHandler::new(JudgeConfig::default());
    assert_eq!(handler.stage(), clara_lifecycle::stage::Stage::Judge);
}
