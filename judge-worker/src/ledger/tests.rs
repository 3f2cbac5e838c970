//! Tests of the ledger over attempts and jobs, against a real HTTP server and a real artifact store.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::spec::JudgeBudget;
use clara_runtime::{clock::SystemClock, stop::stop_switch};

use super::{Ledger, Terms};
use crate::{
    client::{Access, Allowance, Ask, CallError, Endpoint, Endpoints, Pacing, Reply},
    prompt::{Message, Schema},
    testing::{Call, Canned, Desk, Double},
};

const SHARED: Terms = Terms { is_shared: true, budget: None };

fn priced(most: Option<f64>) -> Terms {
    // 100 tokens read and 20 written cost 100 · 1 + 20 · 10 = 300 millionths.
    let budget = JudgeBudget { most, prompt_price: 1.0, reply_price: 10.0, currency: "EUR".into() };
    Terms { is_shared: true, budget: Some(budget) }
}

async fn ask(double: &Double, ledger: &Arc<Ledger>, question: &str) -> Result<Reply, CallError> {
    let (first_pause, longest_pause) = (Duration::from_millis(1), Duration::from_millis(2));
    let access = Access {
        url: double.url.clone(),
        key: None,
        timeout: Duration::from_secs(20),
        pacing: Pacing { max_tries: 3, first_pause, longest_pause },
        allowance: Allowance { concurrency: 8, requests_per_minute: 0, tokens_per_minute: 0 },
        is_own: false,
        clock: Arc::new(SystemClock),
    };
    let endpoint = Endpoint::new(access, &Endpoints::default(), ledger)?;
    let messages = [Message { role: "user", content: question.to_owned() }];
    let ask = Ask {
        model: "judge-model",
        messages: &messages,
        schema: &Schema::Object(vec![("scores", Schema::Mark)]),
        max_tokens: 20,
        temperature: 0.0,
        logprobs: false,
        repeat: 0,
        is_readable: &|reply| reply.text.contains("scores"),
        seed: 1,
    };
    let (_switch, stop) = stop_switch();
    endpoint.chat(&ask, &stop).await
}

#[tokio::test]
async fn a_later_attempt_asks_nothing_again_and_counts_every_call_once() {
    let double = Double::start(|call: &Call| match call.index {
        0 => Canned::status(503, ""),
        _ => Canned::scores(8),
    })
    .await;
    let desk = Desk::new();
    let ledger = desk.ledger(1, priced(None)).await;
    for question in ["a", "b", "a"] {
        ask(&double, &ledger, question).await.unwrap();
    }
    // As after `kill -9`: nothing is told to the ledger.
    drop(ledger);
    let ledger = desk.ledger(2, priced(None)).await;
    for question in ["a", "b", "c", "a"] {
        ask(&double, &ledger, question).await.unwrap();
    }
    assert_eq!(double.chats().len(), 4);
    let health = ledger.health().await.unwrap();
    assert_eq!((health.calls, health.retries, health.cached), (3, 1, 1));
    assert_eq!((health.prompt_tokens, health.reply_tokens, health.cost_micros), (300, 60, 900));
}

#[tokio::test]
async fn a_reply_that_says_nothing_is_kept_for_the_judging_and_for_nobody_else() {
    let double = Double::start(|call: &Call| match call.index {
        0 => Canned::reply("Mehr Licht!", "stop"),
        _ => Canned::scores(8),
    })
    .await;
    let desk = Desk::new();
    ask(&double, &desk.ledger(1, SHARED).await, "a").await.unwrap();
    let again = desk.ledger(2, SHARED).await;
    assert_eq!(ask(&double, &again, "a").await.unwrap().text, "Mehr Licht!");
    again.finish().await.unwrap();
    // Another job, then a retry of the first after its result.
    let other = desk.ledger_of("job-2", 1, SHARED).await;
    assert!(ask(&double, &other, "a").await.unwrap().text.contains("scores"));
    let retry = desk.ledger(3, SHARED).await;
    assert!(ask(&double, &retry, "a").await.unwrap().text.contains("scores"));
    assert_eq!(double.chats().len(), 2);
    let health = retry.health().await.unwrap();
    assert_eq!((health.calls, health.cached), (1, 1));
}

