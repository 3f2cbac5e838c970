//! What the table gives back.

use super::Slots;
use crate::hashing::mix;

fn found(slots: &Slots, key: u64) -> Vec<u32> {
    let mut found = Vec::new();
    slots.find(key, |number| found.push(number));
    found
}

#[test]
fn every_number_is_found_by_its_key_and_few_by_others() {
    let mut slots = Slots::new(10_000);
    for number in 0..7_500 {
        slots.insert(mix(u64::from(number)), number);
    }
    let mut others = 0;
    for number in 0..7_500 {
        let found = found(&slots, mix(u64::from(number)));
        assert!(found.contains(&number));
        others += found.len() - 1;
    }
    assert!(others < 1_000, "{others}");
    let foreign: usize = (10_000..20_000).map(|key| found(&slots, mix(key)).len()).sum();
    assert!(foreign < 1_000, "{foreign}");
}

#[test]
fn numbers_of_one_key_come_in_the_order_in_which_they_were_added() {
    let mut slots = Slots::new(1_000);
    for number in 0..100 {
        slots.insert(42, number);
    }
    assert_eq!(found(&slots, 42), (0..64).collect::<Vec<_>>());
}

#[test]
fn a_full_table_takes_no_more_and_does_not_hang() {
    let mut slots = Slots::new(8);
    for number in 0..20 {
        slots.insert(mix(u64::from(number)), number);
    }
    assert!(found(&slots, mix(100)).len() <= 8);
}
