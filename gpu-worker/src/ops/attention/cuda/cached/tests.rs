//! Holds the kernels against the CPU.

use std::sync::Arc;

use super::*;
use crate::{
    cuda::{Buffer, emulated::EmulatedDevice, testing::devices},
    ops::{
        attention::{HeadRows, Span, attention},
        matmul,
        testing::{
            device::{Matrix, assert_rounded, rounded, upload, upload_floats},
            random,
        },
    },
};

const LAYERS: usize = 2;
const LAYER: usize = 1;

/// A sequence: its tokens so far, those of the pass, and the room it has.
#[derive(Clone, Copy)]
struct Sequence {
    earlier: usize,
    new: usize,
    capacity: usize,
}

impl Sequence {
    fn total(self) -> usize {
        self.earlier + self.new
    }
}

/// Keys or values of all a sequence's tokens.
fn gathered(heads: Heads, sequence: Sequence, seed: u64) -> Vec<f32> {
    rounded(random(seed, sequence.total() * heads.key_value_width()))
}

/// A cache that holds the earlier tokens, and NaN where nothing was stored yet.
fn cache(device: &Arc<dyn Device>, heads: Heads, sequence: Sequence, [keys, values]: [&[f32]; 2]) -> Buffer {
    let (width, room) = (heads.key_value_width(), sequence.capacity * heads.key_value_width());
    let mut all = vec![f32::NAN; 2 * LAYERS * room];
    for (part, from) in [keys, values].into_iter().enumerate() {
        let start = (2 * LAYER + part) * room;
        let earlier = sequence.earlier * width;
        all[start..start + earlier].copy_from_slice(&from[..earlier]);
    }
    let bytes: Vec<u8> = all.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect();
    upload(device, &bytes)
}

#[track_caller]
fn agrees(heads: Heads, sequences: &[Sequence]) {
    let shuffled: Arc<dyn Device> = Arc::new(EmulatedDevice::in_random_order(7));
    for device in devices().into_iter().chain([shuffled]) {
        let (width, query_width) = (heads.key_value_width(), heads.query_width());
        let rows: usize = sequences.iter().map(|sequence| sequence.new).sum();
        let seeds = (0..).step_by(2);
        let texts: Vec<[Vec<f32>; 2]> = seeds
            .zip(sequences)
            .map(|(seed, sequence)| [seed, seed + 1].map(|seed| gathered(heads, *sequence, seed)))
            .collect();
        let queries = rounded(random(99, rows * query_width).iter().map(|value| value * 2.0));
        let spans: Vec<Span<'_>> = sequences
            .iter()
            .zip(&texts)
            .map(|(sequence, [keys, values])| {
                let together = |values| {
                    HeadRows::Together(matmul::Matrix::new(values, sequence.total(), width).unwrap())
                };
                Span { rows: sequence.new, keys: together(keys), values: together(values) }
            })
            .collect();
        let (mut expected, mut log_sums) = (vec![0.0; queries.len()], vec![0.0; rows * heads.query]);
        attention(heads, &queries, &spans, &mut expected, &mut log_sums).unwrap();

        let (mut table, mut projected, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let mut query_rows = queries.chunks(query_width);
        for (sequence, [keys, values]) in sequences.iter().zip(&texts) {
            let cache = cache(&device, heads, *sequence, [keys, values]);
            for position in sequence.earlier..sequence.total() {
                let row = CachedRow { cache: cache.address(), capacity: sequence.capacity, position };
                table.extend(row.bytes());
                let own = position * width..(position + 1) * width;
                projected.extend_from_slice(query_rows.next().unwrap());
                projected.extend_from_slice(&keys[own.clone()]);
                projected.extend_from_slice(&values[own]);
            }
            held.push(cache);
        }
        let projected = Matrix::new(&device, &projected, query_width + 2 * width);
        let table = upload(&device, &table);
        let scratch = upload_floats(&device, &vec![f32::NAN; scratch_values(heads)]);
        let out = Matrix::zeros(&device, [rows, query_width]);
        let query = projected.rows();
        let key = query.columns_from(query_width);
        let cached = CachedAttention { heads, layer: LAYER, table: table.address(), rows };
        cached.store(&*device, Projected { query, key, value: key.columns_from(width) }).unwrap();
        let longest = sequences.iter().map(|sequence| sequence.total()).max().unwrap();
        cached.forward(&*device, (out.rows(), query), longest, scratch.address()).unwrap();
        assert_rounded(&out.values(), &expected);
        let first = out.values();
        cached.forward(&*device, (out.rows(), query), longest, scratch.address()).unwrap();
        assert_eq!(out.values(), first);
    }
}

fn heads(query: usize, key_value: usize, dim: usize) -> Heads {
    Heads { query, key_value, dim, scale: None, window: None }
}

const MIXED: [Sequence; 4] = [
    Sequence { earlier: 0, new: 3, capacity: 8 },
    Sequence { earlier: 70, new: 1, capacity: 71 },
    Sequence { earlier: 17, new: 5, capacity: 32 },
    Sequence { earlier: 299, new: 1, capacity: 512 },
];

#[test]
fn new_tokens_see_all_of_their_own_sequence() {
    for (query, key_value, dim) in [(2, 2, 16), (6, 2, 32), (4, 1, 64), (5, 1, 128), (2, 1, 256)] {
        agrees(heads(query, key_value, dim), &MIXED);
    }
}

#[test]
fn a_window_hides_earlier_keys() {
    for window in [1, 9, 200] {
        agrees(Heads { window: Some(window), scale: Some(0.3), ..heads(4, 2, 16) }, &MIXED);
    }
}

#[test]
fn keys_of_few_long_sequences_are_split_over_blocks() {
    let long =
        [Sequence { earlier: 1500, new: 1, capacity: 1501 }, Sequence { earlier: 3, new: 2, capacity: 256 }];
    for heads in [heads(7, 1, 16), heads(4, 4, 64), Heads { window: Some(700), ..heads(2, 1, 32) }] {
        assert!(splits(heads, 3, 1501) > 4);
        agrees(heads, &long);
    }
}

#[test]
fn splits_fill_the_device_and_no_more() {
    let llama = heads(32, 8, 128);
    assert_eq!(splits(llama, 1, 100_000), 49);
    assert_eq!(splits(llama, 1, 500), 4);
    assert_eq!(splits(llama, 64, 100_000), 1);
    assert_eq!(splits(Heads { window: Some(512), ..llama }, 1, 100_000), 4);
}
