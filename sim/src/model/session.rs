//! Fetch sessions (KIP-227, `FetchSession.scala`).

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::protocol::StrBytes;

use crate::code;
use crate::image::TopicRef;

/// First version that names topics by id.
pub(super) const BY_ID: i16 = 13;

/// One partition as the client requests it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) topic: TopicRef,
    pub(super) partition: i32,
    pub(super) leader_epoch: i32,
    pub(super) offset: i64,
    pub(super) last_fetched_epoch: i32,
    pub(super) max_bytes: i32,
    /// (high watermark, log start) last reported; an incremental response repeats only news.
    pub(super) reported: Option<(i64, i64)>,
}

/// Partitions in the order in which they are read.
#[derive(Clone, Debug, Default)]
pub(super) struct Items {
    turns: BTreeMap<u64, Item>,
    index: HashMap<(TopicRef, i32), u64>,
    next: u64,
}

impl Items {
    pub(super) fn of(request: &FetchRequest, version: i16) -> Self {
        let mut items = Self::default();
        items.update(request, version);
        items
    }

    /// Adds new and changed partitions, and removes forgotten ones.
    fn update(&mut self, request: &FetchRequest, version: i16) {
        for topic in &request.forgotten_topics_data {
            let place = place(version, &topic.topic.0, topic.topic_id);
            for partition in &topic.partitions {
                if let Some(turn) = self.index.remove(&(place.clone(), *partition)) {
                    self.turns.remove(&turn);
                }
            }
        }
        for topic in &request.topics {
            let place = place(version, &topic.topic.0, topic.topic_id);
            for wanted in &topic.partitions {
                self.put(Item {
                    topic: place.clone(),
                    partition: wanted.partition,
                    leader_epoch: if version >= 9 { wanted.current_leader_epoch } else { -1 },
                    offset: wanted.fetch_offset,
                    last_fetched_epoch: if version >= 12 { wanted.last_fetched_epoch } else { -1 },
                    max_bytes: wanted.partition_max_bytes,
                    reported: None,
                });
            }
        }
    }

    fn put(&mut self, mut item: Item) {
        let key = (item.topic.clone(), item.partition);
        if let Some(known) = self.index.get(&key).and_then(|turn| self.turns.get_mut(turn)) {
            item.reported = known.reported;
            *known = item;
            return;
        }
        self.next += 1;
        self.index.insert(key, self.next);
        self.turns.insert(self.next, item);
    }

    /// Moves a partition that had its data behind the others.
    pub(super) fn move_back(&mut self, turn: u64) {
        let Some(item) = self.turns.remove(&turn) else { return };
        self.next += 1;
        self.index.insert((item.topic.clone(), item.partition), self.next);
        self.turns.insert(self.next, item);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Item)> {
        self.turns.iter().map(|(turn, item)| (*turn, item))
    }

    pub(super) fn get_mut(&mut self, turn: u64) -> Option<&mut Item> {
        self.turns.get_mut(&turn)
    }

    pub(super) fn contains(&self, key: &(TopicRef, i32)) -> bool {
        self.index.contains_key(key)
    }

    fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

fn place(version: i16, name: &StrBytes, id: uuid::Uuid) -> TopicRef {
    if version >= BY_ID { TopicRef::Id(id) } else { TopicRef::Name(name.clone()) }
}

#[derive(Clone, Debug)]
struct Session {
    /// Expected in the next request.
    epoch: i32,
    by_id: bool,
    items: Items,
}

/// A broker's session cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    sessions: HashMap<i32, Session>,
    made: i32,
}

/// The partitions that a Fetch request reads.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Its own list; `keep`: the client wants a session for it.
    Own {
        /// The list.
        items: Items,
        /// Whether a session is wanted.
        keep: bool,
    },
    /// The session with this id.
    Session(i32),
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn clear(&mut self) {
        self.sessions.clear();
    }

    pub(super) fn items(&self, id: i32) -> Option<&Items> {
        self.sessions.get(&id).map(|session| &session.items)
    }

    pub(super) fn items_mut(&mut self, id: i32) -> Option<&mut Items> {
        self.sessions.get_mut(&id).map(|session| &mut session.items)
    }

    /// `FetchManager.newContext`: the codes are those at the top of the response.
    pub(super) fn open(&mut self, request: &FetchRequest, version: i16) -> Result<Source, i16> {
        let by_id = version >= BY_ID;
        if version < 7 {
            return Ok(Source::Own { items: Items::of(request, version), keep: false });
        }
        if request.session_epoch <= 0 {
            self.sessions.remove(&request.session_id);
            let keep = request.session_epoch == 0;
            return Ok(Source::Own { items: Items::of(request, version), keep });
        }
        let session = self.sessions.get_mut(&request.session_id);
        let session = session.ok_or(code::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.by_id != by_id {
            return Err(code::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        if session.epoch != request.session_epoch {
            return Err(code::INVALID_FETCH_SESSION_EPOCH);
        }
        session.items.update(request, version);
        session.epoch = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
        if session.items.is_empty() {
            self.sessions.remove(&request.session_id);
            return Ok(Source::Own { items: Items::default(), keep: false });
        }
        Ok(Source::Session(request.session_id))
    }

    /// Creates a session at `broker`; returns its id, or 0 when all `slots` are taken.
    pub(super) fn keep(&mut self, broker: i32, items: Items, version: i16, slots: usize) -> i32 {
        if items.is_empty() || self.sessions.len() >= slots {
            return 0;
        }
        self.made += 1;
        // Scattered like the random ids of brokers, but the same in each run.
        let number = broker.wrapping_mul(0x01_0000) ^ self.made;
        let id = number.wrapping_mul(0x2545_f491) & i32::MAX | 1;
        let by_id = version >= BY_ID;
        self.sessions.insert(id, Session { epoch: 1, by_id, items });
        id
    }
}
