//! Norms against the product made in full.

use super::*;

fn factors(rank: usize, inner: usize, outer: usize, seed: u64) -> Factors {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(state >> 40).unwrap()) / f64::from(1 << 24) - 0.5
    };
    let a = (0..rank * inner).map(|_| next()).collect();
    let b = (0..outer * rank).map(|_| next()).collect();
    Factors { a, b, rank, inner, outer }
}

/// `s·B·A`, made in full.
fn full(factors: &Factors, scale: f64) -> Vec<f64> {
    let Factors { a, b, rank, inner, outer } = factors;
    let mut product = vec![0.0; inner * outer];
    for row in 0..*outer {
        for column in 0..*inner {
            let sum: f64 = (0..*rank).map(|k| b[row * rank + k] * a[k * inner + column]).sum();
            product[row * inner + column] = scale * sum;
        }
    }
    product
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

fn update(factors: Factors, scale: f64) -> Update {
    Update { modules: BTreeMap::from([("q_proj".to_owned(), factors)]), scale }
}

#[test]
fn norms_difference_and_angle_equal_those_of_the_full_products() {
    for (seed, (ranks, inner, outer)) in
        [((1, 1), 5, 3), ((4, 2), 7, 9), ((3, 8), 16, 4)].into_iter().enumerate()
    {
        let seed = u64::try_from(seed).unwrap() * 2 + 1;
        let (old, new) = (factors(ranks.0, inner, outer, seed), factors(ranks.1, inner, outer, seed + 1));
        let (old_full, new_full) = (full(&old, 2.0), full(&new, 0.5));
        let found = compare(&update(old, 2.0), &update(new, 0.5)).remove(0);
        let close = |found: Option<f64>, expected: f64| {
            let found = found.unwrap();
            assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} is not {expected}");
        };
        let (old_norm, new_norm) = (norm(old_full.iter().copied()), norm(new_full.iter().copied()));
        close(found.old, old_norm);
        close(found.new, new_norm);
        close(found.difference, norm(old_full.iter().zip(&new_full).map(|(x, y)| x - y)));
        let inner: f64 = old_full.iter().zip(&new_full).map(|(x, y)| x * y).sum();
        close(found.cosine, inner / (old_norm * new_norm));
    }
}

#[test]
fn a_module_that_one_version_lacks_and_layers_of_other_sizes_have_no_difference() {
    let alone = Update { modules: BTreeMap::new(), scale: 1.0 };
    let found = compare(&alone, &update(factors(2, 4, 4, 1), 1.0)).remove(0);
    assert!(found.old.is_none() && found.new.is_some() && found.difference.is_none());
    let found = compare(&update(factors(2, 4, 4, 1), 1.0), &update(factors(2, 4, 5, 1), 1.0)).remove(0);
    assert!(found.old.is_some() && found.difference.is_none() && found.cosine.is_none());
}

#[test]
fn peft_folders_are_read_with_their_scale_and_compared() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/peft-tiny");
    let (first, last) =
        (Update::read(&folder.join("init")).unwrap(), Update::read(&folder.join("final")).unwrap());
    assert!(last.scale > 0.0);
    let layers = compare(&first, &last);
    assert!(layers.len() > 1);
    assert!(layers.iter().all(|layer| layer.new.unwrap() > 0.0 && layer.difference.unwrap() > 0.0));
    let same = compare(&last, &last);
    assert!(same.iter().all(|layer| layer.difference.unwrap() <= 1e-6 * layer.old.unwrap().max(1.0)));
}
