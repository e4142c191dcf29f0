//! An application that polls nothing for 40 s while a whole response is in the receive buffer, in
//! virtual time: the connection stays, and nothing is fetched again.

use core::time::Duration;

use kavka_core::{Commands, Event, Instant, Limits, Record, Start};
use kavka_tests::sim::{ApiKey, App, Options, World};

use crate::measure::{Figure, Outcome};

const TOPIC: &str = "log";
const STALL: Duration = Duration::from_secs(40);
const RECORDS: usize = 300;
const VALUE: usize = 100;

/// Takes nothing for [`STALL`] after its first records, once.
#[derive(Default)]
struct Stalls {
    stalls: bool,
    until: Option<Instant>,
    read: usize,
    delivered: usize,
    /// Connections that ended.
    ended: usize,
}

impl App for Stalls {
    fn on_event(&mut self, now: Instant, event: Event<'_>, _: &mut Commands<'static>) {
        match event {
            Event::Records(batch) => {
                self.read += batch.records().count();
                if core::mem::take(&mut self.stalls) {
                    self.until = Some(now + STALL);
                }
            }
            Event::Delivered { count, .. } => self.delivered += count as usize,
            Event::Disconnected { .. } => self.ended += 1,
            _ => {}
        }
    }

    fn on_idle(&mut self, now: Instant, _: &mut Commands<'static>) {
        self.until = self.until.filter(|until| *until > now);
    }

    fn wake_at(&self) -> Option<Instant> {
        self.until
    }

    fn is_busy(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

pub(crate) fn run() -> Outcome {
    let options = Options { brokers: 1, replication: 1, ..Options::default() };
    let mut world = World::new(1, options);
    world.cluster.create_topic(TOPIC, 1).map_err(|code| format!("no topic: {code}"))?;
    let limits = Limits::small();
    // Small batches: the response holds many, and all of them fit into the receive buffer.
    let writer = world.join(Stalls::default(), &limits, |config| config.batch_bytes = 1024);
    let topic = world.command(writer, |_, client, _| client.topic(TOPIC));
    let topic = topic.map_err(|error| format!("{error}"))?;
    world.run_for(Duration::from_secs(1));
    for _ in 0..RECORDS {
        let record = Record::new(&[b'v'; VALUE]);
        let sent = world.command(writer, |now, client, _| client.produce(now, topic, &record));
        sent.map_err(|error| format!("{error}"))?;
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(Duration::from_secs(5));
    let written = world.app(writer).delivered;
    let reader = world.join(Stalls { stalls: true, ..Stalls::default() }, &limits, |_| ());
    let assigned = world.command(reader, |now, client, _| {
        let topic = client.topic(TOPIC)?;
        client.assign_all(now, topic, Start::Earliest)
    });
    assigned.map_err(|error| format!("{error}"))?;
    world.run_for(STALL + Duration::from_secs(20));
    let app = world.app(reader);
    let log: usize = world.cluster.batches(TOPIC, 0).iter().map(|batch| batch.len()).sum();
    // Responses without records are included: each is less than 100 bytes.
    let traffic = world.cluster.counters().of(ApiKey::Fetch);
    let fetched = traffic.bytes_out.saturating_sub(100 * traffic.requests) as usize;
    if written != RECORDS || app.read < RECORDS {
        return Err(format!("{written} records written, {} read", app.read).into());
    }
    Ok(Figure {
        found: format!(
            "polls nothing for {STALL:?}: {} connections ended, {fetched} bytes fetched of a log \
             of {log}",
            app.ended
        ),
        bar: "none ended, 1.1 x the log".into(),
        kept: app.ended == 0 && fetched <= log * 11 / 10,
    })
}
