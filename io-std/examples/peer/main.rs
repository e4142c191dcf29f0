//! kavka behind the line protocol of a benchmark that measures several Kafka clients alike.
//!
//! Flags come in pairs, `--bootstrap --topic --client-id --role producer|consumer --reset --config
//! --rate --count --size --keys --events all|first|none --history FILE --compression
//! none|gzip|snappy|lz4|zstd` (with a level: `zstd:1`), `--group --protocol classic|consumer
//! --commit-ms`; those that kavka has no use for are ignored. Stdout has one JSON object per line;
//! a producer reads `pause`, `resume` and `stop` from stdin; SIGTERM ends either in order.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

mod history;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::future::Future as _;
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, pin::Pin, thread};

use history::History;
use kavka_std::{
    Compression, Config, Consumer, Delivered, Event, Events, GroupProtocol, Pending, Producer,
    Record, Sasl, Start, Tls,
};
use serde_json::{Value, json};

/// Within this time a consumer leaves its group.
const CLOSE: Duration = Duration::from_secs(8);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let options = Options::parse()?;
    let version = concat!("kavka ", env!("CARGO_PKG_VERSION"));
    emit(json!({ "ev": "start", "client": "kavka", "version": version }));
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, SeqCst))?;
    let history = Arc::new(History::create(&options)?);
    let ended = match options.text("role", "producer").as_str() {
        "producer" => produce(&options, &stop, &history),
        "consumer" => consume(&options, &stop, &history),
        role => Err(format!("--role {role}: producer or consumer").into()),
    };
    if let Err(error) = &ended {
        emit(json!({ "ev": "fatal", "text": error.to_string() }));
    }
    ended.and_then(|()| history.close())
}

/// `--name value`, all of them.
struct Options(HashMap<String, String>);

impl Options {
    fn parse() -> Result<Self, Failure> {
        let mut all = HashMap::new();
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let plain = name.strip_prefix("--").ok_or_else(|| format!("{name}: not a flag"))?;
            let value = args.next().ok_or_else(|| format!("{name}: without a value"))?;
            all.insert(plain.to_owned(), value);
        }
        Ok(Self(all))
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).map_or(default, String::as_str).to_owned()
    }

    fn number(&self, name: &str) -> Result<u64, Failure> {
        let text = self.text(name, "0");
        text.parse().map_err(|_| format!("--{name} {text}: not a number").into())
    }

    /// `--ca FILE`: over TLS; `--sasl MECHANISM --user NAME --password WORD`: a login of tests.
    fn secure(&self, mut config: Config) -> Result<Config, Failure> {
        if let Some(file) = self.0.get("ca") {
            config = config.tls(Tls::builder().ca_file(file)?.build()?);
        }
        if let Some(mechanism) = self.0.get("sasl") {
            let (user, password) = (self.text("user", ""), self.text("password", ""));
            let sasl = Sasl::named(mechanism, user, password);
            config = config.sasl(sasl.ok_or_else(|| format!("--sasl {mechanism}: unknown"))?);
        }
        Ok(config)
    }

    fn config(&self) -> Result<Config, Failure> {
        let config = Config::new(self.text("bootstrap", "localhost:9092"))
            .client_id(self.text("client-id", "kavka"))
            .compression(self.text("compression", "none").parse::<Compression>()?);
        let config = self.secure(config)?;
        Ok(match self.text("config", "default").as_str() {
            // What other clients are tuned to, kavka does by itself.
            "throughput" => config.linger(Duration::from_millis(10)).batch_bytes(1 << 20),
            // As Kafka's own clients linger.
            "fixed" => config.linger_when_idle(true),
            _ => config,
        })
    }
}

/// What is printed at the end.
#[derive(Default)]
struct Tally {
    records: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    first: AtomicI64,
    last: AtomicI64,
    cpu: AtomicU64,
}

impl Tally {
    /// The measured time begins, if it has not.
    fn begin(&self) {
        if self.first.compare_exchange(0, micros(), SeqCst, SeqCst).is_ok() {
            self.cpu.store(cpu_us(), SeqCst);
        }
    }

