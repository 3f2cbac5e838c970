//! Checks adapted linear layers against merged weights and finite differences.

use super::{
    BackwardOperands, ForwardBuffers, Inputs, LoraGradients, LoraGroup, Magnitude, Segment, Weight, backward,
    forward, plain_length,
};
use crate::ops::{
    matmul::{Matrix, MatrixMut},
    testing::{assert_close, numeric_gradient, random},
};

const ROWS: usize = 5;
const IN: usize = 11;
const RANK: usize = 2;
const SCALE: f32 = 1.5;
/// Output widths of three layers; the middle one carries no update.
const OUT: [usize; 3] = [7, 4, 9];

struct Fixture {
    x: Vec<f32>,
    weights: [Vec<f32>; 3],
    a: Vec<f32>,
    b: [Vec<f32>; 3],
    /// Magnitudes and norms of the layers; the adapter has none while they are empty.
    m: [Vec<f32>; 3],
    norms: [Vec<f32>; 3],
    gains: [Vec<f32>; 3],
}

impl Fixture {
    fn new(seed: u64) -> Self {
        Self {
            m: Default::default(),
            norms: Default::default(),
            gains: Default::default(),
            x: random(seed, ROWS * IN),
            weights: [0_u8, 1, 2].map(|i| random(11 + u64::from(i), OUT[usize::from(i)] * IN)),
            a: random(seed + 20, 2 * RANK * IN),
            b: [0_u8, 1, 2].map(|i| random(seed + 30 + u64::from(i), OUT[usize::from(i)] * RANK)),
        }
    }

    fn with_magnitudes(seed: u64) -> Self {
        let positive = |seed, i: u8| {
            random(seed + u64::from(i), OUT[usize::from(i)])
                .into_iter()
                .map(|v| v.abs() + 0.5)
                .collect::<Vec<_>>()
        };
        let (m, norms) = ([0, 1, 2].map(|i| positive(40, i)), [0, 1, 2].map(|i| positive(50, i)));
        let mut fixture = Self { m, norms, ..Self::new(seed) };
        fixture.set_gains();
        fixture
    }

    fn set_gains(&mut self) {
        for (gains, (m, norms)) in self.gains.iter_mut().zip(self.m.iter().zip(&self.norms)) {
            *gains = m.iter().zip(norms).map(|(m, norm)| m / norm).collect();
        }
    }

    fn group(&self) -> LoraGroup<'_> {
        let magnitude = |i: usize| Some(Magnitude { gain: &self.gains[i], norm: &self.norms[i] });
        let b = |i: usize| Some(Matrix::new(&self.b[i], RANK, OUT[i]).unwrap());
        LoraGroup {
            rank: RANK,
            scale: SCALE,
            a: Matrix::new(&self.a, 2 * RANK, IN).unwrap(),
            b: vec![b(0), None, b(2)],
            magnitudes: if self.m[0].is_empty() { vec![] } else { vec![magnitude(0), None, magnitude(2)] },
        }
    }

    fn weights(&self) -> [Matrix<'_>; 3] {
        [0, 1, 2].map(|i| Matrix::new(&self.weights[i], OUT[i], IN).unwrap())
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs { x: Matrix::new(&self.x, ROWS, IN).unwrap(), dropped: None }
    }

    /// Low-rank values, outputs before their magnitudes, and the three outputs, one after another.
    fn run(&self, segments: &[Segment<'_>]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let mut low_rank = vec![0.0; ROWS * 2 * RANK];
        let mut outputs = OUT.map(|out| vec![0.0; ROWS * out]);
        let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let mut plain = vec![0.0; plain_length(OUT.iter().sum(), segments)];
        forward(
            self.inputs(),
            &self.weights().map(Weight::Full),
            segments,
            ForwardBuffers { low_rank: &mut low_rank, plain: &mut plain },
            &mut slices,
            false,
        )
        .unwrap();
        (low_rank, plain, outputs.concat())
    }

    fn outputs(&self) -> Vec<f32> {
        self.run(&[Segment { rows: ROWS, lora: Some(self.group()) }]).2
    }
}

#[test]
fn the_layers_equal_their_merged_weights() {
    let fixture = Fixture::new(1);
    let got = fixture.outputs();
    let mut start = 0;
    for (layer, out) in OUT.into_iter().enumerate() {
        let first = [0, 0, RANK][layer];
        for row in 0..ROWS {
            for column in 0..out {
                let sum: f32 = (0..IN)
                    .map(|i| {
                        let update: f32 = (0..RANK)
                            .map(|r| fixture.a[(first + r) * IN + i] * fixture.b[layer][r * out + column])
                            .sum();
                        let merged = fixture.weights[layer][column * IN + i]
                            + if layer == 1 { 0.0 } else { SCALE * update };
                        fixture.x[row * IN + i] * merged
                    })
                    .sum();
                assert!((got[start + row * out + column] - sum).abs() < 1e-4);
            }
        }
        start += ROWS * out;
    }
}

#[test]
fn each_segment_gets_its_own_adapter() {
    let (one, mut two) = (Fixture::new(1), Fixture::new(2));
    two.x.clone_from(&one.x);
    let bare = one.run(&[Segment { rows: ROWS, lora: None }]).2;
    let segments = [
        Segment { rows: 2, lora: Some(one.group()) },
        Segment { rows: 1, lora: None },
        Segment { rows: 2, lora: Some(two.group()) },
    ];
    let (mixed, first, second) = (one.run(&segments).2, one.outputs(), two.outputs());
    let mut start = 0;
    for out in OUT {
        let rows = |from: usize, to: usize| start + from * out..start + to * out;
        assert_close(&mixed[rows(0, 2)], &first[rows(0, 2)], 1e-5);
        assert_close(&mixed[rows(2, 3)], &bare[rows(2, 3)], 1e-5);
        assert_close(&mixed[rows(3, 5)], &second[rows(3, 5)], 1e-5);
        start += ROWS * out;
    }
}

