//! Futures without a runtime: an executor of fifteen lines, and `wait` for a result alone.
//!
//! `cargo run -p kavka-std --example block_on -- localhost:9092 readings`
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use kavka_std::{Config, Producer, Record};

type Failure = Box<dyn std::error::Error>;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future on this thread until it is ready.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

/// Sends two records; the offset of the second.
pub(crate) fn run(bootstrap: &str, topic: &str) -> Result<Option<i64>, Failure> {
    let producer = Producer::new(Config::new(bootstrap))?;
    let first = block_on(async {
        let pending = producer.send_to_async(topic, 0, &Record::new(b"awaited")).await?;
        Ok::<_, Failure>(pending.await?)
    })?;
    let second = producer.send_to(topic, 0, &Record::new(b"waited for"))?.wait()?;
    println!("offsets {:?} and {:?}", first.offset, second.offset);
    let lost = producer.close(Duration::from_secs(5)).wait()?;
    println!("lost: {}", lost.records());
    Ok(second.offset)
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "localhost:9092".into());
    let topic = args.next().unwrap_or_else(|| "readings".into());
    run(&bootstrap, &topic).map(drop)
}