    fn done(&self) {
        let total = cpu_us();
        emit(json!({
            "ev": "done", "records": self.records.load(SeqCst), "failed": self.failed.load(SeqCst),
            "bytes": self.bytes.load(SeqCst), "first": self.first.load(SeqCst),
            "last": self.last.load(SeqCst), "cpu_us": total - self.cpu.load(SeqCst),
            "cpu_total_us": total, "maxrss_kb": maxrss_kb(),
        }));
    }

    fn fail(&self, seq: u64, error: &dyn Error) {
        if self.failed.fetch_add(1, SeqCst) < 1000 {
            emit(json!({ "ev": "fail", "seq": seq, "error": error.to_string() }));
        }
    }
}

fn produce(
    options: &Options,
    stop: &Arc<AtomicBool>,
    history: &Arc<History>,
) -> Result<(), Failure> {
    let topic = options.text("topic", "bench");
    let (rate, keys) = (options.number("rate")?, options.number("keys")?);
    let count = Some(options.number("count")?).filter(|count| *count > 0);
    let pad = pad(options.number("size")? as usize);
    let names: Vec<String> = (0..keys).map(|n| format!("k{n}")).collect();
    let key = |seq: u64| names.get((seq % keys.max(1)) as usize).map(String::as_str);
    let producer = Producer::new(options.config()?)?;
    let tally = Arc::new(Tally::default());
    let acks = Acks::start(&options.text("events", "all"), &tally, history);
    watch(producer.events(), history, |_| ());

    let mut value = Vec::new();
    fill(&mut value, 0, &pad);
    let first = key(0);
    history.note("send", "invoke", || json!({ "value": 0, "key": first }));
    let at = send(&producer, &topic, first, &value)?.wait()?;
    acks.report(&at, first, 0);
    emit(json!({ "ev": "ready" }));
    tally.begin();

    let paused = Arc::new(AtomicBool::new(false));
    listen(&paused, stop);
    let (started, mut skipped) = (Instant::now(), Duration::ZERO);
    let (mut seq, mut bytes) = (1, 0);
    while !stop.load(SeqCst) && count.is_none_or(|count| seq <= count) {
        if paused.load(SeqCst) {
            let since = Instant::now();
            thread::sleep(Duration::from_millis(5));
            skipped += since.elapsed();
            continue;
        }
        if rate > 0 {
            let due = Duration::from_secs_f64(seq as f64 / rate as f64) + skipped;
            let early = due.saturating_sub(started.elapsed());
            if !early.is_zero() {
                thread::sleep(early.min(Duration::from_millis(20)));
                continue;
            }
        }
        let key = key(seq);
        fill(&mut value, seq, &pad);
        bytes += (value.len() + key.map_or(0, str::len)) as u64;
        history.note("send", "invoke", || json!({ "value": seq, "key": key }));
        match send(&producer, &topic, key, &value) {
            Ok(pending) => acks.wait_for(pending, key, seq),
            Err(error) => {
                history.note("send", "fail", || json!({ "value": seq }));
                tally.fail(seq, &*error);
            }
        }
        seq += 1;
    }
    tally.bytes.store(bytes, SeqCst);
    let flushed = producer.flush().wait();
    acks.drain();
    tally.last.store(micros(), SeqCst);
    if let (Err(error), false) = (&flushed, acks.each) {
        tally.fail(0, error);
    }
    tally.records.store((seq - 1).saturating_sub(tally.failed.load(SeqCst)), SeqCst);
    tally.done();
    Ok(())
}

fn send(
    producer: &Producer,
    topic: &str,
    key: Option<&str>,
    value: &[u8],
) -> Result<Pending<Delivered>, Failure> {
    let mut record = Record::new(value);
    if let Some(key) = key {
        record = record.key(key.as_bytes());
    }
    Ok(producer.send(topic, &record)?)
}

/// Fills `value` with the sequence number, a space, and padding up to the length of `pad`.
fn fill(value: &mut Vec<u8>, seq: u64, pad: &[u8]) {
    value.clear();
    let (mut digits, mut at, mut left) = ([b' '; 21], 20, seq);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    value.extend_from_slice(&digits[at..]);
    let rest = pad.get(value.len()..).unwrap_or_default();
    value.extend_from_slice(rest);
}

