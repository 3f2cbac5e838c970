//! Holds the masks against those of the CPU.

use super::*;
use crate::{
    cuda::testing::devices,
    ops::testing::{
        device::{Matrix, assert_rounded, rounded, upload},
        random,
    },
};

#[test]
fn the_same_values_are_zeroed_as_on_the_cpu() {
    for device in devices() {
        for shape @ [rows, width] in [[1, 8], [3, 24], [200, 264], [70, 1032]] {
            let x: Vec<f32> = random(1, rows * width).iter().map(|x| x + 1.5 * x.signum()).collect();
            let [x, before] = [x, random(2, rows * width)].map(rounded);
            for (share, seed, stream) in [(0.1, 3, 0), (0.5, u64::MAX, 7), (0.99, 0x1234_5678_9ABC_DEF0, 319)]
            {
                let dropout = Dropout::new(share, seed).unwrap();
                let mut expected = vec![0.0; x.len()];
                dropout.stream(stream as u64).apply(&x, &mut expected);
                let key = upload(&device, &[0xff; DeviceDropout::KEY_BYTES]);
                DeviceDropout::write_key(&*device, key.address(), dropout).unwrap();
                let on_device = DeviceDropout::new(dropout, key.address(), stream);
                let (x_matrix, out) = (Matrix::new(&device, &x, width), Matrix::new(&device, &before, width));
                on_device.apply(&*device, x_matrix.rows(), out.rows(), shape).unwrap();
                let got = out.values();
                let zeroed = |values: &[f32]| values.iter().map(|value| *value == 0.0).collect::<Vec<_>>();
                assert_eq!(zeroed(&got), zeroed(&expected));
                assert_rounded(&got, &expected);

                let mut expected = before.clone();
                dropout.stream(stream as u64).add_backward(&x, &mut expected);
                let into = Matrix::new(&device, &before, width);
                on_device.add_backward(&*device, x_matrix.rows(), into.rows(), shape).unwrap();
                assert_rounded(&into.values(), &expected);
            }
        }
    }
}
