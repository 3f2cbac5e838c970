//! The contract over memory and SQLite; over Redis it runs in `tests/`.

use clara_lifecycle::{samples, time::Timestamp};
use clara_runtime::{
    clock::TestClock,
    faults::{Fault, Faulty},
    state::{memory::MemoryState, sqlite::SqliteState},
};

use super::*;

const JOBS: usize = 64;

fn in_memory() -> Arc<dyn StateStore> {
    Arc::new(MemoryState::new(Arc::new(TestClock::at(Timestamp(1_700_000_000_000)))))
}

/// Stores that lose calls or answers, and take their time, so that all registrations are under way together.
fn faulty(state: &Arc<dyn StateStore>, seed: u64) -> Vec<Arc<dyn StateStore>> {
    let faults = [(Fault::Flaky, 10), (Fault::Unanswered, 10), (Fault::Flaky, 0), (Fault::Unanswered, 25)];
    let over = |(number, (fault, percent))| {
        let lossy: Arc<dyn StateStore> =
            Arc::new(Faulty::new(Arc::clone(state), fault, percent, seed + number));
        let slow = Fault::Slow(Duration::from_millis(1));
        Arc::new(Faulty::new(lossy, slow, 50, seed + number)) as Arc<dyn StateStore>
    };
    (0..).zip(faults).map(over).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_registrations_at_once_get_sixty_four_versions_in_memory() {
    for seed in [1, 2] {
        let state = in_memory();
        concurrent_registrations(&state, &faulty(&state, seed), &samples::spec(), JOBS).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_registrations_at_once_get_sixty_four_versions_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(folder.path().join("clara.db")).unwrap();
    let state: Arc<dyn StateStore> = Arc::new(state);
    concurrent_registrations(&state, &faulty(&state, 3), &samples::spec(), JOBS).await.unwrap();
}

#[tokio::test]
async fn a_crash_at_any_call_leaves_no_half_version_in_memory() {
    let points = crash_at_every_point(&in_memory(), &samples::spec()).await.unwrap();
    assert!(points >= 8, "only {points} points were tried");
}

#[tokio::test]
async fn a_crash_at_any_call_leaves_no_half_version_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(folder.path().join("clara.db")).unwrap();
    let points = crash_at_every_point(&(Arc::new(state) as _), &samples::spec()).await.unwrap();
    assert!(points >= 8, "only {points} points were tried");
}
