//! Whole transactions in simulated clusters with faults: what the logs hold at the end is compared
//! with what was reported.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kavka_core::{Commands, Event, Instant, Limits, Outcome, Record, TopicId};
use kavka_tests::sim::batch::{Header, records};
use kavka_tests::sim::{
    ApiKey, App, Cluster, Fault, Options, Profile, Rng, Transactions, TxnState, World,
};

const TOPIC: &str = "t";
const PARTITIONS: u32 = 3;
const ID: &str = "copier";

/// Runs one transaction after another; each has a number, and its records carry it.
struct Writer {
    rng: Rng,
    topic: Option<TopicId>,
    /// The number of the open transaction, if one is.
    open: Option<u32>,
    next: u32,
    last: u32,
    /// Records of the open one that are still to be sent.
    left: u32,
    sent: BTreeMap<u32, BTreeSet<String>>,
    ended: BTreeMap<u32, Outcome>,
    /// Which were committed by the application, and which aborted.
    commits: BTreeMap<u32, bool>,
    over: bool,
}

impl Writer {
    fn new(seed: u64, first: u32, count: u32) -> Self {
        Self {
            rng: Rng(seed),
            topic: None,
            open: None,
            next: first,
            last: first + count,
            left: 0,
            sent: BTreeMap::new(),
            ended: BTreeMap::new(),
            commits: BTreeMap::new(),
            over: false,
        }
    }

    fn proceed(&mut self, now: Instant, commands: &mut Commands<'static>) {
        let topic = match self.topic {
            Some(topic) => topic,
            None => *self.topic.insert(commands.topic(TOPIC).expect("a topic")),
        };
        if self.open.is_none() {
            if self.next == self.last || self.over {
                return;
            }
            match commands.begin(now) {
                Ok(()) => {}
                Err(_) => return self.over = true,
            }
            self.open = Some(self.next);
            self.sent.insert(self.next, BTreeSet::new());
            self.next += 1;
            self.left = 1 + self.rng.below(20) as u32;
        }
        let Some(number) = self.open.filter(|number| !self.commits.contains_key(number)) else {
            return;
        };
        while self.left > 0 {
            let text = format!("{number}/{}", self.left);
            let to = (topic, self.rng.below(u64::from(PARTITIONS)) as u32);
            match commands.produce(now, to, &Record::new(text.as_bytes())) {
                Ok(_) => {
                    self.sent.entry(number).or_default().insert(text);
                    self.left -= 1;
                }
                Err(kavka_core::ProduceError::Refused(_)) => self.left = 0,
                Err(_) => return,
            }
        }
        let commits = self.rng.below(4) > 0;
        self.commits.insert(number, commits);
        let ended = match commits {
            true => commands.commit_transaction(now),
            false => commands.abort_transaction(now),
        };
        ended.expect("one is open");
    }

    fn is_done(&self) -> bool {
        self.open.is_none() && (self.next == self.last || self.over)
    }
}

impl App for Writer {
    fn on_event(&mut self, now: Instant, event: Event<'_>, commands: &mut Commands<'static>) {
        if let Event::TransactionEnded { outcome } = event {
            let number = self.open.take().expect("one was open");
            self.ended.insert(number, outcome);
            self.proceed(now, commands);
        }
    }

    fn on_idle(&mut self, now: Instant, commands: &mut Commands<'static>) {
        self.proceed(now, commands);
    }
}

/// Returns the committed records of all partitions, and how many transactions are left open.
fn committed(cluster: &Cluster) -> (Vec<String>, usize) {
    let (mut all, mut left) = (Vec::new(), 0);
    for partition in 0..PARTITIONS {
        let mut open: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for batch in cluster.batches(TOPIC, partition) {
            let header = Header::read(&batch).expect("a header");
            if header.is_control() {
                let commits = batch[batch.len() - 9] == 1;
                let texts = open.remove(&header.producer_id).unwrap_or_default();
                if commits {
                    all.extend(texts);
                }
                continue;
            }
            assert_eq!(header.attributes & 0x10, 0x10, "transactional");
            let texts = records(&batch).expect("records").into_iter();
            let texts = texts.map(|record| {
                String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned()
            });
            open.entry(header.producer_id).or_default().extend(texts);
        }
        left += open.len();
    }
    (all, left)
}

/// Checks what was reported against what is in the logs.
fn judge(at: &str, world: &World<Writer>, members: &[usize]) -> usize {
    let (found, left) = committed(&world.cluster);
    assert_eq!(left, 0, "{at}: a transaction hangs");
    let unique: BTreeSet<&String> = found.iter().collect();
    assert_eq!(unique.len(), found.len(), "{at}: a record twice");
    let mut whole = 0;
    for member in members {
        let app = world.app(*member);
        for (number, sent) in &app.sent {
            let there = sent.iter().filter(|text| unique.contains(text)).count();
            match app.ended.get(number) {
                Some(Outcome::Committed) => {
                    assert_eq!(there, sent.len(), "{at}: of {number}, which is committed");
                    whole += 1;
                }
                Some(Outcome::Aborted | Outcome::NotCommitted(_)) => {
                    assert_eq!(there, 0, "{at}: of {number}, which is not: {:?}", app.ended);
                }
                Some(Outcome::Unknown(_)) | None => {
                    assert!(there == 0 || there == sent.len(), "{at}: {there} of {number}");
                }
            }
        }
    }
    whole
}

