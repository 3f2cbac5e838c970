//! Counts and stability of the split.

use super::{OneCluster, SplitKey, held_out, held_out_clusters};

fn keys(documents: usize, seed: u64) -> Vec<SplitKey> {
    (0..documents).map(|n| SplitKey::new(seed, &format!("doc-{n}"))).collect()
}

fn count(documents: usize, share: f64) -> usize {
    held_out(&keys(documents, 42), share).into_iter().filter(|flag| *flag).count()
}

#[test]
fn the_share_is_kept_exactly() {
    assert_eq!(count(1_000, 0.1), 100);
    assert_eq!(count(15, 0.1), 2);
    assert_eq!(count(1_000, 0.0), 0);
}

#[test]
fn ten_documents_always_hold_one_out_and_one_always_stays() {
    assert_eq!(count(10, 0.01), 1);
    assert_eq!(count(9, 0.01), 0);
    assert_eq!(count(1, 0.8), 0);
    assert_eq!(count(2, 0.89), 1);
    assert_eq!(count(0, 0.5), 0);
}

#[test]
fn a_seed_gives_one_split_and_another_seed_another() {
    assert_eq!(held_out(&keys(200, 1), 0.2), held_out(&keys(200, 1), 0.2));
    assert_ne!(held_out(&keys(200, 1), 0.2), held_out(&keys(200, 2), 0.2));
}

#[test]
fn a_new_document_moves_at_most_one_other_to_the_other_side() {
    let before = held_out(&keys(100, 7), 0.1);
    let after = held_out(&keys(101, 7), 0.1);
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert!(moved <= 1, "{moved}");
}

/// Clusters of the given sizes.
fn clusters(sizes: &[usize], seed: u64) -> Vec<SplitKey> {
    let named =
        sizes.iter().enumerate().map(|(n, size)| vec![SplitKey::new(seed, &format!("law-{n}")); *size]);
    named.flatten().collect()
}

#[test]
fn clusters_come_near_to_the_share_and_stay_whole() {
    for seed in 0..200 {
        let keys = clusters(&[278, 199, 195, 194, 114, 103, 76, 35], seed);
        let held = held_out_clusters(&keys, 0.1).unwrap();
        let count = held.iter().filter(|flag| **flag).count();
        assert!((76..=149).contains(&count), "seed {seed}: {count} of 119");
        for (key, flag) in keys.iter().zip(&held) {
            assert!(keys.iter().zip(&held).all(|(other, other_flag)| key != other || flag == other_flag));
        }
    }
}

#[test]
fn at_least_one_cluster_is_held_out_and_at_least_one_stays() {
    let count = |sizes: &[usize], share| {
        held_out_clusters(&clusters(sizes, 42), share)
            .map(|held| held.into_iter().filter(|flag| *flag).count())
    };
    assert_eq!(count(&[50, 50], 0.1), Ok(50));
    assert_eq!(count(&[90, 10], 0.1), Ok(10));
    assert_eq!(count(&[60, 40], 0.89), Ok(60));
    assert_eq!(count(&[100], 0.1), Err(OneCluster));
    assert_eq!(count(&[100], 0.0), Ok(0));
    assert_eq!(count(&[4], 0.1), Ok(0));
}
