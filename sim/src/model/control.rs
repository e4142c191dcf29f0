//! What a test does to the cluster: topics, leaders, brokers, faults, and what it reads back.

use core::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::replica::Partition;
use super::{Cluster, Node, Output, Reply, Topic};
use crate::batch::{self, Header, Record};
use crate::code;
use crate::deed::{Deed, What};
use crate::fault::Fault;
use crate::profile::Profile;

/// Topics. Errors are Kafka error codes.
impl Cluster {
    /// Creates a topic; returns its id, all zero where the cluster has none.
    ///
    /// # Errors
    /// 36 when it exists, 37 for zero partitions.
    pub fn create_topic(&mut self, name: &str, partitions: u32) -> Result<Uuid, i16> {
        self.create(name, partitions, self.options.replication)
    }

    /// [`Cluster::create_topic`] for many topics, which brokers see in one step.
    ///
    /// # Errors
    /// As there; the topics before the failed one are created.
    pub fn create_many(&mut self, names: &[String], partitions: u32) -> Result<(), i16> {
        let replication = self.options.replication;
        let mut all = names.iter();
        let result = all.try_for_each(|name| self.add(name, partitions, replication).map(drop));
        let names: Vec<_> = names.iter().map(|name| StrBytes::from_string(name.clone())).collect();
        self.publish(&names);
        result
    }

    pub(super) fn create(&mut self, name: &str, count: u32, replication: u32) -> Result<Uuid, i16> {
        let id = self.add(name, count, replication)?;
        self.publish(&[StrBytes::from_string(name.to_owned())]);
        Ok(if self.options.profile.topic_ids() { id } else { Uuid::nil() })
    }

    /// Creates a topic that no broker knows of yet.
    fn add(&mut self, name: &str, count: u32, replication: u32) -> Result<Uuid, i16> {
        let name = StrBytes::from_string(name.to_owned());
        if self.names.contains_key(&name) {
            return Err(code::TOPIC_ALREADY_EXISTS);
        }
        if count == 0 {
            return Err(code::INVALID_PARTITIONS);
        }
        self.topics_made += 1;
        let id = Uuid::from_u64_pair(0x6b61_766b_6100_4000, 0x8000 << 48 | self.topics_made);
        let partitions = Vec::new();
        let mut topic = Topic { name: name.clone(), id, partitions, compression: None, old: None };
        for index in 0..count {
            topic.partitions.push(self.new_partition(index, replication));
        }
        self.topics.insert(id, topic);
        self.names.insert(name.clone(), id);
        self.note(&name, What::Grown { count });
        Ok(id)
    }

    fn new_partition(&self, index: u32, replication: u32) -> Partition {
        let brokers = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let id = |n: u32| i32::try_from((index + n) % brokers + 1).unwrap_or(1);
        let replicas: Vec<i32> = (0..replication.clamp(1, brokers)).map(id).collect();
        let lives = |id: &&i32| self.nodes.get(id).is_some_and(Node::in_cluster);
        let leader = replicas.iter().find(lives).copied().unwrap_or(-1);
        let ready_at = self.now + self.options.first_append_delay;
        Partition::new(&replicas, leader, self.now, ready_at)
    }

