//! The order of each key while the topic grows under load (`--policy`): several producers that
//! share their keys, brokers that are killed in between, readers that note what they see. What
//! counts is the order of a producer's records of a key: in the logs, by the time of appending, and
//! at the readers.

mod book;
mod brokers;
mod figures;

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use kavka_std::{
    Admin, Config, Consumer, Delivered, Event, Events, KeyOrder, NewTopic, OrderedGrowth, Pending,
    Producer, Record, Start,
};

use crate::options::Options;
use crate::watch::TICK;
use book::{Book, TAG, Tag};
use brokers::Brokers;
use figures::Figures;

type Failure = Box<dyn core::error::Error>;

/// A topic that is doubled has no more partitions than this: then another one is used.
const MOST: u32 = 64;
/// A broker is killed after every so many growths, and stays away for this long.
const KILLS: u32 = 4;
const AWAY: Duration = Duration::from_secs(3);
/// Longest time for everything to be acknowledged and read in the end.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often members commit.
const COMMITS: Duration = Duration::from_secs(1);

/// Runs it and prints what was found; whether all records were read once and in order.
///
/// # Errors
/// The reason, as text for people, why it cannot run.
pub(crate) fn run(options: &Options, seed: u64) -> Result<bool, Failure> {
    let brokers = Brokers::start(options)?;
    let policy = options.order();
    println!("kavka drill · {} · seed {seed} · {policy:?}", brokers.text());
    let mut figures = Figures::default();
    let mut rng = Rng::with_seed(seed);
    while figures.growths < options.growths() {
        let topic = format!("drill-{:016x}", fastrand::u64(..));
        let round = Round {
            options,
            brokers: &brokers,
            topic: &topic,
            book: Book::new(options.producers, options.keys),
            over: AtomicBool::new(false),
            read: AtomicBool::new(false),
        };
        round.run(&mut rng, &mut figures)?;
        round.book.add_to(&mut figures);
    }
    figures.print(policy);
    Ok(figures.is_good(options))
}

/// One topic.
struct Round<'a> {
    options: &'a Options,
    brokers: &'a Brokers,
    topic: &'a str,
    book: Book,
    /// Producers end; readers, when everything is read.
    over: AtomicBool,
    read: AtomicBool,
}

/// A record that was sent, and when.
type Sent = (Pending<Delivered>, Instant);

