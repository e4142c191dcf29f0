//! Consumer groups as an admin describes them.

use kavka_core::GroupReply;
use kavka_core::wire::ErrorCode;
use kavka_core::wire::Ints;
use kavka_core::wire::consumer_protocol::{Assignment, Subscription, Topics};

use crate::error::Error;

/// What brokers list of their groups.
#[derive(Clone, Debug, Default)]
pub struct GroupListing {
    /// The groups, by id.
    pub groups: Vec<ListedGroup>,
    /// Brokers that did not list theirs, by node id, and why.
    pub failed: Vec<(i32, Error)>,
}

/// A group as its coordinator lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub id: String,
    /// What its members use it for, such as `consumer`; empty while it has only offsets.
    pub protocol_type: String,
    /// Its state; `None` before Kafka 2.6.
    pub state: Option<String>,
    /// `Classic`, `Consumer`, `Share` or `Streams`; `None` before Kafka 3.8.
    pub kind: Option<String>,
    /// Node id of its coordinator.
    pub coordinator: i32,
}

/// How a group agrees on who reads what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupKind {
    /// A member assigns all partitions (JoinGroup, SyncGroup).
    #[default]
    Classic,
    /// The coordinator assigns them (KIP-848).
    Consumer,
}

/// A group as its coordinator describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub id: String,
    /// How it agrees.
    pub kind: GroupKind,
    /// Its state, such as `Stable` or `Empty`.
    pub state: String,
    /// What its members use it for, such as `consumer`; empty while it has only offsets.
    pub protocol_type: String,
    /// The assignor; empty where none was elected.
    pub assignor: String,
    /// Its epoch, and that of the assignment that members move to; `None` for a classic group.
    pub epochs: Option<(i32, i32)>,
    /// Its members, by id.
    pub members: Vec<GroupMember>,
    /// Members, or parts of them, that did not fit into the receive buffer.
    pub left_out: usize,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// The instance id of a static member.
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Its address, as the broker sees it.
    pub host: String,
    /// Its rack.
    pub rack: Option<String>,
    /// Its epoch; `None` in a classic group.
    pub epoch: Option<i32>,
    /// How it speaks to the coordinator; `None` where a broker does not say that (before 4.0).
    pub kind: Option<GroupKind>,
    /// The topics that it subscribes by name.
    pub topics: Vec<String>,
    /// The regular expression that it subscribes by.
    pub pattern: Option<String>,
    /// Its partitions, by topic and index.
    pub assigned: Vec<(String, Vec<u32>)>,
    /// The partitions that it is to have, where they are others.
    pub target: Option<Vec<(String, Vec<u32>)>>,
    /// Its subscription or assignment could not be read: it is no consumer, or broken.
    pub unreadable: bool,
}

/// Where a group continues in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset of the next record.
    pub offset: i64,
    /// The leader epoch that was committed with it, -1 for unknown.
    pub leader_epoch: i32,
    /// The text that was committed with it.
    pub metadata: String,
    /// 0, or why the offset is not known.
    pub error: ErrorCode,
}

/// Where a group is to continue in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOffset {
    /// The partition.
    pub partition: u32,
    /// The offset of the next record.
    pub offset: i64,
    /// The leader epoch of the last record before it, -1 for unknown.
    pub leader_epoch: i32,
    /// A text that is kept with it. Members of kavka keep there when they saw the topic first:
    /// pass on [`CommittedOffset::metadata`] unless it is to be forgotten.
    pub metadata: String,
}

impl NewOffset {
    /// An offset without an epoch and a text.
    #[must_use]
    pub const fn new(partition: u32, offset: i64) -> Self {
        Self { partition, offset, leader_epoch: -1, metadata: String::new() }
    }
}

/// What was read of a response so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) described: GroupDescription,
    pub(super) offsets: Vec<CommittedOffset>,
    topic: String,
}

