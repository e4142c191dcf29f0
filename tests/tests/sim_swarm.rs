//! Runs that a seed decides, a few of them; `simulate` does many.

use kavka_tests::sim::swarm::{Plan, run};

#[test]
fn two_runs_of_a_seed_are_the_same() {
    for seed in [3, 11, 30] {
        let plan = Plan::draw(seed);
        let (first, second) = (run(&plan, false), run(&plan, false));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.findings, second.findings, "seed {seed}");
    }
    let [one, other] = [3, 11].map(|seed| run(&Plan::draw(seed), false).hash);
    assert_ne!(one, other, "seeds 3 and 11 are different runs");
}

#[test]
fn seeds_find_nothing_wrong() {
    for seed in 1..=10 {
        let plan = Plan::draw(seed);
        let outcome = run(&plan, false);
        assert!(outcome.findings.is_empty(), "{plan}\n{:#?}", outcome.findings);
        assert!(outcome.written > 0, "seed {seed}: nothing was written");
    }
}

/// Of the client: the producer's order, once and fate; positions of topics made again; requests for
/// more partitions than there are blocks for; a lone connection to a broker that is behind, and one
/// that leads elsewhere by now. Of the simulation: replicas that came back with another log,
/// retention while a reader begins, acknowledgements of one replica, logs of which a truncation
/// leaves different parts. Of the judge: sequences that a new log takes up in the middle.
#[test]
fn seeds_that_found_something_once_find_nothing_any_more() {
    let found = [
        24, 96, 208, 375, 554, 1136, 1250, 1326, 1486, 1557, 2085, 2111, 2198, 2345, 2612, 2731,
        4166, 4385, 4489, 5184, 5455, 7006, 9110, 9403, 10_031, 10_464, 28_249,
    ];
    for seed in found {
        let plan = Plan::draw(seed);
        let outcome = run(&plan, false);
        assert!(outcome.findings.is_empty(), "{plan}\n{:#?}", outcome.findings);
    }
}
