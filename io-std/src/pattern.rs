//! The topics of a subscription by regular expression, for any loop around a client: what Kafka
//! before 4.0, and classic groups, leave to members. No I/O of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use kavka_core::wire::{ErrorCode, Uuid};
use kavka_core::{
    Admin, Commands, Error as Core, Event, Instant, Reply, RequestId, Start, TopicId,
};
use regex::bytes::{Regex, RegexBuilder};

use crate::error::{Error, ErrorKind};

/// Between two lists of all topics.
const INTERVAL: Duration = Duration::from_secs(5);
/// A list is requested no more often than this many of its bytes a second allow.
const BYTES_PER_SECOND: u64 = 64 * 1024;
/// Bytes of a partition in a list, about.
const PARTITION: u64 = 50;
/// Bytes of a topic besides its name and its partitions, about.
const TOPIC: u64 = 40;
/// After a request that was not taken or failed.
const AGAIN: Duration = Duration::from_millis(500);
/// So many lists in a row lack a topic that is taken for deleted: a broker may be behind.
const LACKING: u8 = 3;

/// A topic that was subscribed.
struct Subscribed {
    id: TopicId,
    /// Lists in a row that did not have it.
    lacking: u8,
}

/// Finds the topics of a client's [`Config::group_pattern`](kavka_core::Config::group_pattern).
///
/// The first list of all topics, before the member joins, decides which topics are new: those that
/// come later are read from their first record, whatever the start is. Where the coordinator finds
/// the topics it is the only one. Else a list is requested every 5 s, or more rarely where it is
/// long: 64 KiB a second at most. Topics of Kafka's own (`__consumer_offsets`) are left out, as by
/// `exclude.internal.topics` of other clients.
///
/// Each turn of the loop: [`PatternTopics::drive`], and [`PatternTopics::handle_event`] with each
/// event. The client needs space for an admin request.
pub struct PatternTopics {
    expression: Regex,
    start: Start,
    /// The topics of the first list, with their ids.
    first: Option<HashMap<String, Uuid>>,
    /// The coordinator does not find topics.
    finds: bool,
    request: Option<RequestId>,
    /// The list that arrives: names and ids, those that brokers cannot describe now, and bytes.
    found: BTreeMap<String, Uuid>,
    unsure: BTreeSet<String>,
    bytes: u64,
    topics: BTreeMap<String, Subscribed>,
    next: Option<Instant>,
    error: Option<Core>,
}

impl PatternTopics {
    /// Reads an expression, which has to match whole names. Of the languages of Rust's `regex` and
    /// of RE2J, which brokers have, it may use what both have. Partitions begin as
    /// [`Commands::subscribe`] says.
    ///
    /// # Errors
    /// When it is no regular expression.
    pub fn new(expression: &str, start: Start) -> Result<Self, Error> {
        let whole = |text: &str| RegexBuilder::new(text).unicode(false).build();
        // Alone first: a parenthesis too many would end the group here.
        let whole = whole(expression).and_then(|_| whole(&format!(r"\A(?:{expression})\z")));
        let expression = whole.map_err(|why| {
            let why = why.to_string();
            let why = why.lines().last().unwrap_or_default().trim().to_owned();
            let error = Error::from(ErrorKind::Pattern).with_message(why);
            error.doing(format!("read topics that match {expression}"))
        })?;
        Ok(Self {
            expression,
            start,
            first: None,
            finds: false,
            request: None,
            found: BTreeMap::new(),
            unsure: BTreeSet::new(),
            bytes: 0,
            topics: BTreeMap::new(),
            next: Some(Instant::ZERO),
            error: None,
        })
    }

