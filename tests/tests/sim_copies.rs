//! Exactly-once copies in simulated clusters with faults.

use kavka_tests::sim::copies;

/// Seeds 1 to 20, or to `KAVKA_SEEDS`.
fn seeds() -> core::ops::RangeInclusive<u64> {
    1..=std::env::var("KAVKA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

#[test]
fn a_copy_equals_what_was_committed_whatever_dies() {
    let (mut copied, mut committed, mut ended) = (0, 0, 0);
    for seed in seeds() {
        let summary = copies::run(seed);
        copied += summary.copied;
        committed += summary.committed;
        ended += summary.ended;
    }
    println!("{copied} copied in {committed} transactions, {ended} copiers ended");
    assert!(copied > 1000 && committed > 100, "{copied} in {committed}: the runs say little");
}
