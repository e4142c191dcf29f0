//! Readers of what is committed, in virtual time; `KAVKA_SEEDS` runs more seeds.

use kavka_tests::sim::committed::run;

#[test]
fn what_is_committed_is_read_once_and_nothing_else() {
    let most = std::env::var("KAVKA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let (mut written, mut aborted, mut read) = (0, 0, 0);
    for seed in 1..=most {
        let outcome = run(seed);
        (written, aborted) = (written + outcome.written, aborted + outcome.aborted);
        read += outcome.read;
    }
    println!("{most} seeds: {written} written, {aborted} transactions aborted, {read} read");
    assert!(aborted > most * 5 && read as u64 > written, "{written} {aborted} {read}");
}
