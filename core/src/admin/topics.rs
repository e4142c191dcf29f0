//! Requests about topics: how they are written, and what is taken from their responses.

use super::texts::{NAME, copy_text, topic_name};
use super::{Admin, Operation, Request};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{CLUSTER_ID_SINCE, Draft, Net, Origin, Tag};
use crate::event::Reply;
use crate::has::REASONS;
use crate::wire::table::Segment;
use crate::wire::{
    Encode, ErrorCode, Full, Uuid, create_partitions, create_topics, delete_topics, metadata,
};

impl<'d> Admin<'d> {
    /// Takes the next element of a response.
    pub(super) fn topic_item<'a>(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        got: Segment<'_, 'a>,
    ) -> Option<Reply<'a>> {
        let tag = from.requested.tag;
        Some(match from.requested.kind {
            Kind::List => {
                let item = metadata::item(got)?;
                // It may be in the first response that names the cluster.
                if let metadata::Item::Cluster { id, .. } = item
                    && from.requested.version >= CLUSTER_ID_SINCE
                {
                    cx.admits(from.conn, id);
                }
                self.described(tag, item)?
            }
            Kind::Create => match create_topics::item(got)? {
                create_topics::Item::Topic { error, message, name, .. } => {
                    self.judged(cx, tag, (error, Some(name)), message)?
                }
                item => return self.passed(tag, matches!(item, create_topics::Item::Skipped)),
            },
            Kind::Grow => match create_partitions::item(got)? {
                create_partitions::Item::Topic { error, message, name, .. } => {
                    self.judged(cx, tag, (error, Some(name)), message)?
                }
                item => return self.passed(tag, matches!(item, create_partitions::Item::Skipped)),
            },
            _ => match delete_topics::item(got)? {
                delete_topics::Item::Topic { error, message, name, .. } => {
                    self.judged(cx, tag, (error, name), message)?
                }
                item => return self.passed(tag, matches!(item, delete_topics::Item::Skipped)),
            },
        })
    }

    /// Passes an element that is no result; one that did not fit may have been the topic's.
    fn passed<'a>(&mut self, tag: Tag, skipped: bool) -> Option<Reply<'a>> {
        if let (true, Some(slot)) = (skipped, self.slot(tag)) {
            self.requests[slot].named = true;
        }
        None
    }

    /// The result for a topic.
    fn judged<'a>(
        &mut self,
        cx: &Cx<'d>,
        tag: Tag,
        (error, name): (ErrorCode, Option<&str>),
        message: Option<&'a str>,
    ) -> Option<Reply<'a>> {
        if let Some(slot) = self.slot(tag) {
            let request = &mut self.requests[slot];
            let mut room = [0; NAME];
            let wanted = topic_name(&cx.net.blocks, &request.texts, &mut room);
            request.named |= name.is_none_or(|name| !REASONS || name == wanted);
        }
        self.note(tag, error);
        message.map(Reply::Message)
    }

    fn described<'a>(&mut self, tag: Tag, item: metadata::Item<'a>) -> Option<Reply<'a>> {
        Some(match item {
            metadata::Item::Broker { id, host, port, rack } => {
                if let Some(slot) = self.slot(tag) {
                    self.requests[slot].brokers = true;
                }
                Reply::Broker { id, host, port, rack }
            }
            metadata::Item::Cluster { id, controller } => Reply::Cluster { id, controller },
            metadata::Item::Topic { error, name, id, internal } => {
                if self.is_about_one(tag) {
                    self.note(tag, error);
                }
                Reply::Topic { name: name.unwrap_or_default(), id, internal, error }
            }
            metadata::Item::Partition { error, index, leader, epoch, replicas, isr, .. } => {
                Reply::Partition { index, leader, epoch, replicas, isr, error }
            }
            metadata::Item::End { error } => {
                self.note(tag, error);
                return None;
            }
            metadata::Item::Skipped => {
                // It may have been a broker.
                if let Some(slot) = self.slot(tag) {
                    self.requests[slot].brokers = true;
                }
                return None;
            }
            _ => return None,
        })
    }
}

impl Request {
    pub(super) fn write(
        &self,
        net: &mut Net<'_>,
        draft: &mut Draft,
        timeout_ms: i32,
    ) -> Result<(), Full> {
        if let Operation::Create { partitions, replication_factor, configs } = self.operation {
            let configs = usize::from(configs);
            let mut at = 0;
            net.write(draft, &mut |w, version| create_topics::begin(w, version, 1))?;
            copy_text(net, draft, &self.texts, &mut at, create_topics::flexible)?;
            net.write(draft, &mut |w, version| {
                create_topics::layout(w, version, partitions, replication_factor, configs)
            })?;
            for _ in 0..configs {
                copy_text(net, draft, &self.texts, &mut at, create_topics::flexible)?;
                copy_text(net, draft, &self.texts, &mut at, create_topics::flexible)?;
                net.write(draft, &mut |w, version| w.no_tags(create_topics::flexible(version)))?;
            }
            return net.write(draft, &mut |w, version| {
                w.no_tags(create_topics::flexible(version))?;
                create_topics::end(w, version, timeout_ms, false)
            });
        }
        let mut room = [0; NAME];
        let name = topic_name(&net.blocks, &self.texts, &mut room);
        net.write(draft, &mut |w, version| match self.operation {
            Operation::Grow { count, validate_only } => {
                let topic = create_partitions::NewPartitions { name, count };
                create_partitions::Request { topics: &[topic], timeout_ms, validate_only }
                    .encode(version, w)
            }
            Operation::Delete => {
                delete_topics::Request { names: &[name], timeout_ms }.encode(version, w)
            }
            Operation::Describe => {
                metadata::begin(w, version, Some(1))?;
                metadata::topic(w, version, Uuid::ZERO, Some(name))?;
                metadata::end(w, version, false)
            }
            #[cfg(feature = "group-admin")]
            Operation::Brokers => {
                metadata::begin(w, version, Some(0))?;
                metadata::end(w, version, false)
            }
            _ => {
                metadata::begin(w, version, None)?;
                metadata::end(w, version, false)
            }
        })
    }
}
