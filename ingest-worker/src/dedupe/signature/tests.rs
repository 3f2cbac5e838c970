//! What signatures tell about similarity.

use super::{PERMUTATIONS, Signature, Signer, bands, jaccard};
use crate::words::Words;
use clara_lifecycle::dataset::TrainingContent;

fn signature(signer: &mut Signer, from: usize, to: usize) -> (Signature, Vec<u32>) {
    let text = (from..to).map(|word| format!("wort{word}")).collect::<Vec<_>>().join(" ");
    let mut words = Words::default();
    let content = TrainingContent::Text { text };
    words.read(&content);
    (signer.sign([0; 16], &content, &words), signer.shingles().to_vec())
}

#[test]
fn the_estimate_is_close_to_the_true_similarity() {
    let mut signer = Signer::new();
    let (mut squares, mut pairs) = (0.0, 0.0);
    for start in 0..40 {
        for shift in [0, 3, 10, 30, 60, 120, 250] {
            let (one, one_shingles) = signature(&mut signer, start * 1000, start * 1000 + 300);
            let (other, other_shingles) =
                signature(&mut signer, start * 1000 + shift, start * 1000 + shift + 300);
            let error: f64 = one.similarity(&other.least) - jaccard(&one_shingles, &other_shingles);
            assert!(error.abs() < 0.18, "{start} {shift} {error}");
            squares += error * error;
            pairs += 1.0;
        }
    }
    let deviation = f64::sqrt(squares / pairs);
    eprintln!("standard error {deviation:.4}");
    assert!(deviation < 0.045, "{deviation}");
}

#[test]
fn equal_texts_are_wholly_similar_and_others_not_at_all() {
    let mut signer = Signer::new();
    let (one, _) = signature(&mut signer, 0, 200);
    let (same, _) = signature(&mut signer, 0, 200);
    let (other, _) = signature(&mut signer, 5000, 5200);
    assert!((one.similarity(&same.least) - 1.0).abs() < 1e-9);
    assert!(one.similarity(&other.least) < 0.05);
}

#[test]
fn bands_use_no_more_numbers_than_there_are_and_find_what_is_as_similar_as_the_limit() {
    assert_eq!(bands(0.85), (9, 14));
    assert_eq!(bands(1.0), (128, 1));
    for limit in [0.3_f64, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99] {
        let (rows, bands) = bands(limit);
        assert!(rows * bands <= PERMUTATIONS, "{limit}");
        let found = 1.0 - (1.0 - limit.powi(exponent(rows))).powi(exponent(bands));
        assert!(found >= 0.97, "{limit}: {found}");
    }
}

#[test]
fn similarity_of_lists_is_the_share_of_what_both_hold() {
    assert!((jaccard(&[1, 2, 3], &[2, 3, 4]) - 0.5).abs() < 1e-9);
    assert!(jaccard(&[], &[]).abs() < 1e-9 && jaccard(&[1], &[]).abs() < 1e-9);
}

fn exponent(count: usize) -> i32 {
    i32::try_from(count).unwrap()
}
