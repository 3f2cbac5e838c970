//! Counts and stability of the split.

use super::{SplitKey, held_out};

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
