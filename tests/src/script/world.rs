//! What the brokers of a script return by themselves.

use bytes::{BufMut as _, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, DescribeGroupsRequest, DescribeGroupsResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, ProducerId, RequestKind, ResponseKind,
    SaslHandshakeResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::CloseReason;
use uuid::Uuid;

use super::Requested;
use crate::sim::{Profile, Sasl};

/// Versions of the APIs of groups that the codec of scripts has.
const GROUPS: [(ApiKey, i16, i16); 9] = [
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::ConsumerGroupHeartbeat, 0, 1),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 6),
];

/// A broker.
#[derive(Clone, Debug)]
pub struct Node {
    /// Node id.
    pub id: i32,
    /// Host that metadata names.
    pub host: String,
    /// Port that metadata names.
    pub port: u16,
    /// Whether it listens.
    pub up: bool,
    /// How connections to it end if it does not.
    pub why: CloseReason,
    /// Whether connections to it are never established.
    pub hangs: bool,
    /// Its rack in metadata.
    pub rack: Option<&'static str>,
    /// Its release.
    pub profile: Profile,
}

/// A partition in Metadata and ListOffsets.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// Leader, -1 for none.
    pub leader: i32,
    /// Leader epoch.
    pub epoch: i32,
    /// Log start offset.
    pub start: i64,
    /// Log end offset, and high watermark.
    pub end: i64,
    /// Error code in metadata.
    pub error: i16,
    /// Node ids of its replicas in metadata.
    pub replicas: &'static [i32],
}

impl Partition {
    const EMPTY: Self = Self { leader: -1, epoch: 0, start: 0, end: 0, error: 0, replicas: &[] };
}

/// A topic in Metadata.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Id; nil where brokers have none.
    pub id: Uuid,
    /// Error code in metadata; with one, there are no partitions.
    pub error: i16,
    /// Partitions, by index.
    pub partitions: Vec<Partition>,
}

/// What all brokers of a script know. Change it at any time.
#[derive(Clone, Debug)]
pub struct World {
    /// Brokers; metadata names those that are up.
    pub nodes: Vec<Node>,
    /// Topics.
    pub topics: Vec<Topic>,
    /// The next producer id; its epoch is 0.
    pub producer_id: i64,
    /// Error code of InitProducerId.
    pub producer_error: i16,
    /// Cluster id in metadata; `None` where brokers have none.
    pub cluster: Option<&'static str>,
    /// API keys that brokers leave out of ApiVersions.
    pub without: Vec<i16>,
    /// Highest versions that brokers offer, whatever their release has.
    pub at_most: Vec<(ApiKey, i16)>,
    /// Ranges that brokers offer, whatever their release has.
    pub offers: Vec<(ApiKey, i16, i16)>,
    /// APIs that brokers offer beside those of their release; a test responds to them.
    pub extra: Vec<(ApiKey, i16, i16)>,
    /// Node id of the coordinator of groups; `None`: brokers have none of their APIs.
    pub coordinator: Option<i32>,
    /// Partitions of each topic, from 0 on, that a member of every classic group has.
    pub assigned: i32,
    /// The level of `transaction.version`, where the coordinator has transactions.
    pub transactions: Option<i16>,
    /// What brokers want of a login.
    pub sasl: Option<Sasl>,
    /// Whether brokers list the APIs of logins, as real ones do, also where they want none.
    pub lists_logins: bool,
    /// Metadata has topics in the opposite order of the request, and so their partitions.
    pub backwards: bool,
}

impl World {
    /// Creates brokers 1 to `count` of the newest release, on ports 9001 and so on.
    #[must_use]
    pub fn new(count: i32) -> Self {
        let nodes = (1..=count).map(|id| Node {
            id,
            host: format!("b{id}"),
            port: 9000 + u16::try_from(id).unwrap_or(0),
            up: true,
            why: CloseReason::Refused,
            hangs: false,
            rack: None,
            profile: Profile::V4_4,
        });
        Self {
            nodes: nodes.collect(),
            topics: Vec::new(),
            producer_id: 1000,
            producer_error: 0,
            cluster: None,
            without: Vec::new(),
            at_most: Vec::new(),
            offers: Vec::new(),
            extra: Vec::new(),
            coordinator: None,
            assigned: 1000,
            transactions: None,
            sasl: None,
            lists_logins: false,
            backwards: false,
        }
    }

    /// Sets the release of the brokers.
    #[must_use]
    pub fn release(mut self, profile: Profile) -> Self {
        for node in &mut self.nodes {
            node.profile = profile;
        }
        self
    }

    /// Lets a broker coordinate groups.
    #[must_use]
    pub fn coordinator(mut self, node: i32) -> Self {
        self.coordinator = Some(node);
        self
    }

