//! Uses all fields of an event, as an application that logs would.

use kavka_core::{Event, PartitionId, Reply, Source, TopicId};

use crate::signal;

/// Uses every field of every event.
pub fn show(event: &Event<'_>) {
    #[cfg(feature = "defmt")]
    defmt::println!("{}", event);
    let number = match *event {
        Event::TopicReady { topic, partitions } | Event::TopicRecreated { topic, partitions } => {
            topic_number(topic) ^ partitions
        }
        Event::PartitionsAdded { topic, from, to, by: Source { broker, signal } } => {
            topic_number(topic) ^ from ^ to ^ broker as u32 ^ signal as u32
        }
        Event::LeaderMoved { topic, partition, epoch } => {
            topic_number(topic) ^ partition ^ epoch as u32
        }
        Event::TopicFailed { topic, error } => topic_number(topic) ^ u32::from(error_number(error)),
        Event::BrokerStale { broker, topic } => topic_number(topic) ^ broker as u32,
        Event::Delivered { batch, to, first, count, base_offset } => {
            let offset = base_offset.unwrap_or(-1) as u32;
            batch.get() as u32 ^ to.partition ^ first ^ count ^ offset
        }
        Event::Failed { batch, to, first, count, error, maybe_written } => {
            let flags = u32::from(error_number(error)) ^ u32::from(maybe_written);
            batch.get() as u32 ^ to.partition ^ first ^ count ^ flags
        }
        Event::Records(batch) => {
            part_number(batch.partition()) ^ batch.position() as u32 ^ batch.high_watermark() as u32
        }
        Event::TooLarge { at, offset, next_offset, needed } => {
            part_number(at) ^ offset as u32 ^ next_offset as u32 ^ needed as u32
        }
        Event::Corrupt { at, offset, next_offset, .. } => {
            part_number(at) ^ offset as u32 ^ next_offset as u32
        }
        Event::Moved { at, from, to, why } => {
            part_number(at) ^ from as u32 ^ to as u32 ^ why as u32
        }
        Event::PartitionFailed { at, error } => part_number(at) ^ u32::from(error_number(error)),
        Event::Assigned { at, partition } => part_number(at) ^ partition.partition,
        Event::Disconnected { broker, error } => broker as u32 ^ u32::from(error_number(error)),
        #[cfg(feature = "group")]
        Event::Revoking { at, partition } | Event::Lost { at, partition } => {
            part_number(at) ^ partition.partition
        }
        #[cfg(feature = "group")]
        Event::Committed { result, .. } => u32::from(result.is_ok()),
        #[cfg(feature = "group")]
        Event::GroupStable { epoch, partitions } => epoch as u32 ^ partitions,
        #[cfg(feature = "group")]
        Event::GroupTrouble { error } => u32::from(error_number(error)),
        Event::Reply { reply: Reply::Done(done), .. } => u32::from(done.is_ok()),
        Event::Room => 1,
        Event::Flushed => 2,
        _ => 0,
    };
    signal(number);
}

/// Returns a topic's number. Ids have no readable content; reading them is enough.
fn topic_number(topic: TopicId) -> u32 {
    core::hint::black_box(topic);
    1
}

fn part_number(at: PartitionId) -> u32 {
    core::hint::black_box(at);
    2
}

fn error_number(error: kavka_core::Error) -> bool {
    matches!(error, kavka_core::Error::Broker(code) if code.is_retriable())
}
