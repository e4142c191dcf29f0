//! Members as children of this process.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kavka_tests::kafka::{Version, jars};

use crate::{Peer, Protocol, Result, name};

const RANGE: &str = "org.apache.kafka.clients.consumer.RangeAssignor";
const COOPERATIVE: &str = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
/// A member that is to leave ends by itself within this time.
const LEAVES: Duration = Duration::from_secs(20);

/// Partition and offset.
pub(crate) type Place = (u32, i64);

/// What all members of a group have read, and what else they said.
#[derive(Default)]
pub(crate) struct Ledger {
    read: Mutex<HashMap<Place, (Instant, u32)>>,
    said: Mutex<Vec<String>>,
}

impl Ledger {
    fn note(&self, line: &str) {
        if let Some((partition, offset)) = line.split_once('\t')
            && let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse())
        {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.entry((partition, offset)).or_insert((Instant::now(), 0)).1 += 1;
        } else {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push(line.to_owned());
        }
    }

    pub(crate) fn first(&self, place: Place) -> Option<Instant> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.get(&place).map(|(at, _)| *at)
    }

    /// When the first record of a partition was read.
    pub(crate) fn first_of(&self, partition: u32) -> Option<Instant> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.iter().filter(|((at, _), _)| *at == partition).map(|(_, (at, _))| *at).min()
    }

    /// How many of these were read more than once.
    pub(crate) fn again(&self, places: &[Place]) -> usize {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().filter(|place| read.get(place).is_some_and(|(_, times)| *times > 1)).count()
    }

    /// How often a line was said that has this in it.
    pub(crate) fn says(&self, what: &str) -> usize {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().filter(|line| line.contains(what)).count()
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A member. Dropped, it is killed.
pub(crate) struct Running {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(
        peer: Peer,
        protocol: Protocol,
        at: [&str; 3],
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let mut command = match peer {
            Peer::Kavka | Peer::Librdkafka => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--peers", &name(peer), "--protocols", &name(protocol), "--member"]);
                command.args(at);
                command
            }
            Peer::Franz | Peer::Sarama => {
                let mut command = Command::new(go().ok_or("no Go")?);
                command.args(["member", &name(peer), &name(protocol)]).args(at);
                command
            }
            Peer::Java => java(protocol, at)?,
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let out = child.stdout.take().ok_or("no stdout")?;
        let ledger = ledger.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(std::io::Result::ok) {
                ledger.note(&line);
            }
        });
        Ok(Self { child, reader: Some(reader) })
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.end()
    }

    /// Has it leave the group.
    pub(crate) fn leave(&mut self) -> Result<()> {
        if let Some(mut stdin) = self.child.stdin.take() {
            stdin.write_all(b"\n")?;
        }
        let until = Instant::now() + LEAVES;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                self.kill()?;
                return Err("a member does not leave".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| "the reader of a member's output")?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// Whether the client has the protocol.
    pub(crate) const fn has(self, protocol: Protocol) -> bool {
        match self {
            Self::Sarama => matches!(protocol, Protocol::Range | Protocol::Hosted),
            _ => true,
        }
    }
}

pub(crate) fn is_here(peer: Peer) -> bool {
    match peer {
        Peer::Franz | Peer::Sarama => go().is_some(),
        _ => true,
    }
}

/// Returns the program of `go/`, built once.
fn go() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let program = std::env::current_exe().ok()?.with_file_name("mixed-go");
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).arg(".");
        go.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go"));
        go.status().is_ok_and(|status| status.success()).then_some(program)
    });
    built.as_deref()
}

fn java(protocol: Protocol, [bootstrap, group, topic]: [&str; 3]) -> Result<Command> {
    let jars = jars::fetch(Version::V4_4_0)?;
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).args(["-Xmx256m", "-XX:TieredStopAtLevel=1"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/java/GroupMember.java"));
    command.args([bootstrap, group, topic]);
    match protocol {
        Protocol::Range | Protocol::Hosted => command.arg(RANGE),
        Protocol::Cooperative => command.arg(COOPERATIVE),
        Protocol::Consumer => &mut command,
    };
    Ok(command)
}
