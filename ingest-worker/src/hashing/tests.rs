//! What hashes of words and windows promise.

use std::collections::HashSet;

use super::{draw, hash_bytes, sequence, windows};

#[test]
fn a_window_hash_depends_on_its_words_and_their_order_alone() {
    let words: Vec<u64> =
        "der antrag ist der antrag ist der".split(' ').map(|word| hash_bytes(word.as_bytes())).collect();
    let mut found = Vec::new();
    windows(&words, 3, |hash| found.push(hash));
    assert_eq!(found.len(), 5);
    assert_eq!((found[0], found[1]), (found[3], found[4]));
    assert_eq!(HashSet::<u64>::from_iter(found.clone()).len(), 3);
    for (index, hash) in found.iter().enumerate() {
        assert_eq!(*hash, sequence(&words[index..index + 3]));
    }
}

#[test]
fn too_few_words_have_no_window() {
    windows(&[1, 2], 3, |_| panic!("no window was expected"));
    windows(&[1, 2], 0, |_| panic!("no window was expected"));
}

#[test]
fn words_that_differ_in_a_zero_byte_or_in_length_have_other_hashes() {
    let words: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"12345678", b"12345678\0", b"12345679"];
    assert_eq!(words.iter().map(|word| hash_bytes(word)).collect::<HashSet<u64>>().len(), 6);
}

#[test]
fn a_million_ids_that_differ_in_their_numbers_have_hashes_of_their_own() {
    let ids = (0..250_000).flat_map(|number| {
        [
            format!("{number}"),
            format!("doc-{number}"),
            format!("bgb-{number}a"),
            format!("urteil/2024/{number}"),
        ]
    });
    assert_eq!(ids.map(|id| hash_bytes(id.as_bytes())).collect::<HashSet<u64>>().len(), 1_000_000);
}

#[test]
fn seeds_draw_other_numbers_at_every_place() {
    let drawn: HashSet<u64> =
        (0..100).flat_map(|seed| (0..1000).map(move |place| draw(seed, place))).collect();
    assert_eq!(drawn.len(), 100_000);
}

/// Datasets follow from these numbers: whoever changes them raises `PIPELINE`.
#[test]
fn hashes_and_draws_stay_as_they_are() {
    let found = [hash_bytes(b""), hash_bytes(b"baugb-35"), hash_bytes("Präklusion".as_bytes())];
    assert_eq!(found, [0xB5A6_1EEF_EFCB_ACFB, 0x9EE4_B19A_2DAB_A391, 0xEE62_E16B_CC41_7ECE]);
    let drawn = [draw(0, 0), draw(0, 1), draw(7, 0)];
    assert_eq!(drawn, [0x89CA_AA5F_5DF9_5184, 0xF02F_953F_26ED_9EC0, 0x1078_229B_DD54_AF46]);
}
