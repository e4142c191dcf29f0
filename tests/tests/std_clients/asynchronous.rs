//! In an executor: nothing blocks it, and the examples run.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use kavka_std::{Consumer, ErrorKind, ProduceError, Producer, Record, Start};

use super::{LONG, config, reported, server};

#[allow(dead_code, reason = "an example has a main of its own")]
#[path = "../../../io-std/examples/tokio.rs"]
mod tokio_example;

#[allow(dead_code, reason = "an example has a main of its own")]
#[path = "../../../io-std/examples/block_on.rs"]
pub(super) mod block_on_example;

/// Creates an executor of one thread: whatever blocks it blocks its timers.
fn executor() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn the_examples_run() {
    let server = server(1);
    server.create_topic("t", 2).unwrap();
    server.create_topic("u", 1).unwrap();
    let bootstrap = server.bootstrap();
    let read = executor().block_on(tokio_example::run(&bootstrap, "t", 500)).unwrap();
    assert_eq!(read, 500);
    assert_eq!(block_on_example::run(&bootstrap, "u").unwrap(), Some(1));
}

#[test]
fn timers_run_on_while_the_queue_is_full() {
    const TICKS: u32 = 20;
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server).queue_bytes(2000).chunk_bytes(500)).unwrap();
    reported(producer.freshness("t")).unwrap();
    server.pause(1);
    let (sent, full) = executor().block_on(async {
        let waits = Mutex::new(false);
        let senders = async {
            let record = Record::new(&[7; 500]);
            for n in 0..2000_u32 {
                let mut send = Box::pin(producer.send_async("t", &record));
                let result = poll_fn(|cx| {
                    let polled = send.as_mut().poll(cx);
                    *waits.lock().unwrap() = polled.is_pending();
                    polled
                });
                result.await.unwrap();
                drop(send);
                if n % 50 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            2000
        };
        let ticks = async {
            let mut full = 0;
            while full < TICKS {
                tokio::time::sleep(Duration::from_millis(5)).await;
                full = if *waits.lock().unwrap() { full + 1 } else { 0 };
            }
            server.resume(1);
            full
        };
        tokio::time::timeout(LONG, async { tokio::join!(senders, ticks) }).await.unwrap()
    });
    assert_eq!((sent, full), (2000, TICKS));
    reported(producer.flush()).unwrap();
    assert_eq!(server.log_len("t", 0), 2000);
}

/// Where there is space it is ready at the first poll.
#[test]
fn an_awaited_send_costs_nothing_where_there_is_room() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    reported(producer.freshness("t")).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let record = Record::new(b"v");
    for _ in 0..100 {
        let mut send = std::pin::pin!(producer.send_async("t", &record));
        assert!(matches!(send.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    }
    reported(producer.flush()).unwrap();
    assert_eq!(server.log_len("t", 0), 100);
}

#[test]
fn a_send_that_is_dropped_while_it_waits_sends_nothing() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server).queue_bytes(1).chunk_bytes(500)).unwrap();
    reported(producer.freshness("t")).unwrap();
    server.pause(1);
    let record = Record::new(&[7; 5000]);
    let mut taken = 0;
    let mut cx = Context::from_waker(Waker::noop());
    // Until the machine has no space, either.
    while let Ok(Ok(())) = producer.room().wait_timeout(Duration::from_millis(300)) {
        taken += i64::from(producer.try_send("t", &record).is_ok());
        assert!(taken < 600, "it never says Full");
    }
    {
        let mut send = std::pin::pin!(producer.send_async("t", &record));
        assert!(send.as_mut().poll(&mut cx).is_pending());
    }
    server.resume(1);
    reported(producer.flush()).unwrap();
    assert_eq!(server.log_len("t", 0), taken);
}

#[test]
fn closing_blocks_no_executor_and_a_drop_after_it_is_instant() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    reported(producer.send("t", &Record::new(b"kept")).unwrap()).unwrap();
    server.pause(1);
    let waiting = producer.send("t", &Record::new(b"lost")).unwrap();
    executor().block_on(async {
        let mut closing = producer.close(Duration::from_millis(200));
        let mut ticks = 0;
        let lost = loop {
            tokio::select! {
                lost = &mut closing => break lost.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(5)) => ticks += 1,
            }
        };
        assert!(ticks > 5, "{ticks} ticks of 5 ms within 200 ms");
        assert!(closing.is_terminated());
        assert_eq!(lost.records(), 1, "{lost}");
    });
    assert_eq!(reported(waiting).unwrap_err().kind(), ErrorKind::Closed);
    let refused = producer.send("t", &Record::new(b"late")).map(drop).unwrap_err();
    assert!(matches!(refused, ProduceError::Refused(_)), "{refused}");
    assert_eq!(reported(producer.close(LONG)).unwrap_err().kind(), ErrorKind::Closed);
    let begun = Instant::now();
    drop(producer);
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    server.resume(1);
}

#[test]
fn what_a_forgotten_close_lost_goes_to_on_lost() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let (report, heard) = std::sync::mpsc::channel();
    let report = Mutex::new(report);
    let config = config(&server).close_timeout(LONG);
    let config = config.on_lost(move |lost| report.lock().unwrap().send(lost.records()).unwrap());
    let producer = Producer::new(config).unwrap();
    reported(producer.freshness("t")).unwrap();
    server.pause(1);
    drop(producer.send("t", &Record::new(b"lost")).unwrap());
    drop(producer.close(Duration::from_millis(100)));
    drop(producer); // at once, although its own limit is a minute
    assert_eq!(heard.recv_timeout(LONG), Ok(1));
    server.resume(1);
}

#[test]
fn chunks_and_events_are_streams_that_end_with_their_client() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(config(&server)).unwrap();
    for _ in 0..3 {
        reported(producer.send("t", &Record::new(b"v")).unwrap()).unwrap();
    }
    let config = config(&server).start(Start::Earliest);
    let consumer = Consumer::assign_all(config, &["t"]).unwrap();
    let (mut chunks, mut events) = (consumer.stream(), consumer.events().stream());
    executor().block_on(async {
        let mut read = 0;
        while read < 3 {
            let chunk = next(&mut chunks).await.expect("more").unwrap();
            read += chunk.records().count();
        }
        assert!(next(&mut events).await.expect("more").is_ok());
        drop(consumer);
        assert!(next(&mut chunks).await.is_none());
        assert!(next(&mut chunks).await.is_none(), "it is fused");
        while let Some(event) = next(&mut events).await {
            event.unwrap();
        }
    });
}

async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    let next = poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx));
    tokio::time::timeout(LONG, next).await.expect("in time")
}

#[test]
fn a_producer_that_is_shared_can_be_closed() {
    let server = server(1);
    server.create_topic("t", 1).unwrap();
    let producer = Arc::new(Producer::new(config(&server)).unwrap());
    let other = producer.clone();
    reported(other.send("t", &Record::new(b"v")).unwrap()).unwrap();
    assert!(reported(producer.close(LONG)).unwrap().is_empty());
    assert_eq!(server.log_len("t", 0), 1);
}
