//! Answers to what the cluster part asked: Metadata and growth probes.

use super::{Cluster, DescribeCx, MetadataCx, OffsetsProbeCx};
use crate::api::Kind;
use crate::connection::{InFlight, Net, Origin};
use crate::event::Event;
use crate::time::{Span, Tick, age};
use crate::wire::table::Segment;

/// What is remembered while an answer streams in.
pub(crate) enum Cx {
    Metadata(MetadataCx),
    Describe(DescribeCx),
    Probe(OffsetsProbeCx),
}

impl Cx {
    /// The scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        if let Self::Metadata(cx) = self {
            age(&mut [&mut cx.started], by);
        }
    }
}

impl<'d> Cluster<'d> {
    /// The scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        let seeds = &mut self.seeds;
        let mut own = [
            &mut self.brokers_at,
            &mut self.metadata_until,
            &mut self.clock,
            &mut self.topics.wanted_at,
            &mut seeds.retry_at,
            &mut seeds.stale_until,
        ];
        age(&mut own, by);
        if let Some(produced) = &mut self.produced {
            age(&mut [produced], by);
        }
        for b in self.brokers.iter_mut() {
            age(&mut [&mut b.seen, &mut b.retry_at, &mut b.stale_until], by);
        }
        for t in self.topics.iter_mut() {
            let mut own = [
                &mut t.confirmed,
                &mut t.described,
                &mut t.used,
                &mut t.need.at,
                &mut t.probe.sent,
                &mut t.probe.until,
                &mut t.probe.eager_until,
                &mut t.evidence.since,
            ];
            age(&mut own, by);
        }
    }

    pub(crate) fn begin(&self, net: &Net<'d>, from: &Origin) -> Cx {
        let node = net.conns[from.conn].peer.node();
        match from.asked.kind {
            Kind::Probe => Cx::Probe(OffsetsProbeCx::default()),
            kind if Some(kind) == Kind::DESCRIBE => Cx::Describe(DescribeCx::default()),
            _ => {
                let (version, serial) = (from.asked.version, self.metadata_serial());
                Cx::Metadata(MetadataCx::new(from.now, node, version, serial))
            }
        }
    }

    pub(crate) fn item<'a>(
        &mut self,
        net: &mut Net<'d>,
        from: &Origin,
        cx: &mut Cx,
        got: Segment<'_, 'a>,
    ) -> Option<Event<'a>> {
        match cx {
            Cx::Metadata(cx) => self.on_metadata(from.now, cx, got),
            Cx::Describe(cx) if Kind::DESCRIBE.is_some() => self.on_describe(cx, got),
            Cx::Describe(_) => {}
            Cx::Probe(cx) => self.on_list_offsets_probe(from.now, net, from.conn, cx, got),
        }
        None
    }

    pub(crate) fn done(&mut self, net: &mut Net<'d>, from: &Origin, cx: &Cx) {
        match cx {
            Cx::Metadata(cx) => self.metadata_done(from.now, cx),
            Cx::Describe(cx) if Kind::DESCRIBE.is_some() => self.describe_done(net, from, cx),
            Cx::Describe(_) | Cx::Probe(_) => {}
        }
    }

    pub(crate) fn lost(&mut self, now: Tick, request: &InFlight) {
        match request.asked.kind {
            Kind::Metadata => self.metadata_lost(now),
            _ => self.probe_lost(),
        }
    }
}
