//! Holds the quantisation against bitsandbytes (`tests/fixtures/nf4.safetensors`).

use std::path::Path;

use safetensors::SafeTensors;

use super::*;

struct Fixture(Vec<u8>);

impl Fixture {
    fn read() -> Self {
        Self(
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/nf4.safetensors"))
                .unwrap(),
        )
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data().to_vec()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

/// Equal, or the first place where they are not: the values themselves would fill pages.
#[track_caller]
fn assert_same<T: PartialEq + std::fmt::Debug>(got: &[T], expected: &[T]) {
    assert_eq!(got.len(), expected.len());
    let difference = got.iter().zip(expected).enumerate().find(|(_, (got, expected))| got != expected);
    assert!(difference.is_none(), "{difference:?}");
}

#[test]
fn every_byte_is_that_of_bitsandbytes() {
    let fixture = Fixture::read();
    let tensor = Nf4Tensor::quantise(&fixture.floats("values"), 210, 100);
    let Scales::Nested { codes, values, block: 256, scales, offset } = &tensor.scales else {
        panic!("scales in eight bits")
    };
    assert_same(&tensor.packed, &fixture.bytes("packed"));
    assert_same(values, &fixture.floats("codes"));
    assert_same(&[*offset], &fixture.floats("offset"));
    assert_same(scales, &fixture.floats("nested_scales"));
    assert_same(codes, &fixture.bytes("scales"));
}

#[test]
fn scales_may_be_as_they_are_and_blocks_of_another_size() {
    let packed = vec![0xf0, 0x7f];
    let tensor = Nf4Tensor::of_parts([1, 4], 2, (packed, &CODE), Scales::Plain(vec![2.0, 0.5])).unwrap();
    let mut values = [f32::NAN; 4];
    tensor.dequantise(&mut values);
    assert_same(&values, &[2.0, -2.0, 0.0, 0.5]);
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let plain = || Scales::Plain(vec![1.0]);
    assert!(Nf4Tensor::of_parts([1, 64], 64, (vec![0; 31], &CODE), plain()).is_err(), "codes cut off");
    assert!(Nf4Tensor::of_parts([2, 64], 64, (vec![0; 64], &CODE), plain()).is_err(), "a scale is missing");
    assert!(Nf4Tensor::of_parts([1, 64], 64, (vec![0; 32], &[0.0; 16]), plain()).is_err(), "other codes");
}

#[test]
fn codes_stand_for_the_values_that_bitsandbytes_reads() {
    let fixture = Fixture::read();
    let values = fixture.floats("values");
    let tensor = Nf4Tensor::quantise(&values, 210, 100);
    let mut read = vec![f32::NAN; values.len()];
    tensor.dequantise(&mut read);
    assert_same(&read, &fixture.floats("dequantised"));
}
