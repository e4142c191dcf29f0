//! Readers of keys while a topic grows, in virtual time; `KAVKA_SEEDS` runs more seeds.

use kavka_tests::sim::ordered::{Outcome, Readers, run};

fn seeds() -> u64 {
    std::env::var("KAVKA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(15)
}

fn all(readers: Readers, ordered: bool) -> Outcome {
    let mut all = Outcome::default();
    for seed in 1..=seeds() {
        let one = run(seed, readers, ordered);
        all.read += one.read;
        all.growths += one.growths;
        all.released += one.released;
        all.late += one.late;
        all.reordered.extend(one.reordered);
    }
    let Outcome { read, growths, released, late, reordered } = &all;
    println!(
        "{readers:?}, ordered {ordered}: {read} records, {growths} growths, {released} waits, \
         {late} late, {} reordered",
        reordered.len()
    );
    all
}

fn in_order(readers: Readers) {
    let found = all(readers, true);
    assert!(found.reordered.is_empty(), "{:#?}", &found.reordered[..1]);
    assert!(u64::from(found.released) > seeds() / 2, "{} waits", found.released);
    assert_eq!(found.late, 0, "waits that were given up");
}

#[test]
fn one_reader_sees_keys_in_order() {
    in_order(Readers::One);
}

#[test]
fn members_of_a_group_see_keys_in_order() {
    in_order(Readers::Consumer);
}

#[test]
fn members_of_a_classic_group_see_keys_in_order() {
    in_order(Readers::Classic);
}

/// What it is for: the same runs show it where partitions that were added are read at once.
#[test]
fn readers_that_hold_nothing_see_keys_out_of_order() {
    for readers in [Readers::One, Readers::Consumer, Readers::Classic] {
        let found = all(readers, false);
        assert!(!found.reordered.is_empty(), "{readers:?}: {} growths", found.growths);
    }
}
