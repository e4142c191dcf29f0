//! Those who give up waiting leave nothing behind.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use kavka_std::{Admin, Consumer, Pending, ProduceError, Producer, Record};

use super::{config, server, told};

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

/// Handles of its waker that are left after a result was waited for and given up.
fn left_of<T>(pending: Pending<T>) -> usize {
    let kept = Arc::new(Nothing);
    let waker = Waker::from(kept.clone());
    {
        let mut pending = pin!(pending);
        let polled = pending.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "this result was to be a long time coming");
        assert!(Arc::strong_count(&kept) > 2, "it waits");
    }
    drop(waker);
    Arc::strong_count(&kept) - 1
}

#[test]
fn wakers_are_gone_with_those_who_gave_up() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let config = config(&server).queue_bytes(2000).chunk_bytes(500);
    let consumer = Consumer::assign_all(config.clone(), &["t"]).unwrap();
    let producer = Producer::new(config.clone()).unwrap();
    told(producer.freshness("t")).unwrap();
    server.pause(1);
    // Nothing leaves the machine, and then the queue.
    let record = Record::new(&[7; 500]);
    while !matches!(producer.try_send("t", &record), Err(ProduceError::Full))
        || producer.room().wait_timeout(Duration::from_millis(300)).is_ok()
    {}
    let parked = producer.room_for("u");
    let events = consumer.events();
    while events.try_next().is_some() {}
    let admin = Admin::new(config).unwrap();
    assert_eq!(left_of(producer.room()), 0, "room");
    assert_eq!(left_of(parked), 0, "room of a topic");
    assert_eq!(left_of(producer.flush()), 0, "flush");
    assert_eq!(left_of(producer.freshness("v")), 0, "freshness");
    assert_eq!(left_of(consumer.next()), 0, "next");
    assert_eq!(left_of(events.next()), 0, "events");
    assert_eq!(left_of(admin.list_topics()), 0, "list_topics");
    server.resume(1);
    told(producer.room()).unwrap();
}

#[test]
fn the_outcome_of_a_record_forgets_who_gave_up() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    told(producer.freshness("t")).unwrap();
    server.pause(1);
    let pending: Vec<_> = (0..3).map(|_| producer.send("t", &Record::new(b"v")).unwrap()).collect();
    let mut pending = pending.into_iter();
    let first = pending.next().unwrap();
    for other in pending {
        assert_eq!(left_of(other), 0);
    }
    server.resume(1);
    told(first).unwrap();
}
