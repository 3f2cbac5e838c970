//! Norms against the product made in full.

use std::collections::BTreeMap;

use super::*;

const CONFIG: &str = r#"{ "r": 2, "lora_alpha": 6 }"#;

fn factor(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
        let value = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
        value
    };
    (0..count).map(|_| next()).collect()
}

/// An adapter of modules with rank 2; `(inner, outer)` by name.
fn adapter(modules: &[(&str, usize, usize)], seed: u64) -> AdapterFiles {
    let mut tensors = BTreeMap::new();
    for (number, (name, inner, outer)) in (seed..).zip(modules) {
        tensors.insert(format!("{name}{A}"), (vec![2, *inner], factor(2 * inner, number * 2)));
        tensors.insert(format!("{name}{B}"), (vec![*outer, 2], factor(outer * 2, number * 2 + 1)));
    }
    let bytes: BTreeMap<_, (Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, (shape, values))| {
            (name, (shape, values.into_iter().flat_map(f32::to_le_bytes).collect()))
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    AdapterFiles { config: CONFIG.as_bytes().to_vec(), tensors: safetensors::serialize(views, None).unwrap() }
}

/// `s·B·A` of a module, made in full.
fn full(files: &AdapterFiles, module: &str) -> Vec<f64> {
    let update = Update::of(files).unwrap();
    let Factors { a, b, rank, inner, outer } = update.factors(module).unwrap().unwrap();
    let mut product = vec![0.0; inner * outer];
    for row in 0..outer {
        for column in 0..inner {
            let sum: f64 = (0..rank).map(|k| b[row * rank + k] * a[k * inner + column]).sum();
            product[row * inner + column] = update.scale * sum;
        }
    }
    product
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

#[test]
fn norms_difference_and_angle_equal_those_of_the_full_products() {
    let (old, new) = (adapter(&[("q_proj", 7, 5)], 3), adapter(&[("q_proj", 7, 5)], 11));
    let (before, after) = (full(&old, "q_proj"), full(&new, "q_proj"));
    let found = norms(&old, &new).unwrap().remove(0);
    let close = |found: Option<f64>, expected: f64| {
        let found = found.unwrap();
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} is not {expected}");
    };
    let (old_norm, new_norm) = (norm(before.iter().copied()), norm(after.iter().copied()));
    close(found.old, old_norm);
    close(found.new, new_norm);
    close(found.difference, norm(before.iter().zip(&after).map(|(x, y)| x - y)));
    let inner: f64 = before.iter().zip(&after).map(|(x, y)| x * y).sum();
    close(found.cosine, inner / (old_norm * new_norm));
}

#[test]
fn factors_of_different_ranks_have_the_product_of_their_full_updates() {
    let of = |rank: usize, seed: u64| Factors {
        a: factor(rank * 7, seed).into_iter().map(f64::from).collect(),
        b: factor(5 * rank, seed + 1).into_iter().map(f64::from).collect(),
        rank,
        inner: 7,
        outer: 5,
    };
    let (one, other) = (of(4, 1), of(2, 3));
    let cell = |factors: &Factors, row: usize, column: usize| -> f64 {
        (0..factors.rank).map(|k| factors.b[row * factors.rank + k] * factors.a[k * 7 + column]).sum()
    };
    let places = (0..5).flat_map(|row| (0..7).map(move |column| (row, column)));
    let expected: f64 = places.map(|(row, column)| cell(&one, row, column) * cell(&other, row, column)).sum();
    let found = product(&one, &other).unwrap();
    assert!((found - expected).abs() <= 1e-12, "{found} is not {expected}");
}

#[test]
fn a_module_that_one_version_lacks_and_layers_of_other_sizes_have_no_difference() {
    let old = adapter(&[("k_proj", 4, 4), ("q_proj", 4, 4)], 1);
    let new = adapter(&[("k_proj", 4, 5), ("v_proj", 4, 4)], 1);
    let found = norms(&old, &new).unwrap();
    let modules: Vec<_> = found.iter().map(|layer| layer.module.as_str()).collect();
    assert_eq!(modules, ["k_proj", "q_proj", "v_proj"]);
    assert!(found.iter().all(|layer| layer.difference.is_none() && layer.cosine.is_none()));
    let known: Vec<_> = found.iter().map(|layer| (layer.old.is_some(), layer.new.is_some())).collect();
    assert_eq!(known, [(true, true), (true, false), (false, true)]);
}

#[test]
fn a_file_that_is_no_adapter_is_refused_with_what_is_wrong() {
    let whole = adapter(&[("q_proj", 4, 4)], 1);
    let without_rank = AdapterFiles { config: br#"{ "r": 0, "lora_alpha": 6 }"#.to_vec(), ..whole.clone() };
    let cut_off = AdapterFiles { tensors: whole.tensors[..40].to_vec(), ..whole.clone() };
    let told = |files: &AdapterFiles| norms(&whole, files).unwrap_err().to_string();
    assert_eq!(told(&without_rank), "adapter_config.json has r = 0, expected at least 1");
    assert!(told(&cut_off).starts_with("adapter_model.safetensors cannot be read"), "{}", told(&cut_off));
}

#[test]
fn peft_folders_are_compared() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/peft-tiny");
    let read = |name: &str| AdapterFiles {
        config: std::fs::read(folder.join(name).join("adapter_config.json")).unwrap(),
        tensors: std::fs::read(folder.join(name).join("adapter_model.safetensors")).unwrap(),
    };
    let (first, last) = (read("init"), read("final"));
    let layers = norms(&first, &last).unwrap();
    assert!(layers.len() > 1);
    assert!(layers.iter().all(|layer| layer.new.unwrap() > 0.0 && layer.difference.unwrap() > 0.0));
    let same = norms(&last, &last).unwrap();
    assert!(same.iter().all(|layer| layer.difference.unwrap() <= 1e-6 * layer.old.unwrap().max(1.0)));
}
