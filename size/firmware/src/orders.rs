//! The consumer of a device.

use kavka_core::{Client, Commands, Event, Start};

use crate::net::now;
use crate::signal;

/// Reads all partitions of a topic, including those added later.
pub fn assign(client: &mut Client<'_>) -> Option<()> {
    let valves = client.topic("valves").ok()?;
    #[cfg(feature = "group")]
    return client.subscribe(now(), &[valves], Start::Latest).ok();
    #[cfg(not(feature = "group"))]
    client.assign_all(now(), valves, Start::Latest).ok()
}

/// Handles the records of an event; skips what cannot be read.
pub fn take(event: &Event<'_>, commands: &mut Commands<'_>) {
    match event {
        Event::Records(batch) => {
            #[cfg(feature = "codecs")]
            let mut scratch = [0; 512];
            #[cfg(feature = "codecs")]
            let Ok(records) = batch.unpack(&mut kavka_core::codec::Compact::new(), &mut scratch)
            else {
                return commands.park(batch.partition(), batch.position());
            };
            #[cfg(not(feature = "codecs"))]
            let records = batch.records();
            for record in records {
                let Ok(record) = record else { break };
                if record.key == Some(b"later") {
                    return commands.hold(batch.partition(), record.offset);
                }
                let headers = record.headers.map(|header| header.name.len()).sum::<usize>();
                let bytes = record.value.or(record.key).unwrap_or_default();
                signal(bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>() + headers as u32);
                signal((record.offset ^ record.timestamp) as u32);
            }
        }
        Event::Corrupt { at, next_offset, .. } | Event::TooLarge { at, next_offset, .. } => {
            let _ = commands.seek(now(), *at, Start::Offset(*next_offset));
        }
        #[cfg(feature = "group")]
        Event::Revoking { at, .. } => {
            signal(commands.committed(*at).is_some_and(|at| at > 0).into());
            let _ = commands.commit(now());
        }
        #[cfg(feature = "group")]
        Event::GroupFailed { .. } => {
            commands.unsubscribe(now(), kavka_core::Duration::from_secs(1));
        }
        Event::Assigned { at, .. } => {
            commands.pause(*at);
            commands.resume(now(), *at);
        }
        _ => {}
    }
}
