//! DescribeGroups.

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, ResponseKind};
use kafka_protocol::protocol::StrBytes;

use super::{Classic, State};
use crate::code;
use crate::model::{Cluster, Ctx, Reply};

/// First version that has a code for a group of another type.
const SAYS_MISSING: i16 = 6;

impl Cluster {
    pub(in crate::model) fn describe_groups(
        &mut self,
        ctx: &Ctx,
        request: &DescribeGroupsRequest,
    ) -> Reply {
        let mut body = DescribeGroupsResponse::default().with_throttle_time_ms(ctx.throttle());
        for id in &request.groups {
            let allowed = self.coordinates(ctx, id);
            let missing = ctx.version >= SAYS_MISSING && self.hosts(id);
            let missing = missing.then_some(code::GROUP_ID_NOT_FOUND);
            let error = allowed.err().or(missing).unwrap_or(code::NONE);
            let known = self.groups.get(&id.0).filter(|_| error == code::NONE);
            let described =
                known.map_or_else(DescribedGroup::default, |group| group.classic.describe());
            body.groups.push(described.with_group_id(id.clone()).with_error_code(error));
        }
        Reply::Now(ctx.respond(ResponseKind::DescribeGroups(body)))
    }
}

impl Classic {
    /// Subscriptions and assignments are there while it is stable.
    fn describe(&self) -> DescribedGroup {
        let state = match self.state {
            State::Empty if self.generation == 0 => "Dead",
            State::Empty => "Empty",
            State::Preparing => "PreparingRebalance",
            State::Completing => "CompletingRebalance",
            State::Stable => "Stable",
        };
        let members = self.members.iter().map(|(id, member)| {
            let described = DescribedGroupMember::default().with_member_id(id.clone());
            let mut lists = member.protocols.iter();
            let elected = lists.find(|(name, _)| *name == self.protocol);
            match elected.filter(|_| self.state == State::Stable) {
                Some((_, metadata)) => described
                    .with_member_metadata(metadata.clone())
                    .with_member_assignment(member.assignment.clone()),
                None => described,
            }
        });
        DescribedGroup::default()
            .with_group_state(StrBytes::from_static_str(state))
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_members(members.collect())
    }
}
