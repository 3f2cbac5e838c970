//! Checks adapted linear layers against merged weights and finite differences.

use super::{BackwardOperands, LoraGradients, LoraGroup, Segment, backward, forward};
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
}

impl Fixture {
    fn new(seed: u64) -> Self {
        Self {
            x: random(seed, ROWS * IN),
            weights: [0_u8, 1, 2].map(|i| random(11 + u64::from(i), OUT[usize::from(i)] * IN)),
            a: random(seed + 20, 2 * RANK * IN),
            b: [0_u8, 1, 2].map(|i| random(seed + 30 + u64::from(i), OUT[usize::from(i)] * RANK)),
        }
    }

    fn group(&self) -> LoraGroup<'_> {
        let b = |i: usize| Some(Matrix::new(&self.b[i], RANK, OUT[i]).unwrap());
        LoraGroup {
            rank: RANK,
            scale: SCALE,
            a: Matrix::new(&self.a, 2 * RANK, IN).unwrap(),
            b: vec![b(0), None, b(2)],
        }
    }

    fn weights(&self) -> [Matrix<'_>; 3] {
        [0, 1, 2].map(|i| Matrix::new(&self.weights[i], OUT[i], IN).unwrap())
    }

    /// Low-rank values and the three outputs, one after another.
    fn run(&self, segments: &[Segment<'_>]) -> (Vec<f32>, Vec<f32>) {
        let mut low_rank = vec![0.0; ROWS * 2 * RANK];
        let mut outputs = OUT.map(|out| vec![0.0; ROWS * out]);
        let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let x = Matrix::new(&self.x, ROWS, IN).unwrap();
        forward(x, &self.weights(), segments, &mut low_rank, &mut slices, false).unwrap();
        (low_rank, outputs.concat())
    }

    fn outputs(&self) -> Vec<f32> {
        self.run(&[Segment { rows: ROWS, lora: Some(self.group()) }]).1
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
    let bare = one.run(&[Segment { rows: ROWS, lora: None }]).1;
    let segments = [
        Segment { rows: 2, lora: Some(one.group()) },
        Segment { rows: 1, lora: None },
        Segment { rows: 2, lora: Some(two.group()) },
    ];
    let (mixed, first, second) = (one.run(&segments).1, one.outputs(), two.outputs());
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
fn gradients_agree_with_finite_differences() {
    let fixture = Fixture::new(3);
    let dy = random(9, ROWS * OUT.iter().sum::<usize>());
    let (low_rank, _) = fixture.run(&[Segment { rows: ROWS, lora: Some(fixture.group()) }]);
    let (first, rest) = dy.split_at(ROWS * OUT[0]);
    let (second, third) = rest.split_at(ROWS * OUT[1]);
    let d_outputs = [(first, 0), (second, 1), (third, 2)].map(|(d, i)| Matrix::new(d, ROWS, OUT[i]).unwrap());
    let (mut da, mut d_b0, mut d_b2) =
        (vec![0.5; fixture.a.len()], vec![0.0; RANK * OUT[0]], vec![0.0; RANK * OUT[2]]);
    let (mut d_low_rank, mut dx) = (vec![0.0; low_rank.len()], vec![0.0; fixture.x.len()]);
    let gradients = LoraGradients {
        a: MatrixMut::new(&mut da, 2 * RANK, IN).unwrap(),
        b: vec![
            Some(MatrixMut::new(&mut d_b0, RANK, OUT[0]).unwrap()),
            None,
            Some(MatrixMut::new(&mut d_b2, RANK, OUT[2]).unwrap()),
        ],
    };
    let operands = BackwardOperands {
        x: Matrix::new(&fixture.x, ROWS, IN).unwrap(),
        low_rank: &low_rank,
        d_outputs: &d_outputs,
        d_low_rank: &mut d_low_rank,
        dx: Some(&mut dx),
    };
    backward(&fixture.weights(), Some(&fixture.group()), Some(gradients), operands).unwrap();

    let with = |change: &dyn Fn(&mut Fixture)| {
        let mut changed = Fixture::new(3);
        change(&mut changed);
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
}
