//! Scratch folders of workers that start at the same moment.

use super::*;

#[test]
fn workers_that_start_at_the_same_moment_leave_each_other_alone() {
    let root = tempfile::tempdir().unwrap();
    let start = |worker: usize| {
        for round in 0..100 {
            let worker: WorkerId = format!("worker-{worker}-{round}").parse().unwrap();
            Scratch::open(root.path(), &worker).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for worker in 0..6 {
            scope.spawn(move || start(worker));
        }
    });
}
