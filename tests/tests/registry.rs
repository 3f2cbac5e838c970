//! Registration over a real Redis: many at once, and crashes at every call.

use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use clara_coordinator::registry::contract;
use clara_lifecycle::samples;
use clara_runtime::{
    config::Secret,
    faults::{Fault, Faulty},
    state::{
        StateStore,
        redis::{RedisOptions, RedisState},
    },
    task::Tasks,
};
use clara_tests::Services;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_registrations_at_once_get_sixty_four_versions_in_redis_and_no_crash_leaves_half_of_one()
-> Result<()> {
    let services = Services::start_with(&[("SERVICES_ONLY", "redis")])?;
    let options = RedisOptions::new(Secret::new(services.redis_url.clone()));
    let tasks = Tasks::new(CancellationToken::new());
    let state: Arc<dyn StateStore> = Arc::new(RedisState::connect(&options, &tasks).await?);
    let faults = [(Fault::Flaky, 10), (Fault::Unanswered, 10), (Fault::Unanswered, 0)];
    let over = |(number, (fault, percent)): (u64, _)| {
        Arc::new(Faulty::new(Arc::clone(&state), fault, percent, 7 + number)) as Arc<dyn StateStore>
    };
    let flawed: Vec<Arc<dyn StateStore>> = (0..).zip(faults).map(over).collect();
    let spec = samples::spec();
    contract::concurrent_registrations(&state, &flawed, &spec, 64).await.map_err(|broken| anyhow!(broken))?;
    let points = contract::crash_at_every_point(&state, &spec).await.map_err(|broken| anyhow!(broken))?;
    ensure!(points >= 8, "only {points} points were tried");
    Ok(())
}
