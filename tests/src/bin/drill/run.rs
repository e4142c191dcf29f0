//! A whole run, from starting the cluster to the last record.

use core::time::Duration;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use kavka_std::{Admin, Config, NewTopic, Producer, Start};
use kavka_tests::sim::{self, ApiKey, Server};

use crate::load::{Gate, Load, Note, acknowledge};
use crate::options::{Options, Reset};
use crate::readers::Readers;
use crate::secure::Security;
use crate::state::{Probes, Shared, State, Who};
use crate::watch;

type Failure = Box<dyn core::error::Error>;

/// Longest time for an admin request.
const ADMIN: Duration = Duration::from_secs(15);

/// A growth of the topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// Partitions before.
    pub(crate) from: u32,
    /// Partitions after.
    pub(crate) to: u32,
    /// When the response to CreatePartitions arrived.
    pub(crate) at: Instant,
    /// When traffic resumed: the same, or after the idle time.
    pub(crate) flowing: Instant,
}

/// The results of a run; the rest is in [`Shared`].
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The seed of the growths' times and sizes.
    pub(crate) seed: u64,
    /// The topic.
    pub(crate) topic: String,
    /// The cluster, as text for the report.
    pub(crate) cluster: String,
    /// All growths.
    pub(crate) growths: Vec<Growth>,
    /// From before the first growth to the end of the last.
    pub(crate) watched: Duration,
    /// What the watcher's probes cost in that time.
    pub(crate) probes: Probes,
    /// Bytes of DescribeTopicPartitions, of all clients together, as counted by the simulated
    /// brokers.
    pub(crate) all_probe_bytes: Option<u64>,
}

/// The brokers.
struct Brokers {
    bootstrap: String,
    simulated: Option<Server>,
    text: String,
    count: usize,
}

impl Brokers {
    fn start(
        options: &Options,
        admin: impl Fn(&str) -> Result<Admin, Failure>,
    ) -> Result<Self, Failure> {
        if let Some(bootstrap) = &options.bootstrap {
            let cluster = admin(bootstrap)?.cluster().wait()?;
            let count = cluster.brokers.len();
            let text =
                format!("{count} broker{} at {bootstrap}", if count == 1 { "" } else { "s" });
            return Ok(Self { bootstrap: bootstrap.clone(), simulated: None, text, count });
        }
        let settings = sim::Options {
            groups: options.group.map(|_| sim::Groups::default()),
            first_append_delay: Duration::from_millis(20),
            replication_delay: Duration::from_millis(1),
            ..sim::Options::default()
        };
        let server = Server::start(settings)?;
        // One broker is up to date; the others learn of changes later, as real ones do.
        server.with(|cluster| {
            cluster.set_lag(2, Duration::from_millis(20));
            cluster.set_lag(3, Duration::from_millis(50));
        });
        let text = "3 simulated brokers on loopback TCP".into();
        Ok(Self { bootstrap: server.bootstrap(), simulated: Some(server), text, count: 3 })
    }

    fn probe_bytes(&self) -> Option<u64> {
        let traffic = self.simulated.as_ref()?.traffic(ApiKey::DescribeTopicPartitions);
        Some(traffic.bytes_in + traffic.bytes_out)
    }
}

/// Runs the drill.
///
/// # Errors
/// The reason, as text for people, why it cannot run: no cluster, a topic that cannot be created or
/// never works. Lost records are no error here.
pub(crate) fn run(
    options: &Options,
    seed: u64,
    shared: &Shared,
    id: u64,
) -> Result<Outcome, Failure> {
    let security = Security::of(options.secure.as_deref())?;
    let admin = |bootstrap: &str| -> Result<Admin, Failure> {
        let config = Config::new(bootstrap).client_id("drill-admin").admin_timeout(ADMIN);
        Ok(Admin::new(security.apply(config))?)
    };
    let brokers = Brokers::start(options, admin)?;
    let admin = admin(&brokers.bootstrap)?;
    let topic = options.topic.clone().unwrap_or_else(|| format!("drill-{id:016x}"));
    let replicas = i16::try_from(brokers.count.clamp(1, 3))?;
    let partitions = i32::try_from(options.partitions)?;
    admin.create_topic(NewTopic::new(&topic, partitions, replicas)).wait()?;
    let drill = Drill {
        options,
        brokers: &brokers,
        security: &security,
        admin: &admin,
        topic: &topic,
        seed,
        shared,
        id,
    };
    if !options.json_alone() {
        drill.introduce();
    }
    let outcome = drill.run();
    if options.bootstrap.is_some()
        && let Err(error) = admin.delete_topic(&topic).wait()
    {
        eprintln!("drill: topic {topic} is left over: {error}");
    }
    outcome
}

