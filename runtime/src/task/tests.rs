//! Tasks end when told, and their owner knows.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_owner_waits_for_tasks_that_end_by_themselves() {
    let tasks = Tasks::new(CancellationToken::new());
    let token = tasks.shutdown().clone();
    let task = tasks.spawn("drains", async move {
        token.cancelled().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        7
    });
    assert!(tasks.finish(Duration::from_secs(5)).await);
    assert_eq!(task.await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_owner_says_when_a_task_does_not_end_in_time() {
    let tasks = Tasks::new(CancellationToken::new());
    tasks.spawn("endless", std::future::pending::<()>());
    assert!(!tasks.finish(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn work_that_may_stop_anywhere_is_dropped_at_shutdown() {
    let tasks = Tasks::new(CancellationToken::new());
    let task = tasks.spawn_until_shutdown("endless", std::future::pending::<()>());
    assert!(tasks.finish(Duration::from_secs(5)).await);
    assert_eq!(task.await.unwrap(), None);
}

#[tokio::test]
async fn a_panic_reaches_who_waits_for_the_task() {
    let tasks = Tasks::new(CancellationToken::new());
    let task = tasks.spawn("breaks", async { panic!("broken on purpose") });
    let panic = task.await.unwrap_err().into_panic();
    assert_eq!(panic_message(&*panic), "broken on purpose");
    assert!(tasks.finish(Duration::from_secs(5)).await);
}