    /// Whether a topic's name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.expression.is_match(name.as_bytes())
    }

    /// Whether the client was subscribed: the first list was there.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.first.is_some()
    }

    /// Returns when [`PatternTopics::drive`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.next
    }

    /// Requests a list of all topics when it is due.
    ///
    /// # Errors
    /// When the client cannot subscribe, or has too little memory for the topics.
    pub fn drive(&mut self, now: Instant, commands: &mut Commands<'_>) -> Result<(), Core> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.next.is_none_or(|next| next > now) || self.request.is_some() {
            return Ok(());
        }
        match commands.admin(now, &Admin::Describe { topic: None }) {
            Ok(id) => {
                (self.request, self.next, self.bytes) = (Some(id), None, 0);
                self.found.clear();
                self.unsure.clear();
            }
            Err(_) => self.next = Some(now + AGAIN),
        }
        Ok(())
    }

    /// Joins again, after the member has left: topics that came since the beginning are still new
    /// ones.
    ///
    /// # Errors
    /// When the client cannot subscribe.
    pub fn rejoin(&mut self, now: Instant, commands: &mut Commands<'_>) -> Result<(), Core> {
        // Else the first list does.
        match self.first {
            Some(_) => commands.subscribe_pattern(now, self.start),
            None => Ok(()),
        }
    }

    /// Takes an event of the client; those about other things change nothing. Returns whether it
    /// was a part of a list, which is nobody else's.
    pub fn handle_event(
        &mut self,
        now: Instant,
        event: &Event<'_>,
        commands: &mut Commands<'_>,
    ) -> bool {
        match *event {
            Event::Reply { id, reply } if Some(id) == self.request => {
                self.take(now, &reply, commands);
                return true;
            }
            Event::FindTopics => {
                self.finds = true;
                if self.request.is_none() {
                    self.next = Some(now);
                }
            }
            Event::TopicJoined { topic } if self.is_new(topic, commands) => {
                commands.read_from_first(topic);
            }
            Event::TopicLeft { topic } => {
                let name = commands.topic_name(topic).unwrap_or_default();
                // It may be back already.
                if !self.topics.contains_key(name) {
                    commands.unwatch(topic);
                }
            }
            _ => {}
        }
        false
    }

    /// Whether a topic was created since the first list.
    fn is_new(&self, topic: TopicId, commands: &Commands<'_>) -> bool {
        let name = commands.topic_name(topic).unwrap_or_default();
        let id = commands.freshness(topic).map_or(Uuid::ZERO, |known| known.id);
        let Some(first) = &self.first else { return false };
        first.get(name).is_none_or(|old| *old != id && !id.is_zero() && !old.is_zero())
    }

    fn take(&mut self, now: Instant, reply: &Reply<'_>, commands: &mut Commands<'_>) {
        match *reply {
            Reply::Topic { name, id, internal, error } => {
                self.bytes += TOPIC + name.len() as u64;
                if internal || !self.matches(name) {
                    return;
                }
                match error {
                    ErrorCode::NONE => drop(self.found.insert(name.to_owned(), id)),
                    error if error.is_retriable() => drop(self.unsure.insert(name.to_owned())),
                    _ => {}
                }
            }
            Reply::Partition { .. } => self.bytes += PARTITION,
            Reply::Done(Ok(())) => {
                self.request = None;
                self.error = self.listed(now, commands).err();
            }
            Reply::Done(Err(_)) => {
                (self.request, self.next) = (None, Some(now + AGAIN));
            }
            _ => {}
        }
    }

    /// Handles a whole list.
    fn listed(&mut self, now: Instant, commands: &mut Commands<'_>) -> Result<(), Core> {
        if self.first.is_none() {
            self.first = Some(self.found.iter().map(|(name, id)| (name.clone(), *id)).collect());
            commands.subscribe_pattern(now, self.start)?;
        }
        if !self.finds {
            return Ok(());
        }
        let pause = Duration::from_millis(self.bytes * 1000 / BYTES_PER_SECOND);
        self.next = Some(now + pause.max(INTERVAL));
        for name in self.found.keys() {
            if !self.topics.contains_key(name) {
                let id = commands.topic(name)?;
                self.topics.insert(name.clone(), Subscribed { id, lacking: 0 });
            }
        }
        let Self { topics, found, unsure, first, .. } = self;
        topics.retain(|name, topic| {
            let listed = found.contains_key(name) || unsure.contains(name);
            topic.lacking = if listed { 0 } else { topic.lacking + 1 };
            let gone = topic.lacking >= LACKING;
            if let Some(first) = first.as_mut().filter(|_| gone) {
                // One of this name that comes later is another one.
                first.remove(name);
            }
            !gone
        });
        let ids: Vec<_> = topics.values().map(|topic| topic.id).collect();
        commands.resolve_pattern(now, &ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expression: &str) -> Result<PatternTopics, Error> {
        PatternTopics::new(expression, Start::Latest)
    }

    #[test]
    fn whole_names_match() {
        let topics = of("orders-.*|audit").expect("an expression");
        for (name, matches) in [
            ("orders-1", true),
            ("orders-", true),
            ("audit", true),
            ("audit2", false),
            ("my-orders-1", false),
        ] {
            assert_eq!(topics.matches(name), matches, "{name}");
        }
        assert!(of("^orders-.*$").expect("anchors are fine").matches("orders-1"));
        assert!(of(r"t\d+").expect("classes of ASCII").matches("t12"));
    }

    #[test]
    fn an_expression_that_is_none_is_named() {
        for bad in ["orders-(", "a)(b", "*", "[z-a]"] {
            let text = of(bad).err().expect("refused").to_string();
            assert!(text.contains(bad) && text.contains("regular expression"), "{text}");
        }
    }
}