struct Drill<'a> {
    options: &'a Options,
    brokers: &'a Brokers,
    security: &'a Security,
    admin: &'a Admin,
    topic: &'a str,
    seed: u64,
    shared: &'a Shared,
    id: u64,
}

/// Ends the run's threads when dropped, whatever ended the main thread.
struct Ending<'a> {
    gate: &'a Gate,
    stop: &'a AtomicBool,
    acks: std::sync::mpsc::Sender<Note>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.gate.end();
        self.stop.store(true, Ordering::Release);
        let _ = self.acks.send(Note::End); // the receiver may have ended
    }
}

impl Drill<'_> {
    fn introduce(&self) {
        let Options { partitions, rate, keys, reset, idle, .. } = self.options;
        let keys =
            if *keys == 0 { "without keys".into() } else { format!("half with {keys} keys") };
        println!("kavka drill · {} · seed {}", self.brokers.text, self.seed);
        if let Some(group) = self.options.group {
            let guest = if self.options.guest { " and a guest" } else { "" };
            println!("{} members{guest} of a group ({})", self.options.members, group.name());
        }
        println!(
            "topic {} · {partitions} partitions, {} growths{} · {rate} records/s, {keys} · {}\n",
            self.topic,
            self.options.growths(),
            if *idle { " while idle" } else { "" },
            reset.name(),
        );
    }

    fn config(&self, name: &str) -> Config {
        let start = match self.options.reset {
            Reset::Earliest => Start::Earliest,
            Reset::Latest => Start::Latest,
        };
        let config = Config::new(&self.brokers.bootstrap).client_id(name).start(start);
        self.security.apply(config)
    }

    fn run(&self) -> Result<Outcome, Failure> {
        let Self { options, topic, shared, .. } = *self;
        let producer = Producer::new(self.config("drill-producer"))?;
        let (acks, notes) = channel();
        let load = Load {
            producer: &producer,
            topic,
            shared,
            id: self.id,
            size: options.size as usize,
            acks: acks.clone(),
            direct: AtomicU64::new(0),
        };
        let (gate, stop) = (Gate::default(), AtomicBool::new(false));
        let (load, gate, stop) = (&load, &gate, &stop);
        let producer_events = producer.events();
        let group = format!("{topic}-readers");
        let (seed, group) = (self.seed, &*group);
        let readers = Readers { options, topic, group, seed, shared, stop };
        let config = |name: &str| self.config(name);
        let to = acks.clone();
        thread::scope(|scope| {
            let ending = Ending { gate, stop, acks };
            scope.spawn(move || acknowledge(&notes, &to, shared));
            readers.start(scope, &config)?;
            scope.spawn(|| {
                watch::listen(&producer_events, Who::Producer, shared, stop, |added| {
                    if !options.idle {
                        load.direct(added);
                    }
                });
            });
            scope.spawn(|| {
                let (to, seed) = ((&*self.brokers.bootstrap, self.security), self.seed);
                if let Err(error) = watch::look_on(to, topic, seed, shared, stop) {
                    let text = format!("the watcher ended: {error}");
                    shared.change(|state| state.fatal.get_or_insert(text).clone());
                }
            });
            scope.spawn(|| load.traffic(options.rate, options.keys, gate));
            let outcome = self.conduct(load, gate);
            drop(ending);
            outcome
        })
    }

    /// Runs all phases, while the other threads send, read and watch.
    fn conduct(&self, load: &Load<'_>, gate: &Gate) -> Result<Outcome, Failure> {
        let bar = self.bar();
        bar.set_message("waiting until every partition is read");
        self.warm_up(load)?;
        let begun = Instant::now();
        let (probes, all) = (self.shared.lock().probes, self.brokers.probe_bytes());
        gate.open();
        let mut rng = Rng::with_seed(self.seed);
        let (mut growths, mut count) = (Vec::new(), self.options.partitions);
        for _ in 0..self.options.growths() {
            let to = count + rng.u32(1..=3);
            let growth = self.grow(count, to, &mut rng, load, gate, &bar)?;
            growths.push(growth);
            count = to;
            bar.inc(1);
            if self.shared.lock().fatal.is_some() {
                break;
            }
        }
        let watched = begun.elapsed();
        let now = self.shared.lock().probes;
        let probes =
            Probes { requests: now.requests - probes.requests, bytes: now.bytes - probes.bytes };
        let all_probe_bytes = self.brokers.probe_bytes().zip(all).map(|(now, all)| now - all);
        bar.set_message("reading to the end of every partition");
        gate.end();
        self.finish()?;
        bar.finish_and_clear();
        Ok(Outcome {
            seed: self.seed,
            topic: self.topic.into(),
            cluster: self.brokers.text.clone(),
            growths,
            watched,
            probes,
            all_probe_bytes,
        })
    }

    /// Returns a progress bar on stderr, visible on a terminal only.
    fn bar(&self) -> ProgressBar {
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(u64::from(self.options.growths()));
        let template = "{bar:30.cyan/blue} {pos}/{len} growths · {elapsed} · {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// Waits until all clients know the topic and every partition is being read: what arrives from
    /// then on must be delivered, whatever the reset policy is.
    fn warm_up(&self, load: &Load<'_>) -> Result<(), Failure> {
        let count = self.options.partitions;
        let deadline = Instant::now() + self.options.patience().max(Duration::from_secs(30));
        let unread = |state: &State| -> Vec<u32> {
            (0..count).filter(|index| state.book.last(*index).is_none()).collect()
        };
        let ready = |state: &State| {
            Who::ALL.iter().all(|who| state.noticed(*who, count).is_some())
                && unread(state).is_empty()
        };
        loop {
            let missing = unread(&self.shared.lock());
            load.hello(&missing);
            if self.shared.wait(Duration::from_millis(500), ready) {
                return Ok(());
            }
            let state = self.shared.lock();
            if let Some(fatal) = &state.fatal {
                return Err(fatal.clone().into());
            }
            if Instant::now() > deadline {
                let notes: Vec<&str> = state.notes.keys().map(String::as_str).collect();
                let missing = unread(&state).len();
                return Err(format!(
                    "{missing} of {count} partitions of {} cannot be written and read. {}",
                    self.topic,
                    notes.join("; ")
                )
                .into());
            }
        }
    }

    /// Adds partitions once, at a random phase, and waits until all clients know and each new
    /// partition has carried a record.
    fn grow(
        &self,
        from: u32,
        to: u32,
        rng: &mut Rng,
        load: &Load<'_>,
        gate: &Gate,
        bar: &ProgressBar,
    ) -> Result<Growth, Failure> {
        let (idle, bound) = (self.options.idle, self.options.patience());
        if idle {
            gate.hold();
            self.shared.wait(bound, |state| state.book.in_flight() == 0);
        }
        // The phase relative to the clients' probes, the slowest of which run once a second.
        let span = if self.options.quick { 500 } else { 1000 };
        self.shared.wait(Duration::from_millis(200 + rng.u64(0..span)), |_| false);
        bar.set_message(format!("{from} → {to} partitions"));
        self.admin.create_partitions(self.topic, i32::try_from(to)?).wait()?;
        let at = Instant::now();
        let noticed = self
            .shared
            .wait(bound, |state| Who::ALL.iter().all(|who| state.noticed(*who, to).is_some()));
        let flowing = if idle { Instant::now() } else { at };
        if idle {
            gate.open();
            load.direct(from..to);
        }
        if noticed {
            let carried = |state: &State| {
                let delivered = |index| state.delivered.contains_key(&index);
                let acknowledged = |index| state.acknowledged.contains_key(&index);
                (from..to).all(|index| delivered(index) && acknowledged(index))
            };
            self.shared.wait(bound, carried);
        }
        Ok(Growth { from, to, at, flowing })
    }

    /// Waits until everything is acknowledged, everything acknowledged is delivered, and the
    /// consumer is at the end of each partition, so that a duplicate there would have been seen.
    fn finish(&self) -> Result<(), Failure> {
        let (shared, bound) = (self.shared, self.options.patience());
        shared.wait(bound, |state| state.book.in_flight() == 0);
        let ends = self.admin.offsets(self.topic, Start::Latest).wait()?;
        let ends = (0..).zip(ends).filter(|(_, end)| *end > 0);
        let mut behind: BTreeSet<(u32, i64)> = ends.collect();
        shared.wait(bound, |state| {
            behind.retain(|(index, end)| state.book.last(*index).is_none_or(|at| at + 1 < *end));
            behind.is_empty() && state.book.undelivered() == 0
        });
        Ok(())
    }
}
