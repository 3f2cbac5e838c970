//! Holds the kernels for packed documents against the CPU.

use std::sync::Arc;

use super::*;
use crate::{
    cuda::{emulated::EmulatedDevice, testing::devices},
    ops::{
        attention::{self, HeadRows, Span, attention, attention_backward, partial_length},
        matmul,
        testing::{
            device::{Matrix, download_floats, rounded, upload_floats, upload_numbers},
            random,
        },
    },
};

/// Queries, keys and values, and the gradient of the output, as bf16 holds them.
struct Inputs {
    parts: [Vec<f32>; 3],
    d_out: Vec<f32>,
}

/// What attention and its gradient give: the output, its log-sums, and the gradients of queries, keys and values.
type Results = [Vec<f32>; 5];

fn inputs(heads: Heads, rows: usize) -> Inputs {
    let values = |seed, width| rounded(random(seed, rows * width).iter().map(|value| value * 2.0));
    let (queries, keys) = (heads.query_width(), heads.key_value_width());
    Inputs { parts: [values(1, queries), values(2, keys), values(3, keys)], d_out: values(4, queries) }
}

fn on_cpu(
    heads: Heads,
    lengths: &[usize],
    Inputs { parts: [queries, keys, values], d_out }: &Inputs,
) -> Results {
    let (rows, width) = (lengths.iter().sum(), heads.key_value_width());
    let mut start = 0;
    let spans: Vec<Span<'_>> = lengths
        .iter()
        .map(|rows| {
            let part = start * width..(start + rows) * width;
            start += rows;
            let [keys, values] = [keys, values]
                .map(|of| HeadRows::Together(matmul::Matrix::new(&of[part.clone()], *rows, width).unwrap()));
            Span { rows: *rows, keys, values }
        })
        .collect();
    let (mut out, mut log_sums) = (vec![0.0; queries.len()], vec![0.0; rows * heads.query]);
    attention(heads, queries, &spans, &mut out, &mut log_sums).unwrap();
    let mut partial = vec![0.0; partial_length(heads, rows)];
    let [mut d_queries, mut d_keys, mut d_values] = [queries, keys, values].map(|of| vec![0.0; of.len()]);
    let operands = attention::AttentionBackward {
        queries,
        out: &out,
        d_out,
        log_sums: &log_sums,
        partial: &mut partial,
        d_queries: &mut d_queries,
        d_keys: &mut d_keys,
        d_values: &mut d_values,
    };
    attention_backward(heads, &spans, operands).unwrap();
    [out, log_sums, d_queries, d_keys, d_values]
}

fn on_device(device: &Arc<dyn Device>, heads: Heads, lengths: &[usize], inputs: &Inputs) -> Results {
    let (query_width, width) = (heads.query_width(), heads.key_value_width());
    let rows: usize = lengths.iter().sum();
    let [queries, keys, values] = &inputs.parts;
    let row = |i: usize| {
        [
            &queries[i * query_width..][..query_width],
            &keys[i * width..][..width],
            &values[i * width..][..width],
        ]
    };
    let joined: Vec<f32> = (0..rows).flat_map(|i| row(i).concat()).collect();
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for length in lengths {
        let start = u32::try_from(starts.len()).unwrap();
        starts.extend(vec![start; *length]);
        ends.extend(vec![start + u32::try_from(*length).unwrap(); *length]);
    }
    let (starts, ends) = (upload_numbers(device, &starts), upload_numbers(device, &ends));
    let log_sums = upload_floats(device, &vec![f32::NAN; rows * heads.query]);
    let delta = upload_floats(device, &vec![f32::NAN; rows * heads.query]);
    let projected = Matrix::new(device, &joined, query_width + 2 * width);
    let d_out = Matrix::new(device, &inputs.d_out, query_width);
    let out = Matrix::zeros(device, [rows, query_width]);
    let d = Matrix::zeros(device, [rows, query_width + 2 * width]);
    let parts = |all: &Matrix| {
        let query = all.rows();
        let key = query.columns_from(query_width);
        Projected { query, key, value: key.columns_from(width) }
    };
    let packed = PackedAttention { heads, rows, starts: starts.address(), ends: ends.address() };
    packed.forward(&**device, out.rows(), log_sums.address(), parts(&projected)).unwrap();
    let gradient = AttentionGradient {
        out: out.rows(),
        d_out: d_out.rows(),
        log_sums: log_sums.address(),
        delta: delta.address(),
    };
    packed.backward(&**device, parts(&d), parts(&projected), gradient).unwrap();
    let mut of_parts = [Vec::new(), Vec::new(), Vec::new()];
    for row in d.values().chunks_exact(query_width + 2 * width) {
        let (query, others) = row.split_at(query_width);
        let (key, value) = others.split_at(width);
        for (part, values) in of_parts.iter_mut().zip([query, key, value]) {
            part.extend_from_slice(values);
        }
    }
    let [d_queries, d_keys, d_values] = of_parts;
    [out.values(), download_floats(device, &log_sums), d_queries, d_keys, d_values]
}

/// How far apart, relative to the expected values' norm.
fn distance(got: &[f32], expected: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    let apart = norm(&mut got.iter().zip(expected).map(|(got, expected)| got - expected));
    apart / norm(&mut expected.iter().copied()).max(1e-2)
}

#[track_caller]
fn agrees(heads: Heads, lengths: &[usize]) {
    let inputs = inputs(heads, lengths.iter().sum());
    let expected = on_cpu(heads, lengths, &inputs);
    let others = [EmulatedDevice::without_warpgroups(), EmulatedDevice::in_random_order(7)];
    for device in devices().into_iter().chain(others.map(|device| Arc::new(device) as Arc<dyn Device>)) {
        let got = on_device(&device, heads, lengths, &inputs);
        let names = ["output", "log-sums", "gradient of queries", "gradient of keys", "gradient of values"];
        for ((name, got), expected) in names.iter().zip(&got).zip(&expected) {
            let apart = distance(got, expected);
            assert!(apart < 8e-3, "{name} of {lengths:?} rows is {apart} from the CPU's on {device:?}");
        }
        assert_eq!(on_device(&device, heads, lengths, &inputs), got, "equal calls give equal bytes");
    }
}

fn heads(query: usize, key_value: usize, dim: usize) -> Heads {
    Heads { query, key_value, dim, scale: None, window: None }
}

#[test]
fn packed_documents_see_themselves_alone() {
    for dim in [16, 32, 64, 128, 256] {
        agrees(heads(2, 1, dim), &[1, 66, 130]);
        agrees(heads(1, 1, dim), &[1]);
    }
}

#[test]
fn heads_of_a_group_share_their_keys() {
    for dim in [64, 128] {
        agrees(heads(6, 2, dim), &[40, 33]);
    }
}

#[test]
fn windows_end_within_blocks() {
    for dim in [64, 128] {
        agrees(Heads { window: Some(70), ..heads(1, 1, dim) }, &[200, 90]);
        agrees(Heads { window: Some(1), ..heads(1, 1, dim) }, &[130]);
    }
}

#[test]
fn a_device_gets_the_kernels_written_for_it() {
    let old = EmulatedDevice::without_warpgroups();
    assert_eq!(kernels(&old, 64).unwrap().keys.kernel, "attention_backward_keys_d64");
    let new = EmulatedDevice::new();
    assert_eq!(kernels(&new, 64).unwrap().keys.kernel, "attention_backward_keys_hopper_d64");
    assert_eq!(kernels(&new, 32).unwrap().keys.kernel, "attention_backward_keys_d32");
}