    /// Raises a topic's partition count to `count`.
    ///
    /// # Errors
    /// 3 for an unknown topic, 37 when it has as many already.
    pub fn grow(&mut self, name: &str, count: u32) -> Result<(), i16> {
        let id = *self.names.get(name.as_bytes()).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let topic = self.topics.get(&id).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let (name, from) = (topic.name.clone(), topic.partitions.len());
        if count as usize <= from {
            return Err(code::INVALID_PARTITIONS);
        }
        let replication = topic.partitions.first().map_or(1, |p| p.replicas.len());
        let replication = u32::try_from(replication).unwrap_or(1);
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let new: Vec<_> = (from..count).map(|i| self.new_partition(i, replication)).collect();
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.partitions.extend(new);
        }
        self.note(&name, What::Grown { count });
        self.publish(&[name]);
        Ok(())
    }

    /// Deletes a topic with its data.
    ///
    /// # Errors
    /// 3 for an unknown topic.
    pub fn delete_topic(&mut self, name: &str) -> Result<(), i16> {
        let name = StrBytes::from_string(name.to_owned());
        if !self.names.contains_key(&name) {
            return Err(code::UNKNOWN_TOPIC_OR_PARTITION);
        }
        self.touch_all(core::slice::from_ref(&name));
        if let Some(id) = self.names.remove(&name) {
            self.topics.remove(&id);
        }
        self.note(&name, What::Deleted);
        self.publish(&[name]);
        self.wake();
        Ok(())
    }

    /// Deletes a topic and recreates it, empty, with another id. Brokers see it in one step.
    ///
    /// # Errors
    /// 3 for an unknown topic, 37 for zero partitions.
    pub fn recreate_topic(&mut self, name: &str, partitions: u32) -> Result<Uuid, i16> {
        self.delete_topic(name)?;
        self.create_topic(name, partitions)
    }

    /// Makes `broker` the leader of a partition, with the next epoch, and a replica if it is none.
    ///
    /// # Errors
    /// 3 for an unknown partition, 9 for a broker that is unknown or down.
    pub fn move_leader(&mut self, name: &str, partition: u32, broker: i32) -> Result<(), i16> {
        if !self.nodes.get(&broker).is_some_and(Node::in_cluster) {
            return Err(code::REPLICA_NOT_AVAILABLE);
        }
        let (now, index) = (self.now, partition as usize);
        let (name, state) = self.partition_mut(name, partition)?;
        if !state.isr.contains(&broker) {
            state.adopt(broker, now);
        }
        state.lead(broker, now);
        self.changed(&name, index);
        Ok(())
    }

    /// Loses everything from `offset` on and raises the epoch, as an unclean election does.
    ///
    /// # Errors
    /// 3 for an unknown partition.
    pub fn truncate(&mut self, name: &str, partition: u32, offset: i64) -> Result<(), i16> {
        let (now, index) = (self.now, partition as usize);
        let (name, state) = self.partition_mut(name, partition)?;
        let to = state.cut(offset);
        state.lead(state.leader, now);
        self.note(&name, What::Cut { partition, to });
        self.changed(&name, index);
        Ok(())
    }

    /// Makes all brokers forget the producers of a partition, as they forget idle ones in time
    /// (`producer.id.expiration.ms`).
    ///
    /// # Errors
    /// 3 for an unknown partition.
    pub fn forget_producers(&mut self, name: &str, partition: u32) -> Result<(), i16> {
        let (name, state) = self.partition_mut(name, partition)?;
        for replica in &mut state.replicas {
            replica.log.forget_producers();
        }
        self.note(&name, What::Forgotten { partition });
        Ok(())
    }

    /// Appends a batch as it is, damaged or compressed; the leader writes offset and epoch only.
    ///
    /// # Errors
    /// 3 for an unknown partition, 87 for bytes that are no batch.
    pub fn append_batch(&mut self, name: &str, partition: u32, batch: &[u8]) -> Result<(), i16> {
        self.append_damaged(name, partition, batch, batch)
    }

    /// Appends the marker that ends a transaction of a producer in a partition, as its coordinator
    /// does (`WriteTxnMarkers`). Its epoch may be above that of the records (KIP-890).
    ///
    /// # Errors
    /// 3 for an unknown partition.
    pub fn append_marker(
        &mut self,
        name: &str,
        partition: u32,
        producer: (i64, i16),
        commit: bool,
    ) -> Result<(), i16> {
        let now = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX);
        self.append_batch(name, partition, &batch::marker(producer, commit, now))
    }

    /// Appends a batch that is `stored` as other bytes, which the brokers do not notice: offsets of
    /// the log are those of `batch`.
    ///
    /// # Errors
    /// 3 for an unknown partition, 87 for bytes that are no batch.
    pub fn append_damaged(
        &mut self,
        name: &str,
        partition: u32,
        batch: &[u8],
        stored: &[u8],
    ) -> Result<(), i16> {
        let header = Header::read(batch).ok_or(code::INVALID_RECORD)?;
        let old = self.names.get(name.as_bytes()).and_then(|id| self.topics.get(id)?.old);
        let (name, state) = self.partition_mut(name, partition)?;
        let epoch = state.epoch;
        let appended = state.log_mut().append(&header, stored, epoch, false, old);
        appended.map_err(|refused| refused.code)?;
        self.changed(&name, partition as usize);
        Ok(())
    }

    /// Appends a batch that consumers get as other bytes, such as damaged messages of an older
    /// format ([`old`](crate::old)), whose offsets the caller has to know.
    ///
    /// # Errors
    /// As [`Cluster::append_batch`].
    pub fn append_served(
        &mut self,
        name: &str,
        partition: u32,
        batch: &[u8],
        served: Bytes,
    ) -> Result<(), i16> {
        let header = Header::read(batch).ok_or(code::INVALID_RECORD)?;
        let (name, state) = self.partition_mut(name, partition)?;
        let (epoch, log) = (state.epoch, state.log_mut());
        let appended = log.append(&header, batch, epoch, false, None);
        appended.map_err(|refused| refused.code)?;
        log.serve_last_as(served);
        self.changed(&name, partition as usize);
        Ok(())
    }

    /// Takes an API out of what all brokers offer, as in other implementations of the protocol.
    pub fn withhold(&mut self, api: ApiKey) {
        self.withheld.push(api);
    }

    /// Lets the address of a broker lead to another cluster, with topics of the same names, or
    /// back. Only connections that are made afterwards are meant: see `World::disconnect` and
    /// `Server::disconnect`.
    pub fn impersonate(&mut self, broker: i32, yes: bool) {
        match yes {
            true => self.impostors.insert(broker),
            false => self.impostors.remove(&broker),
        };
    }

    /// Returns whether the address of a broker leads to another cluster.
    #[must_use]
    pub fn is_impersonated(&self, broker: i32) -> bool {
        self.impostors.contains(&broker)
    }

    /// Returns how many requests went to another cluster so far, without those that every client
    /// has to begin with: ApiVersions and Metadata.
    #[must_use]
    pub fn trespasses(&self) -> u64 {
        self.trespasses
    }

    /// Sets the codec that brokers store the batches of a topic with (`compression.type`), whatever
    /// producers send: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd. `None`: that of the producer.
    ///
    /// # Errors
    /// 3 for an unknown topic.
    pub fn set_compression(&mut self, name: &str, codec: Option<i16>) -> Result<(), i16> {
        let topic = self.names.get(name.as_bytes()).and_then(|id| self.topics.get_mut(id));
        topic.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?.compression = codec;
        Ok(())
    }

    /// Stores batches of a topic that are appended from now on as message sets of magic 0 or 1
    /// where they begin below offset `until`: a log that was written before Kafka 0.11, or under an
    /// older `message.format.version`, and continues in the present format. Those compressed with
    /// zstd stay batches. Unlike Kafka's, such a log keeps the state of idempotent producers.
    ///
    /// # Errors
    /// 3 for an unknown topic.
    pub fn set_old_format(&mut self, name: &str, magic: i8, until: i64) -> Result<(), i16> {
        let topic = self.names.get(name.as_bytes()).and_then(|id| self.topics.get_mut(id));
        topic.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?.old = Some((magic, until));
        Ok(())
    }

    /// Deletes records below `offset`, as retention does.
    ///
    /// # Errors
    /// 3 for an unknown partition.
    pub fn trim(&mut self, name: &str, partition: u32, offset: i64) -> Result<(), i16> {
        let (name, state) = self.partition_mut(name, partition)?;
        let to = offset.min(state.log().high_watermark());
        state.log_mut().trim(to);
        self.note(&name, What::Trimmed { partition, to });
        self.touch_all(&[name]);
        self.wake();
        Ok(())
    }

    fn changed(&mut self, name: &StrBytes, partition: usize) {
        let names = core::slice::from_ref(name);
        self.publish(names);
        self.touch_all(names);
        if let Some(id) = self.names.get(name).copied() {
            self.replicate(id, partition);
        }
        self.wake();
    }

    fn partition_mut(&mut self, name: &str, index: u32) -> Result<(StrBytes, &mut Partition), i16> {
        let topic = self.names.get(name.as_bytes()).and_then(|id| self.topics.get_mut(id));
        let topic = topic.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let name = topic.name.clone();
        let partition = topic.partitions.get_mut(index as usize);
        partition.map(|p| (name, p)).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)
    }

    fn partition(&self, name: &str, index: u32) -> Option<&Partition> {
        let id = self.names.get(name.as_bytes())?;
        self.topics.get(id)?.partitions.get(index as usize)
    }
}