impl Found {
    pub(super) fn add(&mut self, reply: &GroupReply<'_>) {
        match *reply {
            GroupReply::Classic { state, protocol_type, protocol } => {
                self.described.state = state.to_owned();
                self.described.protocol_type = protocol_type.to_owned();
                self.described.assignor = protocol.to_owned();
            }
            GroupReply::Consumer { state, assignor, epoch, assignment_epoch } => {
                self.described.kind = GroupKind::Consumer;
                self.described.state = state.to_owned();
                self.described.protocol_type = "consumer".to_owned();
                self.described.assignor = assignor.to_owned();
                self.described.epochs = Some((epoch, assignment_epoch));
            }
            GroupReply::ClassicMember { .. } => self.add_classic(reply),
            GroupReply::Member { id, instance, rack, epoch, client_id, client_host } => {
                self.described.members.push(GroupMember {
                    id: id.to_owned(),
                    instance: instance.map(str::to_owned),
                    rack: rack.map(str::to_owned),
                    epoch: Some(epoch),
                    client_id: client_id.to_owned(),
                    host: host(client_host),
                    target: Some(Vec::new()),
                    ..GroupMember::default()
                });
            }
            GroupReply::Topic(topic) => topic.clone_into(&mut self.topic),
            GroupReply::Offset { partition, offset, leader_epoch, metadata, error } => {
                let Ok(partition) = u32::try_from(partition) else { return };
                // -1 is no offset.
                if offset >= 0 || error.0 != 0 {
                    let (topic, metadata) = (self.topic.clone(), metadata.to_owned());
                    self.offsets.push(CommittedOffset {
                        topic,
                        partition,
                        offset,
                        leader_epoch,
                        metadata,
                        error,
                    });
                }
            }
            GroupReply::Skipped => self.described.left_out += 1,
            ref of_member => {
                if let Some(member) = self.described.members.last_mut() {
                    member.add(of_member);
                }
            }
        }
    }

    fn add_classic(&mut self, reply: &GroupReply<'_>) {
        let GroupReply::ClassicMember {
            id,
            instance,
            client_id,
            client_host,
            subscription,
            assignment,
        } = *reply
        else {
            return;
        };
        let mut member = GroupMember {
            id: id.to_owned(),
            instance: instance.map(str::to_owned),
            client_id: client_id.to_owned(),
            host: host(client_host),
            kind: Some(GroupKind::Classic),
            ..GroupMember::default()
        };
        // Others, such as workers of Connect, exchange something else.
        if self.described.protocol_type == "consumer" {
            member.read(subscription, assignment);
        }
        self.described.members.push(member);
    }

    /// Sorts the result: brokers return the order of their hash tables.
    pub(super) fn sort(&mut self) {
        for member in &mut self.described.members {
            member.topics.sort();
            member.assigned.sort();
            if let Some(target) = &mut member.target {
                target.sort();
            }
            if member.target.as_ref() == Some(&member.assigned) {
                member.target = None;
            }
        }
        self.described.members.sort_by(|a, b| a.id.cmp(&b.id));
        self.offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    }
}

impl GroupMember {
    /// Reads what a member of a classic group exchanges with its leader.
    fn read(&mut self, subscription: &[u8], assignment: &[u8]) {
        if !subscription.is_empty() {
            match Subscription::read(subscription) {
                Ok(read) => {
                    self.topics = read.topics.map(str::to_owned).collect();
                    self.rack = read.rack.filter(|rack| !rack.is_empty()).map(str::to_owned);
                }
                Err(_) => self.unreadable = true,
            }
        }
        if !assignment.is_empty() {
            match Assignment::read(assignment) {
                Ok(read) => self.assigned = topics(read.topics),
                Err(_) => self.unreadable = true,
            }
        }
    }

    /// Takes a part of the description of a member under KIP-848.
    fn add(&mut self, reply: &GroupReply<'_>) {
        match *reply {
            GroupReply::Subscribed(topic) => self.topics.push(topic.to_owned()),
            GroupReply::Pattern(pattern) => self.pattern = Some(pattern.to_owned()),
            GroupReply::Assigned { topic, partitions, .. } => {
                self.assigned.push((topic.to_owned(), indexes(partitions)));
            }
            GroupReply::Target { topic, partitions, .. } => {
                let target = self.target.get_or_insert_default();
                target.push((topic.to_owned(), indexes(partitions)));
            }
            GroupReply::MemberType(kind) => {
                self.kind = match kind {
                    0 => Some(GroupKind::Classic),
                    1 => Some(GroupKind::Consumer),
                    _ => None,
                };
            }
            _ => {}
        }
    }
}

fn topics(list: Topics<'_>) -> Vec<(String, Vec<u32>)> {
    list.map(|(topic, partitions)| (topic.to_owned(), indexes(partitions))).collect()
}

fn indexes(partitions: Ints<'_>) -> Vec<u32> {
    let mut list: Vec<u32> = partitions.filter_map(|index| u32::try_from(index).ok()).collect();
    list.sort_unstable();
    list
}

/// Java prints addresses with a slash in front.
fn host(text: &str) -> String {
    text.strip_prefix('/').unwrap_or(text).to_owned()
}
