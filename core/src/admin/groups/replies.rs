//! What is taken from responses to requests about groups.

use super::super::Admin;
use crate::api::Kind;
use crate::connection::Tag;
use crate::event::{GroupReply, Reply};
use crate::wire::table::Segment;
use crate::wire::{
    ErrorCode, consumer_group_describe, delete_groups, describe_groups, find_coordinator,
    list_groups, offset_commit, offset_delete, offset_fetch,
};

/// Whether a kind of request is one of those.
pub(in crate::admin) const fn is_about_groups(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::GroupCoordinator
            | Kind::ListGroups
            | Kind::DescribeConsumer
            | Kind::DescribeClassic
            | Kind::DeleteGroup
            | Kind::GroupOffsets
            | Kind::SetOffsets
            | Kind::DeleteOffsets
    )
}

impl Admin<'_> {
    /// Takes the next element of a response.
    pub(in crate::admin) fn group_item<'a>(
        &mut self,
        tag: Tag,
        kind: Kind,
        got: Segment<'_, 'a>,
    ) -> Option<Reply<'a>> {
        match kind {
            Kind::GroupCoordinator => self.on_coordinator(tag, got),
            Kind::ListGroups => self.on_listed(tag, got).map(Reply::Group),
            Kind::DescribeConsumer => self.on_consumer(tag, got),
            Kind::DescribeClassic => self.on_classic(tag, got),
            Kind::DeleteGroup => match delete_groups::item(got)? {
                delete_groups::Item::Group { error, message, .. } => {
                    self.outcome(tag, error, message)
                }
                _ => None,
            },
            Kind::GroupOffsets => self.on_offsets(tag, got).map(Reply::Group),
            Kind::SetOffsets => match offset_commit::item(got)? {
                offset_commit::Item::Topic { name, .. } => {
                    Some(Reply::Group(GroupReply::Topic(name.unwrap_or_default())))
                }
                offset_commit::Item::Partition { index, error } => self.changed(tag, index, error),
                offset_commit::Item::Skipped => Some(Reply::Group(GroupReply::Skipped)),
                _ => None,
            },
            _ => match offset_delete::item(got)? {
                offset_delete::Item::Head { error, .. } => {
                    self.note(tag, error);
                    None
                }
                offset_delete::Item::Topic { name } => Some(Reply::Group(GroupReply::Topic(name))),
                offset_delete::Item::Partition { index, error } => self.changed(tag, index, error),
                offset_delete::Item::Skipped => Some(Reply::Group(GroupReply::Skipped)),
            },
        }
    }

    /// Notes the result of a request about a group; words about a passing error are of no use.
    fn outcome<'a>(
        &mut self,
        tag: Tag,
        error: ErrorCode,
        message: Option<&'a str>,
    ) -> Option<Reply<'a>> {
        self.note_named(tag);
        self.note(tag, error);
        message
            .filter(|text| !error.passes_at_coordinators() && !text.is_empty())
            .map(Reply::Message)
    }

    fn on_coordinator<'a>(&mut self, tag: Tag, got: Segment<'_, 'a>) -> Option<Reply<'a>> {
        let item = find_coordinator::item(got)?;
        let find_coordinator::Item::Coordinator { error, message, node, .. } = item else {
            return None;
        };
        let slot = self.slot(tag)?;
        if error.0 == 0 {
            self.requests[slot].progress.node = node;
            return None;
        }
        self.outcome(tag, error, message)
    }

    fn on_listed<'a>(&mut self, tag: Tag, got: Segment<'_, 'a>) -> Option<GroupReply<'a>> {
        match list_groups::item(got)? {
            list_groups::Item::Head { error, .. } => {
                self.note_named(tag);
                self.note(tag, error);
                None
            }
            list_groups::Item::Group { id, protocol_type, state, kind } => {
                Some(GroupReply::Listed { id, protocol_type, state, kind })
            }
            list_groups::Item::Skipped => Some(GroupReply::Skipped),
        }
    }

    fn on_classic<'a>(&mut self, tag: Tag, got: Segment<'_, 'a>) -> Option<Reply<'a>> {
        use describe_groups::Item;
        Some(Reply::Group(match describe_groups::item(got)? {
            Item::Group { error, message, .. } if error.0 != 0 => {
                return self.outcome(tag, error, message);
            }
            // What versions before 6 say of a group that does not exist.
            Item::Group { state: "Dead", .. } => {
                return self.outcome(tag, ErrorCode::GROUP_ID_NOT_FOUND, None);
            }
            Item::Group { state, protocol_type, protocol, .. } => {
                self.note_named(tag);
                GroupReply::Classic { state, protocol_type, protocol }
            }
            Item::Member {
                id,
                instance,
                client_id,
                client_host,
                metadata: subscription,
                assignment,
            } => GroupReply::ClassicMember {
                id,
                instance,
                client_id,
                client_host,
                subscription,
                assignment,
            },
            Item::Skipped => GroupReply::Skipped,
            Item::Throttle { .. } | Item::Operations(_) => return None,
        }))
    }

    fn on_consumer<'a>(&mut self, tag: Tag, got: Segment<'_, 'a>) -> Option<Reply<'a>> {
        use consumer_group_describe::Item;
        Some(Reply::Group(match consumer_group_describe::item(got)? {
            Item::Group {
                error: ErrorCode(0), state, epoch, assignment_epoch, assignor, ..
            } => {
                self.note_named(tag);
                GroupReply::Consumer { state, assignor, epoch, assignment_epoch }
            }
            Item::Group { error, message, .. } => {
                let is_none_here =
                    matches!(error, ErrorCode::GROUP_ID_NOT_FOUND | ErrorCode::UNSUPPORTED_VERSION);
                return self.outcome(tag, error, message.filter(|_| !is_none_here));
            }
            Item::Member { id, instance, rack, epoch, client_id, client_host } => {
                GroupReply::Member { id, instance, rack, epoch, client_id, client_host }
            }
            Item::Subscribed(topic) => GroupReply::Subscribed(topic),
            Item::Pattern(pattern) => GroupReply::Pattern(pattern.filter(|text| !text.is_empty())?),
            Item::Assigned { id, topic, partitions } => {
                GroupReply::Assigned { topic, id, partitions }
            }
            Item::Target { id, topic, partitions } => GroupReply::Target { topic, id, partitions },
            Item::MemberType(kind) => GroupReply::MemberType(kind),
            Item::Skipped => GroupReply::Skipped,
            Item::Throttle { .. } | Item::Operations(_) => return None,
        }))
    }

    fn on_offsets<'a>(&mut self, tag: Tag, got: Segment<'_, 'a>) -> Option<GroupReply<'a>> {
        use offset_fetch::Item;
        Some(match offset_fetch::item(got)? {
            Item::Topic { name, .. } => GroupReply::Topic(name.unwrap_or_default()),
            Item::Partition { index, offset, leader_epoch, metadata, error } => {
                GroupReply::Offset {
                    partition: index,
                    offset,
                    leader_epoch,
                    metadata: metadata.unwrap_or_default(),
                    error,
                }
            }
            Item::End { error } => {
                self.note_named(tag);
                self.note(tag, error);
                return None;
            }
            Item::Skipped => GroupReply::Skipped,
            _ => return None,
        })
    }

    /// The result for a partition. What passes is tried again, and no result yet.
    fn changed<'a>(&mut self, tag: Tag, partition: i32, error: ErrorCode) -> Option<Reply<'a>> {
        let slot = self.slot(tag)?;
        let results = &mut self.requests[slot].progress.results;
        *results = results.saturating_add(1);
        self.note(tag, error);
        let reply = Reply::Group(GroupReply::Result { partition, error });
        (!error.passes_at_coordinators()).then_some(reply)
    }
}
