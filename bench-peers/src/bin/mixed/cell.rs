//! One group: kavka and one other client.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kavka_std::{Admin, Config, Producer, Record};
use kavka_tests::kafka::Cluster;

use crate::peers::{Ledger, Place, Running};
use crate::{Options, Order, Peer, Protocol, Result, name};

/// Between two records of a partition, and two looks at the group.
const PACE: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(100);
/// For whatever needs no leader that looks.
const LIMIT: Duration = Duration::from_secs(60);

/// What runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) peer: Peer,
    pub(crate) protocol: Protocol,
    pub(crate) order: Order,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Row {
    cell: String,
    /// From the growth until a record of the last new partition was read; each growth.
    growth: Vec<Duration>,
    written: usize,
    lost: Vec<Place>,
    again: usize,
    /// Times that partitions moved while nothing happened.
    restless: usize,
    /// Reports of partitions that no member has.
    reported: usize,
    failed: Option<String>,
    said: Vec<String>,
}

impl Row {
    pub(crate) const HEAD: &str = "| group | growth to record | written | lost | again | moves at \
        rest | reported |\n| --- | --- | --- | --- | --- | --- | --- |";

    pub(crate) fn is_sound(&self) -> bool {
        self.lost.is_empty() && self.restless == 0 && self.failed.is_none()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
        let growth: Vec<String> = self.growth.iter().map(seconds).collect();
        let Self { cell, written, again, restless, reported, lost, .. } = self;
        let (growth, lost) = (growth.join(", "), lost.len());
        write!(
            f,
            "| {cell} | {growth} | {written} | {lost} | {again} | {restless} | {reported} |"
        )?;
        if let Some(failed) = &self.failed {
            write!(f, "\nFAILED: {failed}")?;
        }
        if !self.is_sound() || self.reported > 0 {
            write!(f, "\nlost: {:?}", self.lost)?;
            self.said.iter().try_for_each(|line| write!(f, "\n  {line}"))?;
        }
        Ok(())
    }
}

/// Writes to all partitions, and knows what was acknowledged.
struct Writer {
    count: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    places: Arc<Mutex<Vec<Place>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(bootstrap: &str, topic: &str, partitions: u32) -> Self {
        let count = Arc::new(AtomicU32::new(partitions));
        let stop = Arc::new(AtomicBool::new(false));
        let places = Arc::new(Mutex::new(Vec::new()));
        let (n, ends, to) = (count.clone(), stop.clone(), places.clone());
        let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
        let thread = thread::spawn(move || {
            let mut known = 0;
            let mut producer = None;
            while !ends.load(Ordering::Acquire) {
                // A new one knows new partitions at once.
                if known != n.load(Ordering::Acquire) {
                    known = n.load(Ordering::Acquire);
                    producer = Producer::new(Config::new(bootstrap.clone())).ok();
                }
                let Some(producer) = &producer else { continue };
                let send = |at| producer.send_to(&topic, at, &Record::new(b"reading")).ok();
                let sent: Vec<_> = (0..known).filter_map(send).collect();
                for pending in sent {
                    if let Ok(Ok(done)) = pending.wait_timeout(LIMIT)
                        && let Some(offset) = done.offset
                    {
                        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
                        to.push((done.partition, offset));
                    }
                }
                thread::sleep(PACE);
            }
        });
        Self { count, stop, places, thread: Some(thread) }
    }