#[test]
fn magnitudes_scale_outputs_and_add_to_what_is_there() {
    let (plain, scaled) = (Fixture::new(4), Fixture::with_magnitudes(4));
    let (plain, got) = (plain.outputs(), scaled.outputs());
    let mut start = 0;
    for (layer, out) in OUT.into_iter().enumerate() {
        for row in 0..ROWS {
            for column in 0..out {
                let at = start + row * out + column;
                let gain = if layer == 1 { 1.0 } else { scaled.gains[layer][column] };
                assert!((got[at] - plain[at] * gain).abs() < 1e-5);
            }
        }
        start += ROWS * out;
    }
    let segments = [Segment { rows: ROWS, lora: Some(scaled.group()) }];
    let (mut low_rank, mut kept) =
        (vec![0.0; ROWS * 2 * RANK], vec![0.0; plain_length(OUT.iter().sum(), &segments)]);
    let mut outputs = OUT.map(|out| vec![3.0; ROWS * out]);
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    forward(
        scaled.inputs(),
        &scaled.weights().map(Weight::Full),
        &segments,
        ForwardBuffers { low_rank: &mut low_rank, plain: &mut kept },
        &mut slices,
        true,
    )
    .unwrap();
    assert_close(&outputs.concat(), &got.iter().map(|value| value + 3.0).collect::<Vec<_>>(), 1e-5);
}

#[test]
fn gradients_agree_with_finite_differences() {
    check_gradients(&|| Fixture::new(3));
}

#[test]
fn gradients_with_magnitudes_agree_with_finite_differences_at_fixed_norms() {
    check_gradients(&|| Fixture::with_magnitudes(3));
}

fn check_gradients(fixture_of: &dyn Fn() -> Fixture) {
    let fixture = fixture_of();
    let dy = random(9, ROWS * OUT.iter().sum::<usize>());
    let (low_rank, plain, _) = fixture.run(&[Segment { rows: ROWS, lora: Some(fixture.group()) }]);
    let (first, rest) = dy.split_at(ROWS * OUT[0]);
    let (second, third) = rest.split_at(ROWS * OUT[1]);
    let d_outputs = [(first, 0), (second, 1), (third, 2)].map(|(d, i)| Matrix::new(d, ROWS, OUT[i]).unwrap());
    let (mut da, mut d_b0, mut d_b2) =
        (vec![0.5; fixture.a.len()], vec![0.0; RANK * OUT[0]], vec![0.0; RANK * OUT[2]]);
    let (mut d_low_rank, mut dx) = (vec![0.0; low_rank.len()], vec![0.0; fixture.x.len()]);
    let mut d_plain = vec![0.0; plain.len()];
    let (mut first_m, mut third_m) = (vec![0.25; fixture.m[0].len()], vec![0.0; fixture.m[2].len()]);
    let magnitudes = if fixture.m[0].is_empty() {
        vec![]
    } else {
        vec![Some(&mut first_m[..]), None, Some(&mut third_m[..])]
    };
    let gradients = LoraGradients {
        a: MatrixMut::new(&mut da, 2 * RANK, IN).unwrap(),
        b: vec![
            Some(MatrixMut::new(&mut d_b0, RANK, OUT[0]).unwrap()),
            None,
            Some(MatrixMut::new(&mut d_b2, RANK, OUT[2]).unwrap()),
        ],
        magnitudes,
    };
    let operands = BackwardOperands {
        inputs: fixture.inputs(),
        low_rank: &low_rank,
        d_outputs: &d_outputs,
        d_low_rank: &mut d_low_rank,
        plain: &plain,
        d_plain: &mut d_plain,
        dx: Some(&mut dx),
        dropout: None,
    };
    backward(&fixture.weights(), Some(&fixture.group()), Some(gradients), operands).unwrap();

    let with = |change: &dyn Fn(&mut Fixture)| {
        let mut changed = fixture_of();
        change(&mut changed);
        changed.set_gains();
        changed.outputs()
    };
    let expected = numeric_gradient(&fixture.x, &dy, |x| with(&|f| f.x.copy_from_slice(x)));
    assert_close(&dx, &expected, 2e-3);
    let expected = numeric_gradient(&fixture.a, &dy, |a| with(&|f| f.a.copy_from_slice(a)));
    assert_close(&da, &expected.iter().map(|g| g + 0.5).collect::<Vec<_>>(), 2e-3);
    let expected = numeric_gradient(&fixture.b[0], &dy, |b| with(&|f| f.b[0].copy_from_slice(b)));
    assert_close(&d_b0, &expected, 2e-3);
    let expected = numeric_gradient(&fixture.b[2], &dy, |b| with(&|f| f.b[2].copy_from_slice(b)));
    assert_close(&d_b2, &expected, 2e-3);
    if !fixture.m[0].is_empty() {
        let expected = numeric_gradient(&fixture.m[0], &dy, |m| with(&|f| f.m[0].copy_from_slice(m)));
        assert_close(&first_m, &expected.iter().map(|g| g + 0.25).collect::<Vec<_>>(), 2e-3);
        let expected = numeric_gradient(&fixture.m[2], &dy, |m| with(&|f| f.m[2].copy_from_slice(m)));
        assert_close(&third_m, &expected, 2e-3);
    }
}
