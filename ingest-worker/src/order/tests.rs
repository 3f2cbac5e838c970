//! Keys of records in each order.

use clara_lifecycle::{dataset::TrainingContent, spec::RecordOrder};

use super::Order;

fn text(text: &str) -> TrainingContent {
    TrainingContent::Text { text: text.into() }
}

#[test]
fn records_in_the_order_of_the_sources_have_no_key() {
    assert_eq!(Order::new(RecordOrder::Source, 1).key(0, || None), None);
}

#[test]
fn a_shuffle_never_looks_into_a_record() {
    let order = Order::new(RecordOrder::Shuffle, 1);
    let key = |number| order.key(number, || panic!("the record was read")).unwrap();
    assert_ne!(key(0), key(1));
    assert_eq!(key(7), Order::new(RecordOrder::Shuffle, 1).key(7, || None).unwrap());
}

#[test]
fn difficulty_grows_with_length_and_with_rarity() {
    let mut order = Order::new(RecordOrder::Curriculum, 1);
    for _ in 0..7 {
        order.count(&text("der Antrag"));
    }
    order.count(&text("die Präklusion"));
    let key = |content: &str| order.key(0, || Some(text(content))).unwrap();
    // 7 of 16 words: 1.193 bits; 1 of 16 words: 4 bits, in 1024ths.
    assert_eq!(key("der"), 1_221);
    assert_eq!(key("Präklusion"), 4_096);
    assert_eq!(key("Der Antrag der"), 3 * 1_221);
}
