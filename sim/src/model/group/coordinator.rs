//! Who coordinates a group: brokers take turns when one is gone, and load what they take over.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse, ResponseKind};
use kafka_protocol::protocol::StrBytes;

use crate::code;
use crate::image::Endpoint;
use crate::model::{Cluster, Ctx, Node, Reply};

/// First version that looks several groups up.
const SEVERAL: i16 = 4;

impl Cluster {
    pub(in crate::model) fn find_coordinator(
        &self,
        ctx: &Ctx,
        request: &FindCoordinatorRequest,
    ) -> Reply {
        let mut body = FindCoordinatorResponse::default().with_throttle_time_ms(ctx.throttle());
        let found = |key: &StrBytes| match (ctx.injected(), request.key_type) {
            (Some(code), _) => Err(code),
            (None, 0) => self.endpoint_of(ctx, self.coordinator(key)),
            (None, 1) if self.options.transactions.is_some() => {
                self.endpoint_of(ctx, self.transaction_coordinator(key))
            }
            _ => Err(code::INVALID_REQUEST),
        };
        if ctx.version < SEVERAL {
            match found(&request.key) {
                Ok(at) => {
                    (body.node_id, body.port) = (at.id.into(), at.port.into());
                    body.host = at.host.clone();
                }
                Err(code) => (body.error_code, body.node_id) = (code, (-1).into()),
            }
            return Reply::Now(ctx.respond(ResponseKind::FindCoordinator(body)));
        }
        for key in &request.coordinator_keys {
            let reported = Coordinator::default().with_key(key.clone()).with_node_id((-1).into());
            body.coordinators.push(match found(key) {
                Ok(at) => reported
                    .with_node_id(at.id.into())
                    .with_host(at.host.clone())
                    .with_port(at.port.into()),
                Err(code) => reported.with_error_code(code),
            });
        }
        Reply::Now(ctx.respond(ResponseKind::FindCoordinator(body)))
    }

    /// The address of a coordinator as a broker knows it.
    fn endpoint_of(&self, ctx: &Ctx, coordinator: Option<i32>) -> Result<&Endpoint, i16> {
        let id = coordinator.ok_or(code::COORDINATOR_NOT_AVAILABLE)?;
        self.view(ctx.broker).endpoint(id).ok_or(code::COORDINATOR_NOT_AVAILABLE)
    }

    /// Returns the broker that coordinates a group.
    #[must_use]
    pub fn coordinator(&self, group: &str) -> Option<i32> {
        let moved = self.groups.get(group.as_bytes()).map_or(0, |group| group.moved);
        let ids: Vec<i32> = self.nodes.keys().copied().collect();
        let hash = group.bytes().fold(moved, |sum, byte| sum.wrapping_add(byte.into()));
        let first = hash as usize % ids.len().max(1);
        let order = ids.iter().cycle().skip(first).take(ids.len());
        order.copied().find(|id| self.nodes.get(id).is_some_and(Node::in_cluster))
    }

    /// Whether the broker serves the group, or with which code it refuses.
    pub(in crate::model) fn coordinates_group(
        &mut self,
        ctx: &Ctx,
        group: &StrBytes,
    ) -> Result<(), i16> {
        self.coordinates(ctx, group)
    }

    /// The same, within groups.
    pub(super) fn coordinates(&mut self, ctx: &Ctx, group: &StrBytes) -> Result<(), i16> {
        if let Some(code) = ctx.injected() {
            return Err(code);
        }
        if group.is_empty() {
            return Err(code::INVALID_GROUP_ID);
        }
        if self.coordinator(group) != Some(ctx.broker) {
            return Err(code::NOT_COORDINATOR);
        }
        let (now, loading) = (self.now, self.behaviour().loading);
        let Some(known) = self.groups.get_mut(group) else { return Ok(()) };
        match known.server {
            Some((broker, ready)) if broker == ctx.broker => match now < ready {
                true => Err(code::COORDINATOR_LOAD_IN_PROGRESS),
                false => Ok(()),
            },
            Some(_) => {
                known.server = Some((ctx.broker, now + loading));
                // Sessions begin again where a group was loaded.
                let session = self.options.groups.as_ref().map_or(loading, |at| at.session);
                for member in known.members.values_mut() {
                    let hosted = member.hosted.as_mut().map(|hosted| hosted.load());
                    member.session_until = now + loading + hosted.unwrap_or(session);
                }
                let held = known.classic.load(now + loading);
                let ids: Vec<_> = known.classic.members.keys().cloned().collect();
                self.turn_away(held);
                for id in ids {
                    self.check_classic(group, &id);
                }
                self.foreign_reloads(group);
                Err(code::COORDINATOR_LOAD_IN_PROGRESS)
            }
            None => {
                known.server = Some((ctx.broker, now));
                Ok(())
            }
        }
    }

    pub(super) fn behaviour(&self) -> super::Groups {
        self.options.groups.clone().unwrap_or_default()
    }
}
