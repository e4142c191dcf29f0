//! The `rdkafka` crate, as its users use it: a thread that serves callbacks, one that consumes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::sample::{Figures, Latencies, Pace, Seen, number, read_number};
use crate::{PARTITIONS, Result, Task};

/// For everything that should come within milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// What callbacks write to.
struct Deliveries {
    state: Mutex<State>,
    more: Condvar,
}

struct State {
    latencies: Latencies,
    pace: Option<Pace>,
    /// Deliveries of what was sent beforehand, or is awaited one by one.
    others: u64,
    failed: Option<KafkaError>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// The record's number.
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, n: Box<u64>) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, state.pace) {
            (Err((error, _)), _) => state.failed = Some(error.clone()),
            (Ok(_), Some(pace)) if *n != u64::MAX => state.latencies.add(*n, pace.since(*n, now)),
            (Ok(_), _) => state.others += 1,
        }
        drop(state);
        self.more.notify_one();
    }
}

type Sender = BaseProducer<Deliveries>;

fn config(task: &Task<'_>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", task.bootstrap).set("socket.nagle.disable", "true");
    config
}

fn producer(task: &Task<'_>) -> Result<Sender> {
    let latencies = Latencies::new(task)?;
    let state = State { latencies, pace: None, others: 0, failed: None };
    let mut config = config(task);
    config.set("acks", "all").set("enable.idempotence", "true");
    if let Some(ms) = task.linger.0 {
        config.set("linger.ms", ms.to_string());
    }
    Ok(config.create_with_context(Deliveries { state: Mutex::new(state), more: Condvar::new() })?)
}

/// Waits for something that callbacks write; fails when a record did.
fn look<T>(producer: &Sender, mut of: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
    let context = producer.context();
    let mut state = context.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(error) = state.failed.take() {
            return Err(error.into());
        }
        if let Some(found) = of(&mut state) {
            return Ok(found);
        }
        let waited = context.more.wait_timeout(state, LIMIT);
        let (lock, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err("not all was acknowledged".into());
        }
        state = lock;
    }
}

/// Does something while a thread serves callbacks. Its `poll` returns after that time, whatever
/// came meanwhile.
fn served<T>(producer: &Sender, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                producer.poll(Duration::from_millis(100));
            }
        });
        let done = run();
        over.store(true, Ordering::Release);
        done
    })
}

fn give(producer: &Sender, record: BaseRecord<'_, (), [u8], Box<u64>>) -> Result<()> {
    let mut record = record;
    loop {
        record = match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => back,
            Err((error, _)) => return Err(error.into()),
        };
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a record, waits until it is acknowledged, and again.
pub(crate) fn await_each(task: &Task<'_>) -> Result<Figures> {
    let producer = producer(task)?;
    let value = vec![b'v'; task.size];
    let mut latencies = Latencies::new(task)?;
    served(&producer, || {
        for n in 0..task.records {
            let began = Instant::now();
            let record = BaseRecord::with_opaque_to(task.topic, Box::new(n)).payload(&value[..]);
            give(&producer, record)?;
            look(&producer, |state| (state.others > n).then_some(()))?;
            latencies.add(n, began.elapsed());
        }
        Ok(())
    })?;
    Ok(Figures::new(&latencies, None))
}

/// Sends at a fixed rate and consumes beside it.
pub(crate) fn pace(task: &Task<'_>) -> Result<Figures> {
    let producer = producer(task)?;
    let mut consumed = Latencies::new(task)?;
    let (seen, began) = (Seen::default(), Mutex::new(None));
    thread::scope(|scope| {
        let reading = scope.spawn(|| read(task, &seen, &began, &mut consumed));
        served(&producer, || run(task, &producer, &seen, &began))?;
        reading.join().map_err(|_| "the consumer panicked")?
    })?;
    look(&producer, |state| Some(Figures::new(&state.latencies, Some(&consumed))))
}

fn run(task: &Task<'_>, producer: &Sender, seen: &Seen, began: &Mutex<Option<Pace>>) -> Result<()> {
    let mut value = vec![b'v'; task.size];
    for partition in 0..PARTITIONS {
        number(&mut value, u64::MAX);
        let record = BaseRecord::with_opaque_to(task.topic, Box::new(u64::MAX));
        give(producer, record.partition(partition as i32).payload(&value[..]))?;
    }
    seen.wait(PARTITIONS.into())?;
    let pace = Pace::new(task.rate);
    look(producer, |state| {
        state.pace = Some(pace);
        Some(())
    })?;
    *began.lock().unwrap_or_else(PoisonError::into_inner) = Some(pace);
    for n in 0..task.records {
        pace.wait(n);
        number(&mut value, n);
        give(producer, BaseRecord::with_opaque_to(task.topic, Box::new(n)).payload(&value[..]))?;
    }
    look(producer, |state| (state.latencies.records() >= task.records).then_some(()))
}

fn read(
    task: &Task<'_>,
    seen: &Seen,
    began: &Mutex<Option<Pace>>,
    into: &mut Latencies,
) -> Result<()> {
    let consumer: BaseConsumer =
        config(task).set("group.id", "latency").set("enable.auto.commit", "false").create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(task.topic, partition as i32, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    while into.records() < task.records {
        let message = consumer.poll(LIMIT).ok_or("no record came")??;
        let now = Instant::now();
        let pace = *began.lock().unwrap_or_else(PoisonError::into_inner);
        match (read_number(message.payload())?, pace) {
            (Some(n), Some(pace)) => into.add(n, pace.since(n, now)),
            _ => seen.add(),
        }
    }
    Ok(())
}