/// Half constant, half random.
fn pad(size: usize) -> Vec<u8> {
    let mut x = 1_u32;
    let random = |x: &mut u32| {
        *x ^= *x << 13;
        *x ^= *x >> 17;
        *x ^= *x << 5;
        33 + (*x % 90) as u8
    };
    (0..size).map(|i| if i % 8 < 4 { random(&mut x) } else { b'a' }).collect()
}

/// Commands from stdin.
fn listen(paused: &Arc<AtomicBool>, stop: &Arc<AtomicBool>) {
    let (paused, stop) = (paused.clone(), stop.clone());
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match line.trim() {
                "pause" => paused.store(true, SeqCst),
                "resume" => paused.store(false, SeqCst),
                "stop" => stop.store(true, SeqCst),
                _ => {}
            }
        }
    });
}

/// Reports each acknowledgement when it arrives, in any order.
struct Acks {
    /// All are waited for.
    each: bool,
    reported: bool,
    first_only: bool,
    seen: Mutex<HashSet<u32>>,
    open: Mutex<HashMap<u64, Open>>,
    woken: Mutex<Vec<u64>>,
    more: Condvar,
    empty: Condvar,
    tally: Arc<Tally>,
    history: Arc<History>,
}

/// A record that is not acknowledged yet, and its key.
type Open = (Pending<Delivered>, Option<String>);

struct Note(Arc<Acks>, u64);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        lock(&self.0.woken).push(self.1);
        self.0.more.notify_one();
    }
}

impl Acks {
    fn start(events: &str, tally: &Arc<Tally>, history: &Arc<History>) -> Arc<Self> {
        let acks = Arc::new(Self {
            each: events != "none" || history.is_wanted(),
            reported: events != "none",
            first_only: events == "first",
            seen: Mutex::default(),
            open: Mutex::default(),
            woken: Mutex::default(),
            more: Condvar::new(),
            empty: Condvar::new(),
            tally: tally.clone(),
            history: history.clone(),
        });
        let theirs = acks.clone();
        thread::spawn(move || {
            loop {
                let mut woken = lock(&theirs.woken);
                while woken.is_empty() {
                    woken = theirs.more.wait(woken).unwrap_or_else(PoisonError::into_inner);
                }
                let ready = std::mem::take(&mut *woken);
                drop(woken);
                ready.into_iter().for_each(|seq| theirs.look(seq));
            }
        });
        acks
    }

    fn wait_for(self: &Arc<Self>, pending: Pending<Delivered>, key: Option<&str>, seq: u64) {
        if self.each {
            lock(&self.open).insert(seq, (pending, key.map(str::to_owned)));
            self.look(seq);
        }
    }

    fn look(self: &Arc<Self>, seq: u64) {
        let mut open = lock(&self.open);
        let Some((pending, _)) = open.get_mut(&seq) else { return };
        let waker = Waker::from(Arc::new(Note(self.clone(), seq)));
        let Poll::Ready(result) = Pin::new(pending).poll(&mut Context::from_waker(&waker)) else {
            return;
        };
        let key = open.remove(&seq).and_then(|(_, key)| key);
        match result {
            Ok(at) => self.report(&at, key.as_deref(), seq),
            Err(error) => {
                let kind = if error.maybe_written() { "info" } else { "fail" };
                let text = error.to_string();
                self.history.note("send", kind, || json!({ "value": seq, "text": text }));
                self.tally.fail(seq, &error);
            }
        }
        if open.is_empty() {
            self.empty.notify_all();
        }
    }

    fn report(&self, at: &Delivered, key: Option<&str>, seq: u64) {
        self.history.note(
            "send",
            "ok",
            || json!({ "value": seq, "partition": at.partition, "offset": at.offset }),
        );
        if self.reported && (!self.first_only || lock(&self.seen).insert(at.partition)) {
            emit(json!({
                "ev": "ack", "partition": at.partition, "offset": at.offset,
                "key": key.unwrap_or(""),
                "seq": seq,
            }));
        }
    }