    /// Lets a broker coordinate transactions, at this level of `transaction.version`.
    #[must_use]
    pub fn transactions(mut self, node: i32, version: i16) -> Self {
        (self.coordinator, self.transactions) = (Some(node), Some(version));
        self
    }

    /// Lets the brokers want logins.
    #[must_use]
    pub fn sasl(mut self, sasl: Sasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// Sets the cluster id.
    #[must_use]
    pub fn cluster(mut self, id: &'static str) -> Self {
        self.cluster = Some(id);
        self
    }

    /// Limits the brokers to versions of an API up to this one.
    #[must_use]
    pub fn at_most(mut self, api: ApiKey, version: i16) -> Self {
        self.at_most.push((api, version));
        self
    }

    /// Adds a topic; brokers lead its partitions in turn, in epoch 0.
    #[must_use]
    pub fn topic(mut self, name: &str, partitions: usize) -> Self {
        let ids = self.nodes.iter().all(|node| node.profile.topic_ids());
        let id =
            if ids { Uuid::from_u128(0x1000 + self.topics.len() as u128) } else { Uuid::nil() };
        self.topics.push(Topic { name: name.to_owned(), id, error: 0, partitions: Vec::new() });
        self.grow(name, partitions);
        self
    }

    /// Adds partitions to a topic.
    pub fn grow(&mut self, name: &str, partitions: usize) {
        let nodes: Vec<i32> = self.nodes.iter().map(|node| node.id).collect();
        let topic = self.topic_mut(name);
        for index in topic.partitions.len()..partitions {
            let leader = nodes[index % nodes.len()];
            topic.partitions.push(Partition { leader, ..Partition::EMPTY });
        }
    }

    /// Returns the text for [`kavka_core::Config::new`]: broker 1.
    #[must_use]
    pub fn bootstrap(&self) -> &'static str {
        "b1:9001"
    }