/// Queries.
impl Cluster {
    /// Returns the number of partitions of a topic; 0 when it does not exist.
    #[must_use]
    pub fn partitions(&self, name: &str) -> u32 {
        let topic = self.names.get(name.as_bytes()).and_then(|id| self.topics.get(id));
        topic.map_or(0, |topic| u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX))
    }

    /// Returns (leader, leader epoch) of a partition; leader -1 when it has none.
    #[must_use]
    pub fn leader(&self, name: &str, partition: u32) -> Option<(i32, i32)> {
        self.partition(name, partition).map(|p| (p.leader, p.epoch))
    }

    /// Returns the offset that the next record gets; 0 for an unknown partition.
    #[must_use]
    pub fn log_len(&self, name: &str, partition: u32) -> i64 {
        self.partition(name, partition).map_or(0, |p| p.log().end())
    }

    /// Returns the offset of the first record that remains; 0 for an unknown partition.
    #[must_use]
    pub fn log_start(&self, name: &str, partition: u32) -> i64 {
        self.partition(name, partition).map_or(0, |p| p.log().start())
    }

    /// Starts recording what is done, for [`Cluster::take_deeds`].
    pub fn watch_deeds(&mut self) {
        self.deeds = Some(Vec::new());
    }

    /// Returns what was done since the last call, in order.
    pub fn take_deeds(&mut self) -> Vec<Deed> {
        self.deeds.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Returns the brokers that hold a partition, the in-sync ones first, and how many those are.
    #[must_use]
    pub fn replicas(&self, name: &str, partition: u32) -> (Vec<i32>, usize) {
        let Some(state) = self.partition(name, partition) else { return (Vec::new(), 0) };
        let others = state.brokers();
        let others = others.iter().filter(|id| !state.isr.contains(id));
        (state.isr.iter().chain(others).copied().collect(), state.isr.len())
    }

    /// Returns the offset below which consumers read.
    #[must_use]
    pub fn high_watermark(&self, name: &str, partition: u32) -> i64 {
        self.partition(name, partition).map_or(0, |p| p.log().high_watermark())
    }

    /// Returns the records of a partition, in order, without those of batches that cannot be
    /// opened.
    #[must_use]
    pub fn records(&self, name: &str, partition: u32) -> Vec<Record> {
        self.partition(name, partition).map_or_else(Vec::new, |p| p.log().records())
    }

    /// Returns the records of a partition below the last stable offset, in order, without those of
    /// aborted transactions.
    #[must_use]
    pub fn committed_records(&self, name: &str, partition: u32) -> Vec<Record> {
        let Some(log) = self.partition(name, partition).map(Partition::log) else {
            return Vec::new();
        };
        let end = log.stable();
        let wanted = |record: &Record| record.offset < end && !log.hides(record);
        log.records().into_iter().filter(wanted).collect()
    }

    /// Returns the offset below which every transaction of a partition is over.
    #[must_use]
    pub fn last_stable_offset(&self, name: &str, partition: u32) -> i64 {
        self.partition(name, partition).map_or(0, |p| p.log().stable())
    }

    /// Returns the batches of a partition as stored.
    #[must_use]
    pub fn batches(&self, name: &str, partition: u32) -> Vec<Bytes> {
        self.partition(name, partition)
            .map_or_else(Vec::new, |p| p.log().batches().cloned().collect())
    }

    /// Returns the broker ids, dead ones included.
    #[must_use]
    pub fn brokers(&self) -> Vec<i32> {
        self.nodes.keys().copied().collect()
    }

    /// Returns the number of fetch sessions that a broker keeps.
    #[must_use]
    pub fn sessions(&self, broker: i32) -> usize {
        self.nodes.get(&broker).map_or(0, |node| node.sessions.len())
    }
}

