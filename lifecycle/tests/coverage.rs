//! How often bounds and tests are right, on simulated scores: bounded, skewed to the left as judges give them, in clusters.
//!
//! The fast tests run with the others. `make statistics` runs the long ones, which print the tables of `docs/gate.md`.

#[cfg(test)]
#[path = "coverage/simulation.rs"]
mod simulation;

use simulation::{Design, SEED, Scores, coverage, false_alarms};

#[test]
fn the_lower_bound_covers_the_mean_of_skewed_scores_in_94_of_100_cases() {
    for (deviation, size) in [(12.0, 20), (12.0, 30), (16.0, 20), (16.0, 30)] {
        let scores = Scores { mean: 85.0, deviation };
        let share = coverage(scores, &Design::alone(size), 10_000, 500).lower;
        assert!(
            share >= 0.94,
            "seed {SEED}, deviation {deviation}, n = {size}: holds in {share} of the cases"
        );
    }
}

#[test]
fn the_lower_bound_covers_the_mean_of_scores_in_clusters() {
    let scores = Scores { mean: 85.0, deviation: 12.0 };
    for design in [Design::even(20, 3, 0.7), Design::uneven(20, 0.7)] {
        let share = coverage(scores, &design, 4_000, 500).lower;
        assert!(share >= 0.94, "seed {SEED}, {design:?}: holds in {share} of the cases");
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
    eprintln!("seed {SEED}, 40,000 rounds of 1,000 resamples, one-sided 95 % bounds");
    eprintln!("| scores | samples | ICC | lower bound | upper bound | lower bound by t |");
    eprintln!("|---|---|---|---|---|---|");
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
        eprintln!(
            "| mean 85, deviation {deviation} | {design} | {:.1} | {:.1} % | {:.1} % | {:.1} % |",
            design.likeness,
            100.0 * found.lower,
            100.0 * found.upper,
            100.0 * found.lower_by_t
        );
        assert!(found.lower >= 0.94, "{design:?}, deviation {deviation}: {}", found.lower);
    }
}

#[test]
#[ignore = "takes minutes: make statistics"]
fn long_false_alarms_of_comparisons() {
    eprintln!("seed {SEED}, 4,000 rounds, no true difference, two-sided level 5 %");
    eprintln!("| scores | samples | ICC | false alarms | without clusters |");
    eprintln!("|---|---|---|---|---|");
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
            let clustered = false_alarms(&design, deviations, 4_000, false);
            let naive = false_alarms(&design, deviations, 500, true);
            eprintln!(
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
