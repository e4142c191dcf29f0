//! Order of keys while a topic grows, in virtual time; `KAVKA_SEEDS` runs more seeds.

use kavka_core::KeyOrder;
use kavka_tests::sim::keys::{Outcome, run};

fn seeds() -> u64 {
    std::env::var("KAVKA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

fn all(order: KeyOrder) -> Outcome {
    let mut all = Outcome::default();
    for seed in 1..=seeds() {
        let one = run(seed, order);
        all.written += one.written;
        all.growths += one.growths;
        all.reordered.extend(one.reordered);
    }
    let Outcome { written, growths, reordered } = &all;
    println!("{order:?}: {written} records, {growths} growths, {} reordered", reordered.len());
    all
}

#[test]
fn drained_keys_are_appended_in_their_order() {
    let found = all(KeyOrder::Drain);
    assert!(found.reordered.is_empty(), "{:#?}", &found.reordered[..1]);
    assert!(u64::from(found.growths) > seeds(), "{} growths", found.growths);
}

#[test]
fn pinned_keys_are_appended_in_their_order() {
    let found = all(KeyOrder::Pin(2));
    assert!(found.reordered.is_empty(), "{:#?}", &found.reordered[..1]);
}

/// What the other policies are for: the same runs show it where keys follow the growth.
#[test]
fn keys_that_follow_growth_are_reordered() {
    let found = all(KeyOrder::Follow);
    assert!(!found.reordered.is_empty(), "{} growths", found.growths);
}
