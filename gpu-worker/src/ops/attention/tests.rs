//! Checks attention against its definition and finite differences.

#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "test values are small")]

use super::{
    AttentionBackward,
    HeadRows::{Apart, Panels, Together},
    Heads, PANEL, Span, attention, attention_backward, partial_length,
};
use crate::ops::{
    OpError,
    matmul::Matrix,
    testing::{assert_close, numeric_gradient, random},
};

const HEADS: Heads = Heads { query: 4, key_value: 2, dim: 6, scale: None, window: None };
const WINDOWED: Heads = Heads { scale: Some(0.3), window: Some(3), ..HEADS };

struct Inputs {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

fn inputs(rows: usize) -> Inputs {
    let scaled = |seed, count| random(seed, count).iter().map(|v| v * 1.5).collect();
    Inputs {
        queries: scaled(1, rows * HEADS.query_width()),
        keys: scaled(2, rows * HEADS.key_value_width()),
        values: scaled(3, rows * HEADS.key_value_width()),
    }
}

fn spans<'a>(keys: &'a [f32], values: &'a [f32], lengths: &[usize]) -> Vec<Span<'a>> {
    let (mut start, width) = (0, HEADS.key_value_width());
    let mut spans = Vec::new();
    for rows in lengths {
        let part = start * width..(start + rows) * width;
        let matrix = |values: &'a [f32]| Matrix::new(&values[part.clone()], *rows, width).unwrap();
        spans.push(Span { rows: *rows, keys: Together(matrix(keys)), values: Together(matrix(values)) });
        start += rows;
    }
    spans
}

/// The rows of each head behind each other, with room for two more.
fn apart(heads: Heads, rows: &[f32]) -> (Vec<f32>, usize) {
    let (width, dim) = (heads.key_value_width(), heads.dim);
    let room = rows.len() / width + 2;
    let mut moved = Vec::new();
    for head in 0..heads.key_value {
        rows.chunks(width).for_each(|row| moved.extend_from_slice(&row[head * dim..(head + 1) * dim]));
        moved.resize((head + 1) * room * dim, f32::NAN);
    }
    (moved, room)
}

/// The same in panels, with room for another one.
fn panels(heads: Heads, rows: &[f32]) -> (Vec<f32>, usize) {
    let (width, dim) = (heads.key_value_width(), heads.dim);
    let room = (rows.len() / width).next_multiple_of(PANEL) + PANEL;
    let mut moved = vec![f32::NAN; heads.key_value * room * dim];
    for (row, values) in rows.chunks(width).enumerate() {
        for (at, value) in values.iter().enumerate() {
            let panel = (at / dim * room + row) / PANEL;
            moved[(panel * dim + at % dim) * PANEL + row % PANEL] = *value;
        }
    }
    (moved, room)
}

#[test]
fn every_layout_of_keys_gives_what_heads_side_by_side_give() {
    let many = Heads { query: 20, key_value: 2, dim: 64, scale: None, window: None };
    for (rows, seen) in [
        (1, 1),
        (1, 7),
        (3, 9),
        (70, 80),
        (1, 63),
        (1, 64),
        (1, 65),
        (8, 130),
        (9, 130),
        (70, 200),
        (1, 256),
        (1, 257),
        (1, 700),
    ] {
        for heads in [HEADS, WINDOWED, many] {
            check_layouts(heads, rows, seen);
        }
        for window in [63, 64, 65, 256, 257, 400] {
            check_layouts(Heads { window: Some(window), ..HEADS }, rows, seen);
        }
    }
}

fn check_layouts(heads: Heads, rows: usize, seen: usize) {
    let queries: Vec<f32> = random(1, rows * heads.query_width());
    let [keys, values] = [2, 3].map(|seed| random(seed, seen * heads.key_value_width()));
    let run = |keys, values| {
        let (mut out, mut sums) = (vec![0.0; queries.len()], vec![0.0; rows * heads.query]);
        attention(heads, &queries, &[Span { rows, keys, values }], &mut out, &mut sums).unwrap();
        (out, sums)
    };
    let together = |of| Together(Matrix::new(of, seen, heads.key_value_width()).unwrap());
    let (expected, expected_sums) = run(together(&keys), together(&values));
    let ((apart_keys, room), (apart_values, _)) = (apart(heads, &keys), apart(heads, &values));
    let apart = |of| {
        let rows = Matrix::new(of, heads.key_value * room, heads.dim).unwrap();
        Apart { rows, room, used: seen }
    };
    let (panels, room) = panels(heads, &keys);
    let panels = Matrix::new(&panels, heads.key_value * room / PANEL * heads.dim, PANEL).unwrap();
    for keys in [apart(&apart_keys), Panels { panels, room, used: seen }] {
        let (out, sums) = run(keys, apart(&apart_values));
        assert_close(&out, &expected, 1e-6);
        assert_close(&sums, &expected_sums, 1e-6);
    }
}

#[test]
fn panels_are_taken_for_keys_of_a_forward_pass_alone() {
    let inputs = inputs(70);
    let (panels, room) = panels(HEADS, &inputs.keys);
    let panels = Matrix::new(&panels, HEADS.key_value * room / PANEL * HEADS.dim, PANEL).unwrap();
    let (rows, panels) = (
        Together(Matrix::new(&inputs.keys, 70, HEADS.key_value_width()).unwrap()),
        Panels { panels, room, used: 70 },
    );
    let (mut out, mut sums) = (vec![f32::NAN; inputs.queries.len()], vec![0.0; 70 * HEADS.query]);
    let span = Span { rows: 70, keys: rows, values: panels };
    let refused = attention(HEADS, &inputs.queries, &[span], &mut out, &mut sums).unwrap_err();
    let is_right =
        matches!(refused, OpError::Shape { operand: "values", got: (12, PANEL), expected: (128, 6), .. });
    assert!(is_right, "{refused:?}");
    assert!(out.iter().all(|value| value.is_nan()), "nothing is written");
    let (mut d_queries, mut d_keys, mut d_values) =
        (vec![0.0; out.len()], vec![0.0; inputs.keys.len()], vec![0.0; inputs.keys.len()]);
    let operands = AttentionBackward {
        queries: &inputs.queries,
        out: &out,
        d_out: &out,
        log_sums: &sums,
        partial: &mut vec![0.0; partial_length(HEADS, 70)],
        d_queries: &mut d_queries,
        d_keys: &mut d_keys,
        d_values: &mut d_values,
    };
    let span = Span { rows: 70, keys: panels, values: rows };
    let refused = attention_backward(HEADS, &[span], operands).unwrap_err();
    assert!(matches!(refused, OpError::Shape { operand: "keys", got: (12, PANEL), .. }), "{refused:?}");
}

#[test]
fn heads_that_would_reach_into_each_other_are_refused() {
    let inputs = inputs(70);
    let rows = Together(Matrix::new(&inputs.keys, 70, HEADS.key_value_width()).unwrap());
    let values = vec![0.0; 4 * HEADS.dim * PANEL];
    let panels = Matrix::new(&values, 4 * HEADS.dim, PANEL).unwrap();
    let apart = Matrix::new(&values, 4 * PANEL, HEADS.dim).unwrap();
    for keys in [
        Panels { panels, room: 65, used: 65 },
        Panels { panels, room: 64, used: 70 },
        Apart { rows: apart, room: 64, used: 70 },
    ] {
        let count = keys.rows();
        let span = Span { rows: 1, keys, values: rows };
        let span = if count == 70 { span } else { Span { values: keys, ..span } };
        let (queries, mut out) = (vec![0.0; HEADS.query_width()], vec![0.0; HEADS.query_width()]);
        let refused = attention(HEADS, &queries, &[span], &mut out, &mut [0.0; 4]).unwrap_err();
        assert!(matches!(refused, OpError::Shape { operand: "keys", .. }), "{refused:?}");
    }
}

fn run(inputs: &Inputs, lengths: &[usize]) -> (Vec<f32>, Vec<f32>) {
    run_with(HEADS, inputs, lengths)
}

fn run_with(heads: Heads, inputs: &Inputs, lengths: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let rows: usize = lengths.iter().sum();
    let (mut out, mut log_sums) = (vec![0.0; inputs.queries.len()], vec![0.0; rows * HEADS.query]);
    let spans = spans(&inputs.keys, &inputs.values, lengths);
    attention(heads, &inputs.queries, &spans, &mut out, &mut log_sums).unwrap();
    (out, log_sums)
}

fn naive(inputs: &Inputs, rows: usize) -> Vec<f32> {
    naive_with(HEADS, inputs, rows)
}

fn naive_with(heads: Heads, inputs: &Inputs, rows: usize) -> Vec<f32> {
    let scale = heads.scale.map_or_else(|| 1.0 / (HEADS.dim as f64).sqrt(), f64::from);
    let first = |i: usize| heads.window.map_or(0, |window| (i + 1).saturating_sub(window));
    let (dim, q_width, kv_width) = (HEADS.dim, HEADS.query_width(), HEADS.key_value_width());
    let mut out = vec![0.0; rows * q_width];
    for head in 0..HEADS.query {
        let kv = head / 2 * dim;
        for i in 0..rows {
            let query = &inputs.queries[i * q_width + head * dim..][..dim];
            let scores: Vec<f64> = (first(i)..=i)
                .map(|j| {
                    let key = &inputs.keys[j * kv_width + kv..][..dim];
                    let dot: f64 = query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                    (dot * scale).exp()
                })
                .collect();
            let total: f64 = scores.iter().sum();
            for d in 0..dim {
                let sum: f64 = scores
                    .iter()
                    .zip(first(i)..)
                    .map(|(s, j)| s * f64::from(inputs.values[j * kv_width + kv + d]))
                    .sum();
                out[i * q_width + head * dim + d] = (sum / total) as f32;
            }
        }
    }
    out
}

#[test]
fn attention_agrees_with_the_definition_across_block_borders() {
    for rows in [1, 63, 64, 65, 150] {
        let inputs = inputs(rows);
        assert_close(&run(&inputs, &[rows]).0, &naive(&inputs, rows), 1e-5);
    }
}

#[test]
fn a_query_sees_as_many_keys_as_its_window_has_room_for() {
    for (rows, window) in [(1, 3), (70, 3), (150, 64), (150, 100), (20, 100)] {
        let (inputs, heads) = (inputs(rows), Heads { window: Some(window), ..WINDOWED });
        assert_close(&run_with(heads, &inputs, &[rows]).0, &naive_with(heads, &inputs, rows), 1e-5);
    }
}

#[test]
fn a_packed_document_sees_itself_alone() {
    let inputs = inputs(90);
    let (out, _) = run(&inputs, &[70, 20]);
    let second = Inputs {
        queries: inputs.queries[70 * HEADS.query_width()..].to_vec(),
        keys: inputs.keys[70 * HEADS.key_value_width()..].to_vec(),
        values: inputs.values[70 * HEADS.key_value_width()..].to_vec(),
    };
    assert_close(&out[70 * HEADS.query_width()..], &naive(&second, 20), 1e-5);
}

#[test]
fn new_queries_see_all_earlier_keys() {
    let inputs = inputs(80);
    let full = naive(&inputs, 80);
    let matrix = |values| Matrix::new(values, 80, HEADS.key_value_width()).unwrap();
    let span =
        Span { rows: 3, keys: Together(matrix(&inputs.keys)), values: Together(matrix(&inputs.values)) };
    let (mut out, mut log_sums) = (vec![0.0; 3 * HEADS.query_width()], vec![0.0; 3 * HEADS.query]);
    attention(HEADS, &inputs.queries[77 * HEADS.query_width()..], &[span], &mut out, &mut log_sums).unwrap();
    assert_close(&out, &full[77 * HEADS.query_width()..], 1e-5);
}

#[test]
fn gradients_agree_with_finite_differences_for_packed_documents() {
    check_gradients(HEADS, &[7, 4]);
    check_gradients(WINDOWED, &[7, 4]);
    check_gradients(WINDOWED, &[70]);
}

fn check_gradients(heads: Heads, lengths: &[usize]) {
    let rows: usize = lengths.iter().sum();
    let inputs = inputs(rows);
    let d_out = random(4, inputs.queries.len());
    let (out, log_sums) = run_with(heads, &inputs, lengths);
    let mut partial = vec![0.0; partial_length(heads, rows)];
    let (mut d_queries, mut d_keys, mut d_values) =
        (vec![0.0; inputs.queries.len()], vec![0.0; inputs.keys.len()], vec![0.0; inputs.values.len()]);
    let operands = AttentionBackward {
        queries: &inputs.queries,
        out: &out,
        d_out: &d_out,
        log_sums: &log_sums,
        partial: &mut partial,
        d_queries: &mut d_queries,
        d_keys: &mut d_keys,
        d_values: &mut d_values,
    };
    attention_backward(heads, &spans(&inputs.keys, &inputs.values, lengths), operands).unwrap();
    let copy = || Inputs {
        queries: inputs.queries.clone(),
        keys: inputs.keys.clone(),
        values: inputs.values.clone(),
    };
    let expected = numeric_gradient(&inputs.queries, &d_out, |x| {
        run_with(heads, &Inputs { queries: x.to_vec(), ..copy() }, lengths).0
    });
    assert_close(&d_queries, &expected, 2e-3);
    let expected = numeric_gradient(&inputs.keys, &d_out, |x| {
        run_with(heads, &Inputs { keys: x.to_vec(), ..copy() }, lengths).0
    });
    assert_close(&d_keys, &expected, 2e-3);
    let expected = numeric_gradient(&inputs.values, &d_out, |x| {
        run_with(heads, &Inputs { values: x.to_vec(), ..copy() }, lengths).0
    });
    assert_close(&d_values, &expected, 2e-3);
}

#[test]
fn fewer_keys_than_queries_are_refused() {
    let inputs = inputs(2);
    let keys = Matrix::new(&inputs.keys[..HEADS.key_value_width()], 1, HEADS.key_value_width()).unwrap();
    let span = Span { rows: 2, keys: Together(keys), values: Together(keys) };
    let refused =
        attention(HEADS, &inputs.queries, &[span], &mut vec![0.0; inputs.queries.len()], &mut [0.0; 8])
            .unwrap_err();
    assert!(matches!(refused, OpError::Shape { operand: "keys", got: (1, _), expected: (2, _), .. }));
    let (rows, room) = apart(HEADS, &inputs.keys);
    let rows = Matrix::new(&rows, HEADS.key_value * room, HEADS.dim).unwrap();
    let span = Span { rows: 2, keys: Apart { rows, room, used: 1 }, values: Apart { rows, room, used: 2 } };
    let refused =
        attention(HEADS, &inputs.queries, &[span], &mut vec![0.0; inputs.queries.len()], &mut [0.0; 8])
            .unwrap_err();
    assert!(matches!(refused, OpError::Shape { operand: "keys", got: (1, _), expected: (2, _), .. }));
}

#[test]
fn heads_that_no_group_shares_are_refused() {
    let heads = Heads { query: 3, ..HEADS };
    let refused = attention(heads, &[], &[], &mut [], &mut []).unwrap_err();
    assert!(matches!(refused, OpError::Shape { operand: "heads", got: (3, 2), expected: (2, 2), .. }));
}

#[test]
fn a_query_alone_gives_what_it_gives_behind_others() {
    for (seen, window) in
        [(1, Some(29)), (5, Some(29)), (33, Some(29)), (600, None), (600, Some(300)), (513, Some(2))]
    {
        let heads = Heads { query: 6, key_value: 2, dim: 64, scale: None, window };
        let (queries, keys) = (random(1, seen * 384), random(2, seen * 128));
        let values = random(3, seen * 128);
        let run = |rows: usize| {
            let queries = &queries[(seen - rows) * 384..];
            let matrix = |of| Together(Matrix::new(of, seen, 128).unwrap());
            let span = Span { rows, keys: matrix(&keys), values: matrix(&values) };
            let (mut out, mut sums) = (vec![0.0; rows * 384], vec![0.0; rows * 6]);
            attention(heads, queries, &[span], &mut out, &mut sums).unwrap();
            (out, sums.chunks(rows).map(|of_head| of_head[rows - 1]).collect::<Vec<f32>>())
        };
        let ((alone, alone_sums), (behind, sums)) = (run(1), run(seen));
        assert_close(&alone, &behind[(seen - 1) * 384..], 1e-5);
        assert_close(&alone_sums, &sums, 1e-5);
    }
}
