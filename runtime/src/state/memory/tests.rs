//! The state store in memory against the contract, plain and under faults.

use super::*;
use crate::{
    clock::SystemClock,
    faults::{Fault, Faulty},
    state::contract,
};

fn store() -> Arc<dyn StateStore> {
    Arc::new(MemoryState::new(Arc::new(SystemClock)))
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    contract::check(store()).await.unwrap();
}

#[tokio::test]
async fn the_contract_holds_when_answers_of_the_store_in_memory_are_lost() {
    contract::check(Arc::new(Faulty::new(store(), Fault::Unanswered, 25, 11))).await.unwrap();
}