/// Brokers. Unknown ids change nothing.
impl Cluster {
    /// Sets the address at which clients reach a broker from now on.
    pub fn set_endpoint(&mut self, broker: i32, host: &str, port: u16) {
        let Some(node) = self.nodes.get_mut(&broker) else { return };
        node.endpoint.host = StrBytes::from_string(host.to_owned());
        node.endpoint.port = port;
        self.publish(&[]);
    }

    /// Returns (host, port) of a broker.
    #[must_use]
    pub fn endpoint(&self, broker: i32) -> Option<(String, u16)> {
        self.nodes.get(&broker).map(|n| (n.endpoint.host.to_string(), n.endpoint.port))
    }

    /// Returns whether a broker runs (perhaps paused).
    #[must_use]
    pub fn alive(&self, broker: i32) -> bool {
        self.nodes.get(&broker).is_some_and(|node| node.alive)
    }

    /// Sets the release of one broker, for rolling upgrades. Takes effect with the next request.
    pub fn set_profile(&mut self, broker: i32, profile: Profile) {
        if let Some(node) = self.nodes.get_mut(&broker) {
            node.profile = profile;
        }
    }

    /// Delays fetches of this broker's followers by this time, in addition to the usual delay.
    pub fn set_replica_lag(&mut self, broker: i32, lag: Duration) {
        if let Some(node) = self.nodes.get_mut(&broker) {
            node.replica_lag = lag;
        }
    }