    fn drain(&self) {
        let mut open = lock(&self.open);
        while !open.is_empty() {
            open = self.empty.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Notes what the checker has to know of events, and hands each on.
fn watch(events: Events, history: &Arc<History>, report: impl Fn(Event) + Send + 'static) {
    let history = history.clone();
    thread::spawn(move || {
        while let Ok(event) = events.next().wait() {
            match &event {
                Event::TopicReady { partitions: count, .. }
                | Event::PartitionsAdded { to: count, .. } => {
                    history.note("count", "ok", || json!({ "count": count }));
                }
                Event::Moved { partition, from, to, .. } => {
                    history.note(
                        "moved",
                        "ok",
                        || json!({ "partition": partition, "offset": from, "to": to }),
                    );
                }
                _ => {}
            }
            report(event);
        }
    });
}

/// Reads the whole topic, or as a member of `--group`, committing every `--commit-ms` (5000; 0:
/// never).
fn consumer(options: &Options, start: Start) -> Result<Consumer, Failure> {
    let topic = options.text("topic", "bench");
    let config = options.config()?.start(start);
    let Some(group) = options.0.get("group") else {
        return Ok(Consumer::assign_all(config, &[&topic])?);
    };
    let protocol = match options.text("protocol", "auto").as_str() {
        "classic" => GroupProtocol::Classic,
        "consumer" => GroupProtocol::Consumer,
        _ => GroupProtocol::Auto,
    };
    let config = config.group_protocol(protocol);
    let every: u64 = options.text("commit-ms", "5000").parse()?;
    let every = (every > 0).then(|| Duration::from_millis(every));
    Ok(Consumer::subscribe(config.group(group).auto_commit(every), &[&topic])?)
}

fn consume(options: &Options, stop: &AtomicBool, history: &Arc<History>) -> Result<(), Failure> {
    let start = match options.text("reset", "latest").as_str() {
        "earliest" => Start::Earliest,
        _ => Start::Latest,
    };
    let count = Some(options.number("count")?).filter(|count| *count > 0);
    let events = options.text("events", "all");
    let consumer = consumer(options, start)?;
    let latest = (start == Start::Latest).then_some(true);
    history.note("assign", "ok", || json!({ "latest": latest }));
    watch(consumer.events(), history, |event| match event {
        Event::Assigned { partition, .. } => {
            emit(json!({ "ev": "assigned", "partitions": [partition] }));
        }
        Event::Disconnected { error, .. } | Event::TopicFailed { error, .. } => {
            emit(json!({ "ev": "error", "text": error.to_string() }));
        }
        _ => {}
    });
    let tally = Tally::default();
    let reported = events != "none" || history.is_wanted();
    let mut seen = HashSet::new();
    let (mut records, mut bytes) = (0, 0);
    while !stop.load(SeqCst) && count.is_none_or(|count| records < count) {
        let Some(chunk) = consumer.next_timeout(Duration::from_millis(100))? else { continue };
        tally.begin();
        for record in chunk.records() {
            let record = record?;
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            let (partition, offset) = (record.partition, record.offset);
            let seq = if reported { seq_of(value) } else { -1 };
            if let Ok(value) = u64::try_from(seq) {
                history.note(
                    "poll",
                    "ok",
                    || json!({ "partition": partition, "offset": offset, "value": value }),
                );
            }
            if events == "all" || (events == "first" && seen.insert(partition)) {
                emit(json!({
                    "ev": "recv", "partition": partition, "offset": offset,
                    "key": String::from_utf8_lossy(key), "seq": seq,
                }));
            }
            records += 1;
            bytes += (key.len() + value.len()) as u64;
        }
        tally.last.store(micros(), SeqCst);
    }
    tally.records.store(records, SeqCst);
    tally.bytes.store(bytes, SeqCst);
    consumer.close(CLOSE)?;
    tally.done();
    Ok(())
}

/// The number that a value starts with, else -1.
fn seq_of(value: &[u8]) -> i64 {
    let number = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()).unwrap_or(-1)
}

fn emit(mut line: Value) {
    line["t"] = micros().into();
    let mut out = io::stdout().lock();
    // The reader has gone: the process is about to be ended.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as i64
}

/// User and system time of this process; Linux, in its steps of 10 ms.
fn cpu_us() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000
}

fn maxrss_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse().ok()).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
