//! Callers that give up waiting leave nothing allocated.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use kavka_std::{Admin, Consumer, Pending, Producer, Record};

use super::{LONG, config, reported, server};

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

/// Returns the handles of its waker that remain after a result was waited for and given up; `None`
/// when the result is ready.
fn try_left_of<T>(pending: Pending<T>) -> Option<usize> {
    let kept = Arc::new(Nothing);
    let waker = Waker::from(kept.clone());
    {
        let mut pending = pin!(pending);
        let polled = pending.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            return None;
        }
        assert!(Arc::strong_count(&kept) > 2, "it waits");
    }
    drop(waker);
    Some(Arc::strong_count(&kept) - 1)
}

/// Returns the same for a result that takes long.
#[track_caller]
fn left_of<T>(pending: Pending<T>) -> usize {
    try_left_of(pending).expect("this result was to be a long time coming")
}

#[test]
fn wakers_are_gone_with_those_who_gave_up() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let config = config(&server).queue_bytes(2000).chunk_bytes(500);
    let consumer = Consumer::assign_all(config.clone(), &["t"]).unwrap();
    let producer = Producer::new(config.clone()).unwrap();
    reported(producer.freshness("t")).unwrap();
    server.pause(1);
    // Nothing leaves the machine, and then nothing leaves the queue.
    let record = Record::new(&[7; 500]);
    let until = Instant::now() + LONG;
    let left = [|p: &Producer| p.room(), |p: &Producer| p.room_for("t")].map(|wait| {
        loop {
            while producer.try_send("t", &record).is_ok() {}
            if let Some(left) = try_left_of(wait(&producer)) {
                break left;
            }
            assert!(Instant::now() < until, "there is always room");
        }
    });
    assert_eq!(left, [0, 0], "room, and that of a topic");
    let events = consumer.events();
    let left = loop {
        while events.try_next().is_some() {}
        // The last ones from before the pause may still be in flight.
        if let Some(left) = try_left_of(events.next()) {
            break left;
        }
        assert!(Instant::now() < until, "there is always an event");
    };
    assert_eq!(left, 0, "events");
    let admin = Admin::new(config).unwrap();
    assert_eq!(left_of(producer.flush()), 0, "flush");
    assert_eq!(left_of(producer.freshness("v")), 0, "freshness");
    assert_eq!(left_of(consumer.next()), 0, "next");
    assert_eq!(left_of(admin.list_topics()), 0, "list_topics");
    server.resume(1);
    reported(producer.room()).unwrap();
}

#[test]
fn the_outcome_of_a_record_forgets_who_gave_up() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    reported(producer.freshness("t")).unwrap();
    server.pause(1);
    let pending: Vec<_> = (0..3).map(|_| producer.send("t", &Record::new(b"v")).unwrap()).collect();
    let mut pending = pending.into_iter();
    let first = pending.next().unwrap();
    for other in pending {
        assert_eq!(left_of(other), 0);
    }
    server.resume(1);
    reported(first).unwrap();
}