    /// Sets whether partitions without a leader in sync are led by any running replica
    /// (`unclean.leader.election.enable`).
    pub fn set_unclean(&mut self, unclean: bool) {
        self.options.unclean = unclean;
        self.elect(|partition| partition.leader < 0);
    }

    /// Delays news to this broker's metadata by this time, from now on.
    pub fn set_lag(&mut self, broker: i32, lag: Duration) {
        if let Some(node) = self.nodes.get_mut(&broker) {
            node.lag = lag;
        }
    }

    /// Kills a broker as SIGKILL does: connections are gone at once (the caller closes them);
    /// leaders move when the session timeout has passed. Until then metadata still names the dead
    /// broker.
    pub fn kill(&mut self, broker: i32) {
        let Some(node) = self.nodes.get_mut(&broker) else { return };
        node.alive = false;
        node.paused = false;
        node.stalled.clear();
        node.sessions.clear();
        self.parked.retain(|parked| parked.ctx.broker != broker);
        self.forget_held(broker);
        self.unacked.retain(|unacked| unacked.ctx.broker != broker);
        self.ready.retain(|output| output.broker != broker);
        self.schedule_fence(broker);
    }

    /// Restarts a killed broker. It leads only partitions without another leader.
    pub fn restart(&mut self, broker: i32) {
        self.fence(broker);
        let image = self.image.clone();
        let Some(node) = self.nodes.get_mut(&broker) else { return };
        node.alive = true;
        node.pending.clear();
        node.image = image;
        self.unfence(broker);
    }

    /// Pauses a broker as SIGSTOP does: connections stay open, no request gets a response. Leaders
    /// move as after a kill.
    pub fn pause(&mut self, broker: i32) {
        let Some(node) = self.nodes.get_mut(&broker).filter(|node| node.alive) else { return };
        node.paused = true;
        self.schedule_fence(broker);
    }

    /// Resumes a broker as SIGCONT does: waiting requests are handled, from metadata of before the
    /// pause until the broker's lag has passed.
    pub fn resume(&mut self, broker: i32) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&broker).filter(|node| node.paused) else { return };
        node.paused = false;
        let back = now + node.lag;
        for (at, _) in &mut node.pending {
            *at = (*at).max(back);
        }
        node.apply(now);
        let stalled = core::mem::take(&mut node.stalled);
        self.unfence(broker);
        self.catch_up(broker);
        for (conn, request) in stalled {
            match self.serve(broker, conn, request) {
                Reply::Later => {}
                reply => self.ready.push_back(Output { broker, conn, reply }),
            }
        }
        self.wake();
    }
}

/// Faults.
impl Cluster {
    /// Applies `fault` to the next `times` requests of `api` at `broker`.
    pub fn inject(&mut self, broker: i32, api: ApiKey, fault: Fault, times: usize) {
        self.faults.add(broker, api, fault, times);
    }

    /// Returns the number of faults that no request has met yet.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.faults.left()
    }

    /// Forgets faults that no request has met yet.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Forgets faults that no request has met yet, and restarts the brokers that were killed.
    pub fn heal(&mut self) {
        self.clear_faults();
        for broker in self.brokers() {
            if !self.alive(broker) {
                self.restart(broker);
            }
        }
    }

    /// Forgets all fetch sessions of a broker, as its cache does under pressure.
    pub fn evict_sessions(&mut self, broker: i32) {
        if let Some(node) = self.nodes.get_mut(&broker) {
            node.sessions.clear();
        }
    }
}
