//! Checks the embedding.

use super::{OpError, embed};
use crate::ops::testing::assert_close;

#[test]
fn each_token_gets_its_row() {
    let mut out = [0.0; 4];
    embed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &[2, 0], &mut out).unwrap();
    assert_close(&out, &[5.0, 6.0, 1.0, 2.0], 0.0);
}

#[test]
fn a_token_outside_the_table_is_refused() {
    let refused = embed(&[1.0, 2.0], 2, &[1], &mut [0.0; 2]).unwrap_err();
    assert_eq!(refused, OpError::Index { operation: "embedding", operand: "token", got: 1, limit: 1 });
}
