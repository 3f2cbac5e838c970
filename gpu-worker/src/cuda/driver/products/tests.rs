//! Tests of what is decided before the library is asked.

use super::*;

fn operand(address: u64, stride: usize, transposed: bool) -> Operand {
    Operand { address: Address(address), stride, transposed }
}

fn gemm() -> Gemm {
    Gemm {
        m: 8,
        n: 16,
        k: 32,
        alpha: 1.0,
        a: operand(0x1000, 32, false),
        b: operand(0x2010, 32, true),
        c: None,
        d: operand(0x3000, 24, false),
        result: Element::Bf16,
        bias: None,
    }
}

fn refusal(gemm: &Gemm) -> String {
    Key::new(gemm).unwrap_err().to_string()
}

#[test]
fn equal_shapes_share_a_plan_wherever_their_operands_lie() {
    let moved = Gemm { alpha: 0.5, a: operand(0x5000, 32, false), ..gemm() };
    assert_eq!(Key::new(&gemm()).unwrap(), Key::new(&moved).unwrap());
    let less_aligned = Gemm { a: operand(0x5020, 32, false), ..gemm() };
    assert_ne!(Key::new(&gemm()).unwrap(), Key::new(&less_aligned).unwrap());
}

#[test]
fn alignments_are_those_of_the_addresses() {
    let key = Key::new(&gemm()).unwrap();
    assert_eq!((key.a.alignment, key.b.alignment), (256, 16));
    assert_eq!(key.result_bytes(), (7 * 24 + 16) * 2);
    assert_eq!(key.to_string(), "[8, 32] · [32, 16]ᵀ in Bf16");
}

#[test]
fn what_the_library_cannot_do_is_refused() {
    let d = gemm().d;
    assert!(refusal(&Gemm { k: 0, ..gemm() }).contains("without rows"));
    assert!(refusal(&Gemm { d: Operand { transposed: true, ..d }, ..gemm() }).contains("transposed"));
    let bias = Some(Address(0x100));
    assert!(refusal(&Gemm { bias, result: Element::F32, ..gemm() }).contains("needs a result in bf16"));
    let c = Some(Operand { stride: 32, ..d });
    assert!(refusal(&Gemm { c, ..gemm() }).contains("another layout"));
    assert!(refusal(&Gemm { n: 25, b: operand(0x2010, 32, true), ..gemm() }).contains("stride"));
    assert!(refusal(&Gemm { m: 9, k: 33, ..gemm() }).contains("stride"));
}

#[test]
fn adding_in_place_is_told_from_adding_something_else() {
    let d = gemm().d;
    let added = Key::new(&Gemm { c: Some(operand(0x4000, 16, false)), ..gemm() }).unwrap();
    let in_place = Key::new(&Gemm { c: Some(d), ..gemm() }).unwrap();
    assert!(!added.in_place && in_place.in_place);
    assert!(added.to_string().ends_with("in Bf16 added"));
    assert!(in_place.to_string().ends_with("added in place"));
}