    fn end(&mut self) -> Vec<Place> {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        core::mem::take(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Run<'a> {
    cell: Cell,
    cluster: &'a Cluster,
    options: &'a Options,
    admin: Admin,
    bootstrap: String,
    name: String,
    ledger: Arc<Ledger>,
    row: Row,
}

impl Cell {
    pub(crate) fn run(self, cluster: &Cluster, options: &Options, n: usize) -> Row {
        let Self { peer, protocol, order } = self;
        let which = if order == Order::First { "kavka first" } else { "kavka last" };
        let cell = format!("{}, {}, {which}", name(peer), name(protocol));
        let bootstrap = cluster.bootstrap();
        let admin = match Admin::new(Config::new(bootstrap.clone())) {
            Ok(admin) => admin,
            Err(error) => return Row { failed: Some(error.to_string()), ..Row::default() },
        };
        let mut run = Run {
            cell: self,
            cluster,
            options,
            admin,
            bootstrap,
            name: format!("mixed-{n}"),
            ledger: Arc::default(),
            row: Row { cell, ..Row::default() },
        };
        if let Err(error) = run.all() {
            run.row.failed = Some(error.to_string());
        }
        run.row.reported = run.ledger.says("Unassigned");
        run.row.said = run.ledger.said();
        run.row
    }
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        self.cluster.create(&self.name, 2)?;
        self.cluster.await_count(&self.name, 2)?;
        let (first, last) = match self.cell.order {
            Order::First => (Peer::Kavka, self.cell.peer),
            Order::Last => (self.cell.peer, Peer::Kavka),
        };
        let first = self.join(first)?;
        self.shared(2, 1, LIMIT)?;
        let last = self.join(last)?;
        self.shared(2, 2, LIMIT)?;
        let (mut ours, mut theirs) = match self.cell.order {
            Order::First => (first, last),
            Order::Last => (last, first),
        };
        // Both know where they read: a foreign member may have found the end just now.
        let mut writer = Writer::start(&self.bootstrap, &self.name, 2);
        let begun = self.begun(&writer)?;
        self.grow(&writer, 4)?;
        self.rests()?;
        if !self.options.brief {
            ours.kill()?;
            // The other one may lead now, and may not know yet what was added.
            self.shared(4, 1, self.options.patience())?;
            ours = self.join(Peer::Kavka)?;
            self.shared(4, 2, LIMIT)?;
            // The other one leads now.
            if self.cell.order == Order::First {
                self.grow(&writer, 6)?;
            }
            self.rests()?;
        }
        let mut places = writer.end();
        places.retain(|place| begun.get(place.0 as usize).is_none_or(|from| place.1 >= *from));
        let until = Instant::now() + Duration::from_secs(20);
        let unread = |place: &&Place| self.ledger.first(**place).is_none();
        while places.iter().any(|place| unread(&place)) && Instant::now() < until {
            thread::sleep(LOOK);
        }
        self.row.lost = places.iter().filter(unread).copied().collect();
        (self.row.written, self.row.again) = (places.len(), self.ledger.again(&places));
        theirs.leave()?;
        ours.leave()
    }

    fn join(&self, peer: Peer) -> Result<Running> {
        let at = [&*self.bootstrap, &*self.name, &*self.name];
        Running::start(peer, self.cell.protocol, at, &self.ledger)
    }

    /// Returns the first offset of each partition that counts: one that was read.
    fn begun(&self, writer: &Writer) -> Result<Vec<i64>> {
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            thread::sleep(LOOK);
            let places = writer.places.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let first = |partition| {
                let mut of = places.iter().filter(|place| place.0 == partition);
                of.find(|place| self.ledger.first(**place).is_some()).map(|place| place.1)
            };
            if let (Some(a), Some(b)) = (first(0), first(1)) {
                return Ok(vec![a, b]);
            }
        }
        Err("nothing is read".into())
    }

    /// Returns who has each partition, if the group is stable with so many members and each
    /// partition is one member's.
    fn owners(&self, count: u32, members: usize) -> Result<Option<Vec<String>>> {
        let group = match self.admin.describe_group(&self.name).wait() {
            Ok(group) => group,
            // There is none before its first member.
            Err(_) => return Ok(None),
        };
        let mut owners = vec![String::new(); count as usize];
        if group.state != "Stable" || group.members.len() != members {
            return Ok(None);
        }
        for member in &group.members {
            let of = member.assigned.iter().filter(|(topic, _)| *topic == self.name);
            for at in of.flat_map(|(_, list)| list) {
                match owners.get_mut(*at as usize) {
                    Some(owner) if owner.is_empty() => owner.clone_from(&member.id),
                    _ => return Err(format!("partition {at} is assigned twice").into()),
                }
            }
        }
        Ok(Some(owners).filter(|owners| owners.iter().all(|owner| !owner.is_empty())))
    }

    fn shared(&self, count: u32, members: usize, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while self.owners(count, members)?.is_none() {
            if Instant::now() > until {
                let group = self.admin.describe_group(&self.name).wait();
                return Err(format!("{count} partitions are not assigned: {group:?}").into());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn grow(&mut self, writer: &Writer, count: u32) -> Result<()> {
        let begun = Instant::now();
        let before = writer.count.load(Ordering::Acquire);
        self.cluster.grow(&self.name, count)?;
        writer.count.store(count, Ordering::Release);
        self.shared(count, 2, self.options.patience())?;
        let until = Instant::now() + LIMIT;
        loop {
            let first: Option<Vec<Instant>> =
                (before..count).map(|at| self.ledger.first_of(at)).collect();
            if let Some(last) = first.and_then(|times| times.into_iter().max()) {
                self.row.growth.push(last - begun);
                return Ok(());
            }
            if Instant::now() > until {
                return Err("new partitions are assigned and not read".into());
            }
            thread::sleep(LOOK);
        }
    }

    /// Nothing moves while nothing happens.
    fn rests(&mut self) -> Result<()> {
        // What a round began is over.
        thread::sleep(Duration::from_secs(3));
        let until = Instant::now() + Duration::from_secs(self.options.rest);
        let count = self.cluster.metadata(Some(&self.name))?.partitions.len() as u32;
        let mut before = None;
        while Instant::now() < until {
            let now = self.owners(count, 2)?;
            let moved = now.is_none() || before.is_some() && before != now;
            self.row.restless += usize::from(moved);
            before = now;
            thread::sleep(LOOK);
        }
        Ok(())
    }
}
