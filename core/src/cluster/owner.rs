//! Answers to what the cluster part asked: Metadata and growth probes.

use super::{Cluster, DescribeCx, MetadataCx, OffsetsProbeCx};
use crate::api::Kind;
use crate::connection::{InFlight, Net, Origin};
use crate::event::Event;
use crate::time::{Span, Tick};
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
            cx.started.age(by);
        }
    }
}

impl<'d> Cluster<'d> {
    /// The scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        let seeds = &mut self.seeds;
        self.brokers_at.age(by);
        self.metadata_until.age(by);
        self.clock.age(by);
        self.topics.wanted_at.age(by);
        seeds.retry_at.age(by);
        seeds.stale_until.age(by);
        if let Some(produced) = &mut self.produced {
            produced.age(by);
        }
        for b in self.brokers.iter_mut() {
            b.seen.age(by);
            b.retry_at.age(by);
            b.stale_until.age(by);
        }
        for t in self.topics.iter_mut() {
            t.confirmed.age(by);
            t.described.age(by);
            t.used.age(by);
            t.need.at.age(by);
            t.probe.sent.age(by);
            t.probe.until.age(by);
            t.probe.eager_until.age(by);
            t.evidence.since.age(by);
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