impl Round<'_> {
    fn config(&self, name: &str) -> Config {
        Config::new(self.brokers.bootstrap()).client_id(name)
    }

    fn run(&self, rng: &mut Rng, figures: &mut Figures) -> Result<(), Failure> {
        let admin = Admin::new(self.config("drill-admin"))?;
        let mut count = self.options.partitions;
        let topic = NewTopic::new(self.topic, i32::try_from(count)?, 3);
        let topic = match self.brokers.is_real() {
            true => topic.config("message.timestamp.type", "LogAppendTime"),
            false => topic,
        };
        admin.create_topic(topic).wait()?;
        self.brokers.await_count(self.topic, count)?;
        thread::scope(|scope| {
            let ending = Ending(self);
            for member in 1..=self.options.members {
                let consumer = self.reader(member)?;
                let events = consumer.events();
                scope.spawn(move || self.read(consumer));
                scope.spawn(move || self.watch_reader(&events));
            }
            // All of them are there before the first growth.
            thread::sleep(Duration::from_secs(if self.options.group.is_some() { 5 } else { 1 }));
            for name in 0..self.options.producers {
                let config = self.config(&format!("drill-{name}")).key_order(self.options.order());
                let producer = Producer::new(config)?;
                let events = producer.events();
                let (to, sent) = channel();
                scope.spawn(move || self.write(&producer, name, &to));
                scope.spawn(move || self.acknowledge(&sent));
                scope.spawn(move || self.watch_producer(name, &events));
            }
            thread::sleep(Duration::from_secs(1));
            while figures.growths < self.options.growths() {
                let to = match self.options.double {
                    true => count * 2,
                    false => count + rng.u32(1..=3),
                };
                if self.options.double && to > MOST {
                    break;
                }
                admin.create_partitions(self.topic, i32::try_from(to)?).wait()?;
                self.book.grown();
                (count, figures.growths) = (to, figures.growths + 1);
                thread::sleep(Duration::from_millis(rng.u64(1000..2000)));
                if figures.growths.is_multiple_of(KILLS) {
                    let broker = 1 + figures.growths / KILLS % 3;
                    self.brokers.kill(broker)?;
                    figures.kills += 1;
                    thread::sleep(AWAY);
                    self.brokers.restart(broker, self.topic)?;
                }
            }
            thread::sleep(Duration::from_secs(1));
            self.over.store(true, Ordering::Release);
            self.book.wait(PATIENCE);
            drop(ending);
            Ok(())
        })
    }

    fn reader(&self, member: u32) -> Result<Consumer, Failure> {
        let mut config = self.config(&format!("drill-reader-{member}")).start(Start::Earliest);
        if let Some(seconds) = self.options.ordered_growth {
            let (settle, limit) = (Duration::from_secs(seconds.into()), Duration::from_secs(60));
            config = config.ordered_growth(OrderedGrowth::new(settle, limit));
        }
        Ok(match self.options.group {
            None => Consumer::assign_all(config, &[self.topic])?,
            Some(group) => {
                let config = group.apply(config.group(self.topic)).auto_commit(Some(COMMITS));
                Consumer::subscribe(config, &[self.topic])?
            }
        })
    }

    fn read(&self, consumer: Consumer) {
        while !self.read.load(Ordering::Acquire) {
            match consumer.next_timeout(TICK) {
                Ok(Some(chunk)) => self.book.read(&chunk),
                Ok(None) => {}
                Err(error) => {
                    eprintln!("drill: reader: {error}");
                    thread::sleep(TICK);
                }
            }
        }
        let _ = consumer.close(Duration::from_secs(5));
    }

    fn watch_reader(&self, events: &Events) {
        while !self.read.load(Ordering::Acquire) {
            if let Some(Event::GrowthRead { waited, ordered, partitions, .. }) =
                events.next_timeout(TICK)
            {
                self.book.released(partitions, waited, ordered);
            }
        }
    }

    /// Sends this producer's share of the load.
    fn write(&self, producer: &Producer, name: u32, to: &Sender<Sent>) {
        let rate = f64::from(self.options.rate) / f64::from(self.options.producers);
        let keys: Vec<String> = (0..self.options.keys).map(|key| format!("key-{key}")).collect();
        let mut turns = vec![0; keys.len()];
        let (began, mut count) = (Instant::now(), 0_u64);
        while !self.over.load(Ordering::Acquire) {
            let due = (began.elapsed().as_secs_f64() * rate) as u64;
            while count < due && !self.over.load(Ordering::Acquire) {
                let key = (count.wrapping_mul(7919) % keys.len() as u64) as usize;
                let tag = Tag { producer: name, key: key as u32, turn: turns[key] };
                let value = tag.value((self.options.size as usize).max(TAG));
                let record = Record::new(&value).key(keys[key].as_bytes());
                // What a full producer holds up is late, too.
                let at = began + Duration::from_secs_f64(count as f64 / rate);
                match producer.send(self.topic, &record) {
                    Ok(pending) => {
                        self.book.sent();
                        let _ = to.send((pending, at));
                    }
                    Err(error) => return eprintln!("drill: producer {name}: {error}"),
                }
                (turns[key], count) = (turns[key] + 1, count + 1);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for acknowledgements in the order of sending: one that follows a slower one counts as
    /// slow as that.
    fn acknowledge(&self, sent: &Receiver<Sent>) {
        while let Ok((pending, at)) = sent.recv() {
            let result = pending.wait();
            self.book.settled(at, result.map(|_| ()).map_err(|error| error.to_string()));
        }
    }

    fn watch_producer(&self, name: u32, events: &Events) {
        while !self.read.load(Ordering::Acquire) {
            match events.next_timeout(TICK) {
                Some(Event::PartitionsAdded { .. }) => self.book.noticed(name),
                Some(Event::Drained { settled, .. }) => self.book.drained(name, settled),
                _ => {}
            }
        }
    }
}

/// Ends the threads of a round when dropped, whatever ended it.
struct Ending<'a, 'b>(&'a Round<'b>);

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        self.0.read.store(true, Ordering::Release);
    }
}

impl Options {
    fn order(&self) -> KeyOrder {
        self.policy.map_or(KeyOrder::Follow, |policy| policy.order(self.partitions))
    }
}