fn options(profile: Profile, transactions: Transactions) -> Options {
    Options { profile, transactions: Some(transactions), ..Options::default() }
}

fn join(world: &mut World<Writer>, app: Writer) -> usize {
    world.join(app, &Limits::small(), |config| {
        config.transactional_id = ID;
        config.delivery_timeout = Duration::from_secs(20);
    })
}

const PROFILES: [Profile; 4] = [Profile::V2_4, Profile::V2_8, Profile::V3_9, Profile::V4_4];

fn version_of(profile: Profile) -> i16 {
    if profile == Profile::V4_4 { 2 } else { 0 }
}

/// Seeds that every test runs from: 1 to 10, or to `KAVKA_SEEDS`.
fn seeds() -> core::ops::RangeInclusive<u64> {
    1..=std::env::var("KAVKA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

#[test]
fn transactions_end_as_they_say() {
    for profile in PROFILES {
        for seed in seeds() {
            let transactions =
                Transactions { version: version_of(profile), ..Transactions::default() };
            let mut world = World::new(seed, options(profile, transactions));
            world.cluster.create_topic(TOPIC, PARTITIONS).expect("created");
            let writer = join(&mut world, Writer::new(seed, 0, 20));
            let done = |world: &World<Writer>| world.app(writer).is_done();
            world.await_that("the end", Duration::from_secs(60), done);
            let at = world.at();
            let app = world.app(writer);
            for (number, commits) in &app.commits {
                let wanted = if *commits { Outcome::Committed } else { Outcome::Aborted };
                assert_eq!(app.ended[number], wanted, "{at}, {profile}");
            }
            assert!(judge(&at, &world, &[writer]) > 5, "{at}, {profile}");
        }
    }
}

/// What goes wrong next.
fn trouble(world: &mut World<Writer>, rng: &mut Rng, down: &mut Vec<i32>, profile: Profile) {
    const APIS: [ApiKey; 5] = [
        ApiKey::EndTxn,
        ApiKey::AddPartitionsToTxn,
        ApiKey::InitProducerId,
        ApiKey::Produce,
        ApiKey::FindCoordinator,
    ];
    let brokers = world.cluster.brokers();
    let broker = rng.pick(&brokers);
    match rng.below(6) {
        0 => world.cluster.move_transactions(ID),
        1 => world.disconnect(broker),
        2 => match down.pop() {
            Some(broker) => world.cluster.restart(broker),
            None => {
                world.kill(broker);
                down.push(broker);
            }
        },
        _ => {
            let api = rng.pick(&APIS);
            let code = match api {
                ApiKey::Produce => rng.pick(&[19, 51, 7, 6]),
                _ => rng.pick(&[14, 15, 16, 51]),
            };
            // Nothing protects transactions of 2.4 from what comes late.
            let late = api != ApiKey::FindCoordinator && profile != Profile::V2_4;
            let fault = match rng.below(6) {
                0 => Fault::DropRequest,
                1 => Fault::DropResponse,
                2 if api != ApiKey::FindCoordinator => Fault::Error(code),
                3 | 4 if late => Fault::Late(rng.millis(1, 3000)),
                _ => Fault::Delay(rng.millis(1, 2000)),
            };
            world.cluster.inject(broker, api, fault, 1 + rng.below(2) as usize);
        }
    }
}

/// Ends the trouble, and waits until all transactions have ended.
fn calm(world: &mut World<Writer>, down: &mut Vec<i32>, members: &[usize]) {
    for broker in down.drain(..) {
        world.cluster.restart(broker);
    }
    world.cluster.clear_faults();
    let done = |world: &World<Writer>| members.iter().all(|member| world.app(*member).is_done());
    world.await_that("the end", Duration::from_secs(400), done);
    // What a fenced producer left open ends by its time limit.
    world.run_for(Duration::from_secs(120));
}

#[test]
fn no_trouble_makes_a_transaction_half_or_its_end_a_lie() {
    let mut whole = 0;
    for profile in PROFILES {
        for seed in seeds() {
            let mut rng = Rng(seed ^ 77);
            let transactions = Transactions {
                version: version_of(profile),
                marking: rng.pick(&[0, 0, 30, 300]).min(300) * Duration::from_millis(1),
                ..Transactions::default()
            };
            let mut world = World::new(seed, options(profile, transactions));
            world.cluster.create_topic(TOPIC, PARTITIONS).expect("created");
            let writer = join(&mut world, Writer::new(seed, 0, 40));
            let mut down = Vec::new();
            for _ in 0..30 {
                world.run_for(rng.millis(1, 400));
                trouble(&mut world, &mut rng, &mut down, profile);
                if profile == Profile::V4_4 && rng.below(10) == 0 {
                    // Upgrades and downgrades while it runs.
                    world.cluster.set_transaction_version(rng.pick(&[0, 2]));
                }
            }
            calm(&mut world, &mut down, &[writer]);
            let at = format!("{}, {profile}", world.at());
            whole += judge(&at, &world, &[writer]);
            let unknown = |outcome: &&Outcome| matches!(outcome, Outcome::Unknown(_));
            let ended = world.app(writer).ended.values();
            assert_eq!(ended.filter(unknown).count(), 0, "{at}: a repeated EndTxn has the end");
        }
    }
    assert!(whole > 400, "{whole} committed: the runs say little");
}

/// Requests whose answers are lost are carried out when the next transaction may be open already.
#[test]
fn what_comes_late_tears_no_transaction() {
    const APIS: [ApiKey; 3] = [ApiKey::EndTxn, ApiKey::AddPartitionsToTxn, ApiKey::Produce];
    for profile in [Profile::V2_8, Profile::V3_9, Profile::V4_4] {
        for seed in seeds() {
            let mut rng = Rng(seed ^ 177);
            let transactions =
                Transactions { version: version_of(profile), ..Transactions::default() };
            let mut world = World::new(seed, options(profile, transactions));
            world.cluster.create_topic(TOPIC, PARTITIONS).expect("created");
            let writer = join(&mut world, Writer::new(seed, 0, 100));
            while !world.app(writer).is_done() {
                let (api, by) = (rng.pick(&APIS), rng.millis(1, 200));
                for broker in world.cluster.brokers() {
                    world.cluster.inject(broker, api, Fault::Late(by), 1);
                }
                world.run_for(rng.millis(300, 2000));
            }
            calm(&mut world, &mut Vec::new(), &[writer]);
            let at = format!("{}, {profile}", world.at());
            let whole = judge(&at, &world, &[writer]);
            // What opens a transaction between an end and the next epoch makes older
            // coordinators fence whoever has the id.
            let over = world.app(writer).over;
            assert!(whole > 30 || over && profile != Profile::V4_4, "{at}: {whole} committed");
        }
    }
}

#[test]
fn the_older_of_two_producers_ends_and_the_newer_goes_on() {
    for profile in PROFILES {
        for seed in seeds() {
            let transactions =
                Transactions { version: version_of(profile), ..Transactions::default() };
            let mut world = World::new(seed, options(profile, transactions));
            world.cluster.create_topic(TOPIC, PARTITIONS).expect("created");
            let older = join(&mut world, Writer::new(seed, 0, 10_000));
            let mut rng = Rng(seed ^ 5);
            world.run_for(rng.millis(50, 500));
            let newer = join(&mut world, Writer::new(seed ^ 9, 20_000, 30));
            let done = |world: &World<Writer>| world.app(newer).is_done();
            world.await_that("the end", Duration::from_secs(60), done);
            let at = format!("{}, {profile}", world.at());
            assert_eq!(world.app(newer).ended.len(), 30, "{at}: nobody fences it off");
            let over = |world: &World<Writer>| world.app(older).over;
            world.await_that("the older one ends", Duration::from_secs(60), over);
            world.run_for(Duration::from_secs(120));
            judge(&at, &world, &[older, newer]);
        }
    }
}

#[test]
fn a_transaction_that_is_open_for_too_long_is_not_committed() {
    for (profile, goes_on) in [(Profile::V4_4, true), (Profile::V2_8, false)] {
        let transactions = Transactions { version: version_of(profile), ..Transactions::default() };
        let mut world = World::new(3, options(profile, transactions));
        world.cluster.create_topic(TOPIC, PARTITIONS).expect("created");
        let mut app = Writer::new(3, 0, 1);
        // It does not end by itself.
        app.commits.insert(0, true);
        let writer = join(&mut world, app);
        world.run_for(Duration::from_secs(1));
        world.command(writer, |now, commands, app| {
            let to = (app.topic.expect("a topic"), 0);
            commands.produce(now, to, &Record::new(b"0/1")).expect("taken");
            app.sent.entry(0).or_default().insert("0/1".to_owned());
        });
        world.run_for(Duration::from_secs(90));
        let state = world.cluster.transaction(ID).map(|(_, _, state)| state);
        assert_eq!(state, Some(TxnState::CompleteAbort));
        world.command(writer, |now, commands, _| {
            commands.commit_transaction(now).expect("one is open");
        });
        world.run_for(Duration::from_secs(5));
        let outcome = world.app(writer).ended.get(&0);
        assert!(matches!(outcome, Some(Outcome::NotCommitted(_))), "{outcome:?}");
        judge("the time limit", &world, &[writer]);
        world.command(writer, |now, commands, _| {
            assert_eq!(commands.begin(now).is_ok(), goes_on, "{profile}");
        });
    }
}
