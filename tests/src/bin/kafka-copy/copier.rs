//! The process that copies: killed, ended, or stopped until another one has taken its place.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::Path;
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use kavka_tests::kafka::process::Guarded;

use super::{FROM, Failure, TICK, TO};

/// Time for an ordinary end.
const END_LIMIT: Duration = Duration::from_secs(30);
/// Longer than a session.
const STOPPED: Duration = Duration::from_secs(9);

/// One of the processes that copy.
pub(super) struct Plan<'a> {
    pub(super) kavka: &'a Path,
    pub(super) bootstrap: &'a str,
    /// For what it prints.
    pub(super) folder: &'a Path,
    pub(super) number: usize,
    /// Nothing happens to it after that.
    pub(super) end: Instant,
}

/// What happened to processes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copies {
    killed: u32,
    /// By SIGTERM, with an ordinary end.
    terminated: u32,
    /// Stopped until another one was at work, then continued.
    stopped: u32,
    /// Ended by themselves.
    gave_up: u32,
}

impl Copies {
    pub(super) fn add(&mut self, other: &Self) {
        self.killed += other.killed;
        self.terminated += other.terminated;
        self.stopped += other.stopped;
        self.gave_up += other.gave_up;
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { killed, terminated, stopped, gave_up } = self;
        write!(f, "{killed} kills, {terminated} ends, {stopped} stops, {gave_up} times it gave up")
    }
}

impl Plan<'_> {
    fn start(&self) -> Result<Guarded, Failure> {
        let id = format!("copy-{}", self.number);
        let args = [
            "-b",
            self.bootstrap,
            "copy",
            FROM,
            TO,
            "--exactly-once",
            "--transactional-id",
            &id,
            "-X",
            "session.timeout.ms=6000",
            "-X",
            "heartbeat.interval.ms=1000",
        ];
        let args = args.map(str::to_owned);
        let log = self.folder.join(format!("{id}.log"));
        Ok(Guarded::start(&self.kavka.display().to_string(), &args, &log)?)
    }
}

/// Copies until `over`, whatever happens to it.
pub(super) fn copy(plan: &Plan<'_>, mut rng: Rng, over: &AtomicBool) -> Result<Copies, Failure> {
    let mut copies = Copies::default();
    while !over.load(Ordering::Acquire) {
        let mut running = plan.start()?;
        let life = Duration::from_millis(rng.u64(500..20_000));
        let until = Instant::now() + life;
        let is_calm = || Instant::now() >= plan.end;
        while !over.load(Ordering::Acquire) && !running.has_ended() {
            if Instant::now() >= until && !is_calm() {
                break;
            }
            thread::sleep(TICK);
        }
        if running.has_ended() {
            copies.gave_up += 1;
            continue;
        }
        if over.load(Ordering::Acquire) {
            end(&mut running, plan)?;
            return Ok(copies);
        }
        match rng.u32(0..8) {
            0 => {
                copies.terminated += 1;
                end(&mut running, plan)?;
            }
            1 => {
                copies.stopped += 1;
                replace(running, plan)?;
            }
            _ => copies.killed += 1, // dropped
        }
    }
    Ok(copies)
}

/// Has it end as a user does.
fn end(running: &mut Guarded, plan: &Plan<'_>) -> Result<(), Failure> {
    running.signal("TERM")?;
    let limit = Instant::now() + END_LIMIT;
    while !running.has_ended() {
        if Instant::now() > limit {
            return Err(format!("copy {} does not end within {END_LIMIT:?}", plan.number).into());
        }
        thread::sleep(TICK);
    }
    Ok(())
}

/// Has another one at work while it is stopped, and lets it go on beside it.
fn replace(mut running: Guarded, plan: &Plan<'_>) -> Result<(), Failure> {
    running.signal("STOP")?;
    let _other = plan.start()?;
    thread::sleep(STOPPED);
    running.signal("CONT")?;
    thread::sleep(STOPPED);
    Ok(())
}
