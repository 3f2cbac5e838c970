//! Checks that every factor arrives in its margin, and nothing beside it.

use super::*;
use crate::{
    cuda::testing::devices,
    ops::testing::{
        device::{Matrix, rounded, upload, upload_floats},
        random,
    },
};

#[test]
fn factors_arrive_scaled_and_in_place() {
    for device in devices() {
        let values = random(1, 40_000);
        // Rows, columns and the column of the target where the factor begins.
        let shapes = [
            [16, 64, 0],
            [64, 16, 8],
            [1, 8, 0],
            [5, 3, 2],
            [33, 1, 5],
            [100, 24, 3],
            [8, 576, 16],
            [3, 40, 0],
        ];
        let mut from = 4;
        let mut parts = Vec::new();
        for [rows, columns, column] in shapes {
            let into = Matrix::zeros(&device, [rows, columns + column + 2]);
            let target = into.rows().columns_from(column);
            let scale = 0.5 + random(from as u64, 1)[0].abs();
            let part = AdapterPart { to: target.address, from, rows, columns, stride: target.stride, scale };
            parts.push((part, into, column));
            from += (rows * columns).next_multiple_of(4) + usize::from(columns == 24);
        }
        let table: Vec<u8> = parts.iter().flat_map(|(part, ..)| part.bytes()).collect();
        let (table, on_device) = (upload(&device, &table), upload_floats(&device, &values));
        scatter_adapter(&*device, table.address(), parts.len(), on_device.address()).unwrap();
        for (part, into, column) in parts {
            let source = &values[part.from..part.from + part.rows * part.columns];
            let scaled = rounded(source.iter().map(|value| value * part.scale));
            let rows = scaled.chunks(part.columns);
            let expected: Vec<f32> =
                rows.flat_map(|row| [&vec![0.0; column][..], row, &[0.0; 2]].concat()).collect();
            assert_eq!(into.values(), expected);
        }
    }
}
