//! What hashes of words and windows promise.

use std::collections::HashSet;

use super::{hash_bytes, sequence, windows};

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
