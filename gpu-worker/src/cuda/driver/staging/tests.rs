//! Tests of the ring.

use super::*;

/// Takes a part; gives where it lies and the parts that had to end first.
fn take(ring: &mut Ring<u32>, length: usize, sign: u32) -> (usize, Vec<u32>) {
    let offset = ring.place(length);
    let mut ended = Vec::new();
    while let Some(sign) = ring.oldest_in_the_way(offset, length) {
        ended.push(sign);
    }
    ring.take(offset, length, sign);
    (offset, ended)
}

#[test]
fn parts_follow_each_other_until_the_ring_is_full() {
    let mut ring = Ring::new(100);
    assert_eq!(take(&mut ring, 30, 1), (0, vec![]));
    assert_eq!(take(&mut ring, 30, 2), (32, vec![]));
    assert_eq!(take(&mut ring, 36, 3), (64, vec![]));
    assert_eq!(take(&mut ring, 33, 4), (0, vec![1, 2]), "over the first two");
    assert_eq!(take(&mut ring, 8, 5), (48, vec![]));
    assert_eq!(
        take(&mut ring, 60, 6),
        (0, vec![3, 4, 5]),
        "signs come in order, so the third ended before the fourth"
    );
}

#[test]
fn a_part_may_fill_the_ring() {
    let mut ring = Ring::new(64);
    assert_eq!(take(&mut ring, 64, 1), (0, vec![]));
    assert_eq!(take(&mut ring, 64, 2), (0, vec![1]));
    assert_eq!(take(&mut ring, 1, 3), (0, vec![2]));
}

#[test]
fn no_two_parts_under_way_overlap() {
    let mut ring = Ring::new(1000);
    let mut random = 12345_u64;
    for sign in 0..2000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let length = usize::try_from(random >> 33).unwrap() % 250 + 1;
        let (offset, _) = take(&mut ring, length, sign);
        assert!(offset + length <= 1000);
        let parts: Vec<_> = ring.used.iter().map(|(start, bytes, _)| (*start, *start + *bytes)).collect();
        for (index, a) in parts.iter().enumerate() {
            assert!(parts[..index].iter().all(|b| a.1 <= b.0 || b.1 <= a.0), "{parts:?}");
        }
    }
}
