//! EndTxn: what its answers say, lost ones, and coordinators that move.

use kafka_protocol::messages::{
    EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProduceRequest,
};
use kavka_core::Duration;
use kavka_tests::script::{Requested, Script};

use crate::steps::{
    ADDED, IMPLICIT, abort, begin, commit, end, events, give_id, ready, sent, sent_added,
};

/// Returns a commit that has reached the coordinator.
fn committing(level: i16) -> (Script, kavka_core::TopicId, Requested<EndTxnRequest>) {
    let (mut s, t) = ready(level);
    if level == IMPLICIT {
        sent(&mut s, t)
    } else {
        sent_added(&mut s, t)
    }
    commit(&mut s);
    let asked = s.expect::<EndTxnRequest>();
    assert!(asked.body.committed);
    (s, t, asked)
}

#[test]
fn a_refusal_at_the_first_try_says_that_nothing_is_committed() {
    for level in [ADDED, IMPLICIT] {
        for code in [47, 90, 48] {
            let (mut s, _, asked) = committing(level);
            end(&mut s, &asked, code);
            assert_eq!(events(&mut s), [format!("not committed: ended {code}")]);
        }
    }
}

#[test]
fn a_refusal_after_a_lost_answer_says_nothing() {
    for level in [ADDED, IMPLICIT] {
        for code in [47, 90, 48] {
            let (mut s, _, asked) = committing(level);
            s.cut(asked.conn);
            let again = s.expect::<EndTxnRequest>();
            assert!(again.body.committed);
            assert_eq!(again.body.producer_epoch, 5);
            end(&mut s, &again, code);
            assert_eq!(events(&mut s), [format!("unknown: ended {code}")]);
        }
    }
}

#[test]
fn an_answer_that_says_nothing_counts_as_lost() {
    let (mut s, _, asked) = committing(IMPLICIT);
    end(&mut s, &asked, -1);
    let again = s.expect::<EndTxnRequest>();
    end(&mut s, &again, 48);
    assert_eq!(events(&mut s), ["unknown: ended 48"]);
}

/// A coordinator that gives up its office, or a time limit, may have written the end.
#[test]
fn a_refusal_by_the_next_coordinator_says_nothing_either() {
    for code in [7, 15, 16] {
        let (mut s, _, asked) = committing(IMPLICIT);
        end(&mut s, &asked, code);
        let again = s.expect::<EndTxnRequest>();
        end(&mut s, &again, 47);
        assert_eq!(events(&mut s), ["unknown: ended 47"], "after {code}");
    }
}

#[test]
fn a_commit_is_repeated_until_a_response_has_its_end() {
    for level in [ADDED, IMPLICIT] {
        let (mut s, t, asked) = committing(level);
        s.cut(asked.conn);
        for code in [51, 14, 16, 15, 7, 51] {
            let again = s.expect::<EndTxnRequest>();
            assert!(again.body.committed);
            end(&mut s, &again, code);
            assert_eq!(events(&mut s), [""; 0], "{code}");
            assert!(s.try_produce(t, 0, "b").is_err(), "it might join the transaction");
        }
        let again = s.expect::<EndTxnRequest>();
        end(&mut s, &again, 0);
        assert_eq!(events(&mut s), ["committed"]);
    }
}

/// librdkafka#4016: it would end a transaction that may be committed.
#[test]
fn x3_an_abort_after_a_commit_is_refused() {
    let (mut s, _, asked) = committing(IMPLICIT);
    s.cut(asked.conn);
    let now = s.now();
    assert!(s.client.abort_transaction(now).is_err());
    let again = s.expect::<EndTxnRequest>();
    assert!(again.body.committed);
    assert!(s.client.begin(now).is_err(), "its end is not known");
    end(&mut s, &again, 0);
    assert_eq!(events(&mut s), ["committed"]);
}

#[test]
fn a_coordinator_that_moves_is_looked_up_again() {
    let (mut s, _, asked) = committing(IMPLICIT);
    assert_eq!(asked.node, 2);
    s.world.coordinator = Some(1);
    end(&mut s, &asked, 16);
    let again = s.expect::<EndTxnRequest>();
    assert_eq!(again.node, 1);
    end(&mut s, &again, 0);
    assert_eq!(events(&mut s), ["committed"]);
    s.none::<FindCoordinatorRequest>("it was answered");
}

