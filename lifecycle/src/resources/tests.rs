//! Which workers serve a class, and which priorities fall into a band.

use super::*;

fn resources(gpu_memory_bytes: u64, gpu_kind: Option<&str>, cpu_cores: u32) -> Resources {
    Resources { gpu_memory_bytes, gpu_kind: gpu_kind.map(str::to_owned), cpu_cores }
}

#[test]
fn a_class_is_served_by_workers_that_have_enough_of_everything() {
    let class = ResourceClass { name: "gpu80".parse().unwrap(), needs: resources(80, None, 4) };
    assert!(class.is_served_by(&resources(80, Some("h100"), 4)));
    assert!(!class.is_served_by(&resources(79, Some("h100"), 4)));
    assert!(!class.is_served_by(&resources(80, Some("h100"), 3)));
}

#[test]
fn a_class_of_one_gpu_kind_is_served_by_that_kind_alone() {
    let class = ResourceClass { name: "h100".parse().unwrap(), needs: resources(0, Some("h100"), 0) };
    assert!(class.is_served_by(&resources(80, Some("h100"), 1)));
    assert!(!class.is_served_by(&resources(80, Some("a100"), 1)));
    assert!(!class.is_served_by(&resources(80, None, 1)));
}

#[test]
fn every_worker_serves_the_default_class() {
    assert!(ResourceClass::default_class().is_served_by(&Resources::default()));
}

#[test]
fn priorities_fall_into_three_bands() {
    let bands: Vec<_> = (0..=9).map(PriorityBand::of).collect();
    let expected = [[PriorityBand::Low; 4].as_slice(), &[PriorityBand::Normal; 3], &[PriorityBand::High; 3]];
    assert_eq!(bands, expected.concat());
}
