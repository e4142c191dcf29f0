//! Events for the facades `log` and `tracing`: the same names and levels in both, under the target
//! `kavka`.

use super::Event;

/// Name of an event, and whether an operator should look at it.
fn name(event: &Event) -> (&'static str, bool) {
    match event {
        Event::TopicReady { .. } => ("topic_ready", false),
        Event::PartitionsAdded { .. } => ("partitions_added", false),
        Event::LeaderMoved { .. } => ("leader_moved", false),
        Event::TopicRecreated { .. } => ("topic_recreated", true),
        Event::TopicFailed { .. } => ("topic_failed", true),
        Event::BrokerStale { .. } => ("broker_stale", true),
        Event::Assigned { .. } => ("assigned", false),
        Event::Positioned { .. } => ("positioned", false),
        Event::EndOfPartition { .. } => ("end_of_partition", false),
        Event::Moved { .. } => ("moved", true),
        Event::PartitionFailed { .. } => ("partition_failed", true),
        Event::Disconnected { .. } => ("disconnected", true),
    }
}

/// What happened, for people.
struct Text<'a>(&'a Event);

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Event::TopicFailed { error, .. }
            | Event::PartitionFailed { error, .. }
            | Event::Disconnected { error, .. } => write!(f, "{error}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Warnings for trouble, debug for everything else.
pub(crate) fn event(event: &Event) {
    let (name, trouble) = name(event);
    #[cfg(feature = "log")]
    {
        let level = if trouble { log::Level::Warn } else { log::Level::Debug };
        log::log!(target: "kavka", level, "{name}: {}", Text(event));
    }
    #[cfg(feature = "tracing")]
    if trouble {
        tracing::warn!(target: "kavka", event = name, "{}", Text(event));
    } else {
        tracing::debug!(target: "kavka", event = name, "{}", Text(event));
    }
}