    /// Returns a broker.
    ///
    /// # Panics
    /// When there is none with this id.
    pub fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).expect("a broker of the script")
    }

    /// Returns a topic.
    ///
    /// # Panics
    /// When there is none with this name.
    pub fn topic_mut(&mut self, name: &str) -> &mut Topic {
        self.topics.iter_mut().find(|topic| topic.name == name).expect("a topic of the script")
    }

    /// Returns a partition of a topic.
    ///
    /// # Panics
    /// When there is none.
    pub fn partition(&mut self, topic: &str, index: usize) -> &mut Partition {
        &mut self.topic_mut(topic).partitions[index]
    }

    /// Moves a partition to another leader, under the next epoch.
    pub fn lead(&mut self, topic: &str, index: usize, leader: i32) {
        let partition = self.partition(topic, index);
        (partition.leader, partition.epoch) = (leader, partition.epoch + 1);
    }

    pub(super) fn at(&self, host: &str, port: u16) -> Option<&Node> {
        self.nodes.iter().find(|node| node.host == host && node.port == port)
    }

    /// Returns the name of a topic that a request names by name or by id.
    #[must_use]
    pub fn name(&self, name: &TopicName, id: Uuid) -> String {
        if !name.is_empty() {
            return name.to_string();
        }
        let topic = self.topics.iter().find(|topic| topic.id == id);
        topic.map_or_else(|| format!("unknown id {id}"), |topic| topic.name.clone())
    }

    /// Returns a broker's response to what this world knows; `None` for everything else.
    #[must_use]
    pub fn respond(&self, requested: &Requested<RequestKind>) -> Option<ResponseKind> {
        let node = self.nodes.iter().find(|node| node.id == requested.node)?;
        Some(match &requested.body {
            RequestKind::ApiVersions(_) => self.handshake(node.profile, requested.version).into(),
            RequestKind::Metadata(request) => self.metadata(request).into(),
            RequestKind::DescribeTopicPartitions(request) => self.describe(request).into(),
            RequestKind::ListOffsets(request) => self.offsets(request).into(),
            RequestKind::FindCoordinator(request) => {
                self.find_coordinator(request, requested.version).into()
            }
            RequestKind::DescribeGroups(request) if self.coordinator.is_some() => {
                self.describe_groups(request).into()
            }
            // As a listener without SASL does.
            RequestKind::SaslHandshake(_) => {
                SaslHandshakeResponse::default().with_error_code(34).into()
            }
            RequestKind::InitProducerId(_) => InitProducerIdResponse::default()
                .with_error_code(self.producer_error)
                .with_producer_id(ProducerId(if self.producer_error == 0 {
                    self.producer_id
                } else {
                    -1
                }))
                .with_producer_epoch(0)
                .into(),
            _ => return None,
        })
    }

    /// A stable group with one member.
    fn describe_groups(&self, request: &DescribeGroupsRequest) -> DescribeGroupsResponse {
        let mut assignment = BytesMut::new();
        assignment.put_i16(1);
        assignment.put_i32(self.topics.len() as i32);
        for topic in &self.topics {
            assignment.put_i16(topic.name.len() as i16);
            assignment.put_slice(topic.name.as_bytes());
            assignment.put_i32(self.assigned);
            (0..self.assigned).for_each(|index| assignment.put_i32(index));
        }
        assignment.put_i32(-1);
        let member = DescribedGroupMember::default()
            .with_member_id(StrBytes::from_static_str("theirs"))
            .with_member_assignment(assignment.freeze());
        let groups = request.groups.iter().map(|group| {
            DescribedGroup::default()
                .with_group_id(group.clone())
                .with_group_state(StrBytes::from_static_str("Stable"))
                .with_members(vec![member.clone()])
        });
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }

    fn handshake(&self, profile: Profile, version: i16) -> ApiVersionsResponse {
        let mut body = self.versions(profile);
        if profile.range(ApiKey::ApiVersions).is_some_and(|(_, max)| version > max) {
            // From 2.4 on the error response has the range of ApiVersions; before, it is empty.
            let ours = ApiKey::ApiVersions as i16;
            body.api_keys.retain(|r| r.api_key == ours && profile >= Profile::V2_4);
            body.error_code = 35;
        }
        body
    }

    /// Returns the ApiVersions response of a release.
    #[must_use]
    pub fn versions(&self, profile: Profile) -> ApiVersionsResponse {
        let ranges = profile.ranges().iter().map(|(api, min, max)| {
            let other = self.offers.iter().find(|(of, ..)| of == api);
            let (min, max) = other.map_or((min, max), |(_, min, max)| (min, max));
            let cap = self.at_most.iter().find(|(of, _)| of == api);
            ApiVersion::default()
                .with_api_key(*api as i16)
                .with_min_version(*min)
                .with_max_version(cap.map_or(*max, |(_, cap)| *cap.min(max)))
        });
        let logins = profile.login_ranges().map(|(api, min, max)| {
            let range = ApiVersion::default().with_api_key(api as i16);
            range.with_min_version(min).with_max_version(max)
        });
        let extra = self.extra.iter().map(|(api, min, max)| {
            let range = ApiVersion::default().with_api_key(*api as i16);
            range.with_min_version(*min).with_max_version(*max)
        });
        let lists = self.sasl.is_some() || self.lists_logins;
        let ranges = ranges.chain(logins.into_iter().filter(|_| lists)).chain(extra);
        let groups = GROUPS.iter().filter(|_| self.coordinator.is_some());
        let ranges = ranges.chain(groups.map(|(api, min, max)| {
            let cap = self.at_most.iter().find(|(of, _)| of == api);
            let range = ApiVersion::default().with_api_key(*api as i16).with_min_version(*min);
            range.with_max_version(cap.map_or(*max, |(_, cap)| *cap))
        }));
        let of_transactions = profile
            .transaction_ranges()
            .iter()
            .filter(|(api, ..)| self.transactions.is_some() && *api != ApiKey::FindCoordinator);
        let ranges = ranges.chain(of_transactions.map(|(api, min, max)| {
            let cap = self.at_most.iter().find(|(of, _)| of == api);
            let range = ApiVersion::default().with_api_key(*api as i16).with_min_version(*min);
            range.with_max_version(cap.map_or(*max, |(_, cap)| *cap.min(max)))
        }));
        let ranges = ranges.filter(|range| !self.without.contains(&range.api_key));
        let mut body = ApiVersionsResponse::default().with_api_keys(ranges.collect());
        if let Some(level) = self.transactions {
            body.finalized_features_epoch = 7;
            body.finalized_features.push(
                FinalizedFeatureKey::default()
                    .with_name(StrBytes::from_static_str("transaction.version"))
                    .with_max_version_level(level)
                    .with_min_version_level(level),
            );
        }
        body
    }

    /// Returns the coordinator of a group.
    #[must_use]
    pub fn find_coordinator(
        &self,
        request: &FindCoordinatorRequest,
        version: i16,
    ) -> FindCoordinatorResponse {
        let node = self.nodes.iter().find(|node| Some(node.id) == self.coordinator && node.up);
        let (id, error) = node.map_or((-1, 15), |node| (node.id, 0));
        let host = StrBytes::from_string(node.map_or_else(String::new, |node| node.host.clone()));
        let port = node.map_or(-1, |node| i32::from(node.port));
        let body = FindCoordinatorResponse::default();
        if version < 4 {
            return body
                .with_error_code(error)
                .with_node_id(BrokerId(id))
                .with_host(host)
                .with_port(port);
        }
        let keys = request.coordinator_keys.iter().map(|key| {
            Coordinator::default()
                .with_key(key.clone())
                .with_error_code(error)
                .with_node_id(BrokerId(id))
                .with_host(host.clone())
                .with_port(port)
        });
        body.with_coordinators(keys.collect())
    }

    /// Returns metadata of the requested topics (all, if none are named).
    #[must_use]
    pub fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let brokers = self.nodes.iter().filter(|node| node.up).map(|node| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node.id))
                .with_host(StrBytes::from_string(node.host.clone()))
                .with_port(i32::from(node.port))
                .with_rack(node.rack.map(StrBytes::from_static_str))
        });
        let controller = self.nodes.iter().find(|node| node.up).map_or(-1, |node| node.id);
        let mut topics: Vec<_> = match &request.topics {
            None => self.topics.iter().map(topic_metadata).collect(),
            Some(requested) => requested
                .iter()
                .map(|requested| {
                    let (name, id) = (requested.name.clone(), requested.topic_id);
                    let known = self.topics.iter().find(|topic| match &name {
                        Some(name) => topic.name == name.as_str(),
                        None => topic.id == id,
                    });
                    known.map(topic_metadata).unwrap_or_else(|| {
                        let code = if name.is_some() { 3 } else { 100 };
                        MetadataResponseTopic::default()
                            .with_error_code(code)
                            .with_name(name)
                            .with_topic_id(id)
                    })
                })
                .collect(),
        };
        if self.backwards {
            topics.reverse();
            topics.iter_mut().for_each(|topic| topic.partitions.reverse());
        }
        MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_cluster_id(self.cluster.map(StrBytes::from_static_str))
            .with_controller_id(BrokerId(controller))
            .with_topics(topics)
    }

    /// Returns DescribeTopicPartitions of the requested topics.
    #[must_use]
    pub fn describe(
        &self,
        request: &DescribeTopicPartitionsRequest,
    ) -> DescribeTopicPartitionsResponse {
        let mut body = DescribeTopicPartitionsResponse::default();
        for requested in &request.topics {
            let Some(topic) = self.topics.iter().find(|t| t.name == requested.name.as_str()) else {
                body.topics.push(
                    DescribeTopicPartitionsResponseTopic::default()
                        .with_name(Some(requested.name.clone()))
                        .with_error_code(3),
                );
                continue;
            };
            let from = request.cursor.as_ref().map_or(0, |c| c.partition_index.max(0) as usize);
            let limit = usize::try_from(request.response_partition_limit).unwrap_or(1).max(1);
            let partitions = (0..topic.partitions.len()).skip(from).take(limit).map(|index| {
                DescribeTopicPartitionsResponsePartition::default()
                    .with_partition_index(index as i32)
                    .with_leader_id(BrokerId(topic.partitions[index].leader))
                    .with_leader_epoch(topic.partitions[index].epoch)
            });
            body.topics.push(
                DescribeTopicPartitionsResponseTopic::default()
                    .with_name(Some(requested.name.clone()))
                    .with_topic_id(topic.id)
                    .with_partitions(partitions.collect()),
            );
            if from + limit < topic.partitions.len() {
                body.next_cursor = Some(
                    Cursor::default()
                        .with_topic_name(requested.name.clone())
                        .with_partition_index((from + limit) as i32),
                );
            }
        }
        body
    }

    /// Returns the start or end of logs; unknown partitions get their error (Kafka 2.0 and later).
    #[must_use]
    pub fn offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|requested| {
            let topic = self.topics.iter().find(|topic| topic.name == requested.name.as_str());
            let partitions = requested.partitions.iter().map(|p| {
                let index = usize::try_from(p.partition_index).unwrap_or(usize::MAX);
                let known = topic.and_then(|topic| topic.partitions.get(index));
                let response = ListOffsetsPartitionResponse::default()
                    .with_partition_index(p.partition_index)
                    .with_timestamp(-1);
                match known {
                    Some(known) => response
                        .with_offset(if p.timestamp == -2 { known.start } else { known.end })
                        .with_leader_epoch(known.epoch),
                    None => response.with_error_code(3).with_offset(-1),
                }
            });
            ListOffsetsTopicResponse::default()
                .with_name(requested.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }
}

fn topic_metadata(topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().enumerate().map(|(index, p)| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(BrokerId(p.leader))
            .with_leader_epoch(p.epoch)
            .with_error_code(p.error)
            .with_replica_nodes(p.replicas.iter().map(|id| BrokerId(*id)).collect())
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
        .with_topic_id(topic.id)
        .with_error_code(topic.error)
        .with_partitions(if topic.error == 0 { partitions.collect() } else { Vec::new() })
}
