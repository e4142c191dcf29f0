//! Consumer groups in virtual time: seeds that found something once, and some more.

use kavka_tests::sim::groups::{Act, Plan, run};

fn check(seeds: impl IntoIterator<Item = u64>) {
    check_all(seeds.into_iter().map(Plan::draw));
}

fn check_all(plans: impl Iterator<Item = Plan>) {
    let mut read = 0;
    for plan in plans {
        let outcome = run(&plan, false);
        assert!(outcome.findings.is_empty(), "{plan}: {:#?}", outcome.findings);
        read += outcome.written;
    }
    assert!(read > 1000, "{read} records: the runs say little");
}

#[test]
fn nothing_is_skipped_and_no_partition_is_two_members() {
    check(1..21);
}

/// Members that come together at first contact: a marker that one has committed binds the others.
#[test]
fn first_contact_of_several_members_skips_nothing() {
    check([7, 25, 28, 29, 76, 201, 246, 257]);
}

/// A member that leaves while the epoch rises commits under the new one.
#[test]
fn what_was_read_is_committed_when_a_member_leaves() {
    check([12, 14, 32, 39]);
}

/// A start that was looked up for a seed is old when the partition comes later.
#[test]
fn a_seeded_partition_begins_at_the_commit_of_its_last_owner() {
    check([13, 33, 87]);
}

/// Members subscribe by regular expressions, and topics are created, grown and deleted meanwhile.
#[test]
fn topics_of_patterns_come_and_go_and_nothing_is_skipped() {
    check_all((1..11).map(Plan::draw_patterns));
}

/// Members of both protocols in one group, which is converted from one to the other: KIP-848
/// becomes available meanwhile, brokers are upgraded, members come back as the other kind.
#[test]
fn groups_of_both_protocols_are_converted_and_nothing_is_skipped() {
    check_all((1..400).map(Plan::draw).filter(Plan::is_mixed).take(8));
}

/// Two processes with one instance id: one of them ends and reports it.
#[test]
fn an_older_process_ends_when_its_instance_comes_back() {
    let has = |plan: &Plan| plan.has(Act::Replace) && !plan.is_mixed();
    check_all((1..400).map(Plan::draw).filter(has).take(6));
}

/// The leader of a classic group watches topics that only others subscribe to.
#[test]
fn topics_of_others_grow_and_nothing_is_skipped() {
    check_all((1..400).map(Plan::draw).filter(Plan::is_apart).take(6));
}

/// Two runs of a seed are the same.
#[test]
fn a_seed_decides_everything() {
    let hash = |seed| run(&Plan::draw(seed), false).hash;
    assert_eq!(hash(5), hash(5));
    assert_ne!(hash(5), hash(6));
}
