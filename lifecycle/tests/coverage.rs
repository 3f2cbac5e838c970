//! How often bounds and tests are right, on simulated scores: bounded, skewed to the left as judges give them, in clusters.
//!
//! The fast tests run with the others. `make statistics` runs the long ones, which print the tables of `docs/gate.md`.

#[path = "coverage/simulation.rs"]
mod simulation;

use clara_lifecycle::statistics::{Clustered, PairedTest, SplitMix64};
use simulation::{Design, Scores};

const SEED: u64 = 20_260_101;

/// How often both one-sided bounds and those of Student's t hold.
struct Coverage {
    lower: f64,
    upper: f64,
    lower_by_t: f64,
}

fn coverage(scores: Scores, design: &Design, rounds: u32, resamples: usize) -> Coverage {
    let mut random = SplitMix64::new(SEED);
    let (mut lower, mut upper, mut lower_by_t) = (0, 0, 0);
    for round in 0..rounds {
        let drawn = design.draw(scores, &mut random);
        let bounds = drawn.bounds(resamples, u64::from(round)).unwrap();
        lower += u32::from(bounds.lower <= scores.mean);
        upper += u32::from(bounds.upper >= scores.mean);
        lower_by_t += u32::from(drawn.t_bounds().unwrap().lower <= scores.mean);
    }
    let share = |count: u32| f64::from(count) / f64::from(rounds);
    Coverage { lower: share(lower), upper: share(upper), lower_by_t: share(lower_by_t) }
}

/// How often a difference is called shown though there is none; `naive` passes over the clusters.
fn false_alarms(design: &Design, deviations: (f64, f64), rounds: u32, naive: bool) -> f64 {
    let mut random = SplitMix64::new(SEED);
    let [ours, theirs] = [deviations.0, deviations.1].map(|deviation| Scores { mean: 85.0, deviation });
    let mut alarms = 0;
    for round in 0..rounds {
        let (candidate, baseline) = (design.draw(ours, &mut random), design.draw(theirs, &mut random));
        let differences = candidate.values().iter().zip(baseline.values()).map(|(ours, theirs)| ours - theirs);
        let names = design.names();
        let clustered = Clustered::new(
            differences.zip(&names).map(|(value, name)| (value, (!naive).then_some(name.as_str()))),
        );
        let test = PairedTest::of(&clustered.unwrap(), u64::from(round)).unwrap();
        alarms += u32::from(test.p_value < 0.05);
    }
    f64::from(alarms) / f64::from(rounds)
}

#[test]
fn the_lower_bound_covers_the_mean_of_skewed_scores_in_94_of_100_cases() {
    for (deviation, size) in [(12.0, 20), (12.0, 30), (16.0, 20), (16.0, 30)] {
        let scores = Scores { mean: 85.0, deviation };
        let share = coverage(scores, &Design::alone(size), 10_000, 500).lower;
        assert!(share >= 0.94, "seed {SEED}, deviation {deviation}, n = {size}: holds in {share} of the cases");
    }
}

#[test]
fn the_lower_bound_covers_the_mean_of_scores_in_clusters() {
    let scores = Scores { mean: 85.0, deviation: 12.0 };
    for design in [Design::even(20, 3, 0.7), Design::uneven(20, 0.7)] {
        let share = coverage(scores, &design, 4_000, 500).lower;
        assert!(share >= 0.93, "seed {SEED}, {design:?}: holds in {share} of the cases");
    }
}

#[test]
fn a_comparison_raises_a_false_alarm_in_at_most_6_of_100_cases() {
    let design = Design::even(12, 4, 0.7);
    let share = false_alarms(&design, (12.0, 12.0), 1_500, false);
    assert!(share <= 0.06, "seed {SEED}, {design:?}: false alarm in {share} of the cases");
    // The clusters are what keeps it so.
    let naive = false_alarms(&design, (12.0, 12.0), 300, true);
    assert!(naive > 0.2, "seed {SEED}: without clusters a false alarm in {naive} of the cases");
}

#[test]
#[ignore = "takes minutes: make statistics"]
fn long_coverage_of_the_bounds() {
    println!("seed {SEED}, 40,000 rounds of 1,000 resamples, one-sided 95 % bounds");
    println!("| scores | samples | ICC | lower bound | upper bound | lower bound by t |");
    println!("|---|---|---|---|---|---|");
    let designs = |deviation: f64| {
        let alone = [20, 30, 50].map(Design::alone);
        let even = [(8, 4), (12, 4), (20, 3)].map(|(clusters, size)| Design::even(clusters, size, 0.7));
        let mut designs: Vec<_> = alone.into_iter().chain(even).collect();
        designs.push(Design::uneven(20, 0.7));
        designs.into_iter().map(move |design| (deviation, design))
    };
    for (deviation, design) in [12.0, 16.0].into_iter().flat_map(designs) {
        let scores = Scores { mean: 85.0, deviation };
        let found = coverage(scores, &design, 40_000, 1_000);
        println!(
            "| mean 85, deviation {deviation} | {design} | {:.1} | {:.1} % | {:.1} % | {:.1} % |",
            design.likeness,
            100.0 * found.lower,
            100.0 * found.upper,
            100.0 * found.lower_by_t
        );
        let least = if design.is_alone() { 0.94 } else { 0.93 };
        assert!(found.lower >= least, "{design:?}, deviation {deviation}: {}", found.lower);
    }
}

#[test]
#[ignore = "takes minutes: make statistics"]
fn long_false_alarms_of_comparisons() {
    println!("seed {SEED}, 10,000 rounds, no true difference, two-sided level 5 %");
    println!("| scores | samples | ICC | false alarms | without clusters |");
    println!("|---|---|---|---|---|");
    // Scores that scatter differently give skewed differences.
    for deviations in [(12.0, 12.0), (16.0, 16.0), (16.0, 12.0)] {
        let designs = [
            Design::alone(20),
            Design::alone(50),
            Design::even(6, 5, 0.7),
            Design::even(12, 4, 0.7),
            Design::even(20, 5, 0.7),
            Design::uneven(20, 0.7),
        ];
        for design in designs {
            let clustered = false_alarms(&design, deviations, 10_000, false);
            let naive = false_alarms(&design, deviations, 2_000, true);
            println!(
                "| mean 85, deviations {} and {} | {design} | {:.1} | {:.1} % | {:.1} % |",
                deviations.0,
                deviations.1,
                design.likeness,
                100.0 * clustered,
                100.0 * naive
            );
            assert!(clustered <= 0.06, "{design:?}, deviations {deviations:?}: {clustered}");
        }
    }
}
