//! Checks that parts are set, and nothing beside them.

use super::*;
use crate::{
    cuda::testing::devices,
    ops::testing::{
        device::{download_floats, upload, upload_floats},
        random,
    },
};

#[test]
fn parts_become_what_was_kept_and_nothing_else_changes() {
    let parts = [
        HeldPart { from: 3, rows: 2, columns: 5, stride: 9 },
        HeldPart { from: 40, rows: 1, columns: 9000, stride: 9000 },
        HeldPart { from: 9100, rows: 30, columns: 1, stride: 8 },
    ];
    let (before, after) = (random(1, 10_000), random(2, 10_000));
    let kept: Vec<f32> = parts.iter().flat_map(|part| part.of(&before)).collect();
    let mut table = Vec::new();
    let mut at = 0;
    for part in parts {
        table.extend(part.bytes(at));
        at += part.rows * part.columns;
    }
    let is_held = |index: usize| {
        parts.iter().any(|part| {
            let (row, column) =
                (index.wrapping_sub(part.from) / part.stride, index.wrapping_sub(part.from) % part.stride);
            index >= part.from && row < part.rows && column < part.columns
        })
    };
    for device in devices() {
        let (table, kept) = (upload(&device, &table), upload_floats(&device, &kept));
        for kept in [Some(kept.address()), None] {
            let values = upload_floats(&device, &after);
            hold_parts(&*device, values.address(), kept, table.address(), parts.len()).unwrap();
            for (index, got) in download_floats(&device, &values).into_iter().enumerate() {
                let expected = match (is_held(index), kept) {
                    (false, _) => after[index],
                    (true, Some(_)) => before[index],
                    (true, None) => 0.0,
                };
                assert_eq!(got.to_bits(), expected.to_bits(), "value {index}");
            }
        }
    }
}
