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

/// The producer's order, once and fate, and replicas that came back with another log.
#[test]
fn seeds_that_found_something_stay_good() {
    for seed in [554, 1136, 1486, 2198, 2731, 4166, 4385] {
        let plan = Plan::draw(seed);
        let outcome = run(&plan, false);
        assert!(outcome.findings.is_empty(), "{plan}\n{:#?}", outcome.findings);
    }
}
