//! Tables that get more room.

use super::{
    super::signature::{PERMUTATIONS, Signature, TEXT_BYTES},
    Growing,
};
use crate::hashing::mix;

/// A signature of its own for each number.
fn signature(number: u64) -> Signature {
    let byte = |at: usize| mix(number << 16 | at as u64).to_le_bytes()[0];
    Signature {
        text: std::array::from_fn::<u8, TEXT_BYTES, _>(byte),
        least: std::array::from_fn::<u8, PERMUTATIONS, _>(|at| byte(at + TEXT_BYTES)),
    }
}

#[test]
fn full_tables_get_company_and_all_documents_stay_to_be_found() {
    let mut tables = Growing::with_most(0.85, 10);
    for number in 0..35 {
        if tables.is_full() {
            for again in tables.grow()..=number {
                tables.insert(&signature(again));
            }
        } else {
            tables.insert(&signature(number));
        }
    }
    assert_eq!(tables.tables.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0, 10, 20, 30]);
    for number in 0..35 {
        let (mut same, mut near) = (Vec::new(), Vec::new());
        tables.same_text(signature(number).text, &mut same);
        tables.share_band(&signature(number), &mut near);
        assert!(same.contains(&number) && near.contains(&number), "{number}");
    }
}

#[test]
fn a_document_takes_less_than_a_hundred_bytes_at_the_default_limit() {
    let mut tables = Growing::new(0.85);
    for number in 0..20_000 {
        if tables.is_full() {
            for again in tables.grow()..=number {
                tables.insert(&signature(again));
            }
        } else {
            tables.insert(&signature(number));
        }
        if number > 10_000 {
            let bytes: usize = tables.tables.iter().map(|(_, tables)| tables.bytes()).sum();
            assert!(bytes as u64 <= 100 * (number + 1), "{bytes} bytes for {number} documents");
        }
    }
}
