//! Brokers and members that restart, die and stop under load.

use core::time::Duration;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use clap::Args;
use kavka_std::Config;
use kavka_tests::kafka::process::Guarded;
use kavka_tests::kafka::{Cluster, Version};

use crate::log::Logs;
use crate::writer::Writer;
use crate::{Failure, Kind, Protocol, SESSION, brokers};

const TOPIC: &str = "readings";
/// Time for members to read all that was acknowledged.
const CATCH_UP: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(crate) struct Options {
    /// Kafka version.
    #[arg(long, default_value = "4.4.0")]
    version: Version,
    #[command(flatten)]
    kind: Kind,
    /// Members.
    #[arg(long, default_value_t = 6)]
    members: usize,
    /// Records a second.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
}

struct Run<'a> {
    options: &'a Options,
    cluster: Cluster,
    folder: PathBuf,
    members: Vec<Guarded>,
    started: usize,
    logs: Logs,
    writer: Writer,
    partitions: u32,
    doubled: u64,
    failed: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let cluster = Cluster::start(brokers(options.version, 3))?;
    let partitions = 12;
    cluster.create(TOPIC, partitions)?;
    let config = Config::new(cluster.bootstrap());
    let folder = std::env::temp_dir().join(format!("kafka-groups-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut run = Run {
        options,
        folder: folder.clone(),
        members: Vec::new(),
        started: 0,
        logs: Logs::default(),
        // Members first: what is written before first contact is not theirs.
        writer: Writer::start(config.clone(), TOPIC, partitions, 0)?,
        cluster,
        partitions,
        doubled: 0,
        failed: false,
    };
    for _ in 0..options.members {
        let member = run.member()?;
        run.members.push(member);
    }
    thread::sleep(2 * SESSION);
    run.writer = Writer::start(config, TOPIC, partitions, options.rate)?;
    println!(
        "{} of {} on Kafka {} x3, {} records/s of 100 B, two new partitions in each phase.\n",
        options.members,
        options.kind.name(),
        options.version,
        options.rate,
    );
    println!(
        "| phase | s | read | lost | doubled | from sending to reading, ms: median | 99 % | worst |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    run.phases()?;
    drop(run.members);
    run.writer.end();
    std::fs::remove_dir_all(&folder)?;
    if run.failed { Err("records were lost".into()) } else { Ok(()) }
}

impl Run<'_> {
    fn phases(&mut self) -> Result<(), Failure> {
        self.phase("nothing else", |_| Ok(()))?;
        self.phase("brokers restarted, one after the other", |run| {
            for node in 1..=3 {
                run.cluster.terminate(node)?;
                thread::sleep(Duration::from_secs(6));
                run.cluster.restart(node)?;
                run.cluster.await_in_sync(TOPIC)?;
            }
            Ok(())
        })?;
        self.phase("members restarted, one after the other", |run| {
            for at in 0..run.members.len() {
                run.members[at].signal("TERM")?;
                run.await_end(at)?;
                run.members[at] = run.member()?;
                thread::sleep(Duration::from_secs(2));
            }
            Ok(())
        })?;
        self.phase("coordinator killed", |run| {
            let offsets = run.cluster.metadata(Some("__consumer_offsets"))?;
            let node = usize::try_from(offsets.partitions.first().ok_or("none")?.leader)?;
            run.cluster.kill(node)?;
            thread::sleep(Duration::from_secs(10));
            run.cluster.restart(node)?;
            Ok(run.cluster.await_in_sync(TOPIC)?)
        })?;
        self.phase("a member stopped for two sessions", |run| {
            run.members[0].signal("STOP")?;
            thread::sleep(2 * SESSION);
            Ok(run.members[0].signal("CONT")?)
        })?;
        self.phase("a member killed, another started", |run| {
            run.members[1].signal("KILL")?;
            thread::sleep(Duration::from_secs(3));
            run.members[1] = run.member()?;
            thread::sleep(SESSION);
            Ok(())
        })
    }

    fn member(&mut self) -> Result<Guarded, Failure> {
        self.started += 1;
        let path = self.folder.join(format!("member-{}", self.started));
        let bootstrap = self.cluster.bootstrap();
        let kind = &self.options.kind;
        let protocol = match kind.protocol {
            Protocol::Consumer => "consumer",
            Protocol::Classic => "classic",
        };
        let args = ["member", "--bootstrap", &bootstrap, "--topic", TOPIC, "--group", "dashboard"];
        let more = ["--protocol", protocol, "--assignors", &kind.assignors];
        let args: Vec<String> = args.iter().chain(&more).map(ToString::to_string).collect();
        let program = std::env::current_exe()?;
        let guarded = Guarded::start(&program.display().to_string(), &args, &path)?;
        self.logs.add(path);
        Ok(guarded)
    }

    fn await_end(&self, at: usize) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.members[at].has_ended() {
            if Instant::now() > until {
                return Err("a member did not end".into());
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Runs this, the topic growing at its beginning, and prints what became of the records.
    fn phase(
        &mut self,
        name: &str,
        act: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (begun, before) = (Instant::now(), self.logs.len());
        self.logs.delays.0.clear();
        self.partitions += 2;
        self.cluster.grow_at_last(TOPIC, self.partitions)?;
        self.writer.widen(self.partitions);
        act(self)?;
        thread::sleep(Duration::from_secs(5));
        let wanted = self.writer.acknowledged();
        let until = Instant::now() + CATCH_UP;
        let lost = loop {
            self.logs.update()?;
            let lost = wanted.iter().filter(|place| !self.logs.has(place)).count();
            if lost == 0 || Instant::now() > until {
                break lost;
            }
            thread::sleep(LOOK_AGAIN);
        };
        let doubled = self.logs.doubled();
        println!(
            "| {name} | {} | {} | {lost} | {} | {} |",
            begun.elapsed().as_secs(),
            self.logs.len() - before,
            doubled - self.doubled,
            self.logs.delays.columns(),
        );
        self.doubled = doubled;
        self.failed |= lost > 0;
        for line in self.logs.said.drain(..) {
            println!("  a member: {line}");
        }
        Ok(())
    }
}