#[test]
fn a_coordinator_that_dies_is_looked_up_again() {
    let (mut s, _, _) = committing(IMPLICIT);
    s.world.coordinator = Some(1);
    s.kill(2);
    let again = s.expect::<EndTxnRequest>();
    assert_eq!(again.node, 1);
    end(&mut s, &again, 0);
    assert_eq!(events(&mut s), ["committed"]);
}

#[test]
fn an_abortable_refusal_of_a_commit_aborts() {
    let (mut s, _, asked) = committing(IMPLICIT);
    end(&mut s, &asked, 120);
    let again = s.expect::<EndTxnRequest>();
    assert!(!again.body.committed, "never a silent commit");
    end(&mut s, &again, 0);
    assert_eq!(events(&mut s), ["not committed: refused 120"]);
}

#[test]
fn whether_the_id_is_still_ours_is_asked_once() {
    for (code, begins) in [(0, true), (90, false), (47, false)] {
        let (mut s, t, asked) = committing(IMPLICIT);
        end(&mut s, &asked, 90);
        assert_eq!(events(&mut s), ["not committed: ended 90"]);
        let init = s.expect::<InitProducerIdRequest>();
        assert_eq!((init.body.producer_id.0, init.body.producer_epoch), (1000, 5));
        give_id(&mut s, &init, code, 7);
        s.run(Duration::from_secs(10));
        s.none::<InitProducerIdRequest>("two producers would fence each other in turn");
        let now = s.now();
        assert_eq!(s.client.begin(now).is_ok(), begins, "{code}");
        if begins {
            s.produce(t, 0, "b");
            let produce = s.expect::<ProduceRequest>();
            let header = s.batches(&produce)[0].header;
            assert_eq!((header.producer_epoch, header.base_sequence), (7, 0));
        }
    }
}

#[test]
fn an_abort_that_is_refused_is_one_nevertheless() {
    for code in [47, 90, 48] {
        let (mut s, t) = ready(IMPLICIT);
        sent(&mut s, t);
        abort(&mut s);
        let asked = s.expect::<EndTxnRequest>();
        assert!(!asked.body.committed);
        end(&mut s, &asked, code);
        assert_eq!(events(&mut s), ["aborted"]);
        let init = s.expect::<InitProducerIdRequest>();
        assert_eq!(init.body.producer_epoch, 5);
    }
}

#[test]
fn an_end_without_any_answer_is_given_up_and_not_guessed() {
    let (mut s, _, asked) = committing(IMPLICIT);
    let began = s.now();
    end(&mut s, &asked, -1);
    let said = loop {
        s.run(Duration::from_millis(500));
        while let Some(again) = s.take::<EndTxnRequest>() {
            end(&mut s, &again, -1);
        }
        let said = events(&mut s);
        if !said.is_empty() {
            break said;
        }
        assert!(began.until(s.now()) < Duration::from_secs(200));
    };
    assert_eq!(said, ["unknown: TimedOut"]);
    assert!(began.until(s.now()) > Duration::from_secs(110));
    s.expect::<InitProducerIdRequest>();
}

#[test]
fn a_commit_that_could_not_be_requested_is_not_one() {
    let (mut s, t) = ready(IMPLICIT);
    sent(&mut s, t);
    s.world.coordinator = None;
    s.kill(2);
    commit(&mut s);
    s.run(Duration::from_secs(130));
    assert_eq!(events(&mut s), ["not committed: TimedOut"]);
}

#[test]
fn refusals_that_do_not_pass_end_the_producer() {
    for (code, outcome) in [
        (49, "not committed: refused 49"),
        (53, "not committed: refused 53"),
        (42, "unknown: refused 42"),
    ] {
        let (mut s, _, asked) = committing(IMPLICIT);
        end(&mut s, &asked, code);
        assert_eq!(events(&mut s), [outcome]);
        let now = s.now();
        assert!(s.client.begin(now).is_err());
    }
}

#[test]
fn an_end_with_another_producer_id_is_taken_over() {
    // The epoch is used up: kafka#18758.
    use kafka_protocol::messages::{EndTxnResponse, ProducerId};
    let (mut s, t, asked) = committing(IMPLICIT);
    let body = EndTxnResponse::default().with_producer_id(ProducerId(2000)).with_producer_epoch(0);
    s.respond(&asked, body);
    assert_eq!(events(&mut s), ["committed"]);
    begin(&mut s);
    s.produce(t, 0, "b");
    let produce = s.expect::<ProduceRequest>();
    let header = s.batches(&produce)[0].header;
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (2000, 0, 0));
}