#[tokio::test]
async fn without_the_cache_other_jobs_and_a_retry_after_the_result_ask_anew() {
    let double = Double::start(|_| Canned::scores(8)).await;
    let desk = Desk::new();
    ask(&double, &desk.ledger_of("job-2", 1, SHARED).await, "a").await.unwrap();
    let ledger = desk.ledger(1, Terms::default()).await;
    ask(&double, &ledger, "a").await.unwrap();
    assert_eq!(double.chats().len(), 2);
    let after_a_kill = desk.ledger(2, Terms::default()).await;
    ask(&double, &after_a_kill, "a").await.unwrap();
    assert_eq!(double.chats().len(), 2);
    after_a_kill.finish().await.unwrap();
    ask(&double, &desk.ledger(3, Terms::default()).await, "a").await.unwrap();
    assert_eq!(double.chats().len(), 3);
}

#[tokio::test]
async fn the_same_question_asked_twice_at_once_is_paid_for_once() {
    let double = Double::start(|_| Canned::scores(8)).await;
    let desk = Desk::new();
    let ledger = desk.ledger(1, Terms::default()).await;
    let asked = (0..8).map(|_| ask(&double, &ledger, "a"));
    for reply in futures::future::join_all(asked).await {
        reply.unwrap();
    }
    assert_eq!(double.chats().len(), 1);
    let health = ledger.health().await.unwrap();
    assert_eq!((health.calls, health.cached), (1, 7));
}

#[tokio::test]
async fn what_an_attempt_without_a_lease_still_paid_is_counted_at_the_end() {
    let double = Double::start(|_| Canned::scores(8)).await;
    let desk = Desk::new();
    let (lost, live) = (desk.ledger(1, priced(None)).await, desk.ledger(2, priced(None)).await);
    ask(&double, &lost, "a").await.unwrap();
    ask(&double, &live, "b").await.unwrap();
    let health = live.health().await.unwrap();
    assert_eq!((health.calls, health.cost_micros), (2, 600));
}

#[tokio::test]
async fn no_call_goes_that_might_spend_more_than_the_budget_and_a_raised_one_goes_on() {
    let double = Double::start(|_| Canned::scores(8)).await;
    let desk = Desk::new();
    let ledger = desk.ledger(1, priced(Some(0.001))).await;
    let questions: Vec<String> = (0..8).map(|n| format!("Frage {n} {}", "x".repeat(300))).collect();
    let asked =
        futures::future::join_all(questions.iter().map(|question| ask(&double, &ledger, question))).await;
    let refused: Vec<_> = asked.iter().filter_map(|asked| asked.as_ref().err()).collect();
    assert!(
        !refused.is_empty() && refused.iter().all(|error| matches!(error, CallError::Budget { .. })),
        "{refused:?}"
    );
    assert!(
        !refused[0].is_retryable() && refused[0].to_string().contains("--judge-budget"),
        "{}",
        refused[0]
    );
    let health = ledger.health().await.unwrap();
    assert_eq!(double.chats().len(), 3);
    // Three calls of 300 fit into 1,000; a fourth would not.
    assert_eq!((health.calls, health.cost_micros), (3, 900));

    let raised = desk.ledger(2, priced(Some(0.01))).await;
    for question in &questions {
        ask(&double, &raised, question).await.unwrap();
    }
    let health = raised.health().await.unwrap();
    assert_eq!((health.calls, health.cost_micros, double.chats().len()), (8, 2_400, 8));
}

#[tokio::test]
async fn an_endpoint_that_tells_no_tokens_is_estimated_and_said_so() {
    let double = Double::start(|_| {
        Canned::status(200, r#"{"choices": [{"message": {"content": "scores"}, "finish_reason": "stop"}]}"#)
    })
    .await;
    let desk = Desk::new();
    let ledger = desk.ledger(1, priced(None)).await;
    ask(&double, &ledger, "a").await.unwrap();
    let health = ledger.health().await.unwrap();
    assert!(health.cost_micros > 0 && health.warnings.len() == 1, "{health:?}");
}

#[tokio::test]
async fn a_changed_entry_is_an_error_and_a_changed_cached_reply_is_asked_for_again() {
    let double = Double::start(|_| Canned::scores(8)).await;
    let desk = Desk::new();
    ask(&double, &desk.ledger(1, SHARED).await, "a").await.unwrap();
    desk.damage("judge-cache");
    ask(&double, &desk.ledger_of("job-2", 1, SHARED).await, "a").await.unwrap();
    assert_eq!(double.chats().len(), 2);
    desk.damage("jobs/job-1");
    assert!(desk.open("job-1", 2, SHARED).await.is_err());
}
