//! Responses to requests of the cluster part: Metadata and growth probes.

use super::{Cluster, Cx, DescribeMemo, MetadataMemo, OffsetsProbeMemo};
use crate::api::Kind;
use crate::connection::{InFlight, Origin};
use crate::event::Event;
use crate::time::Span;
use crate::wire::table::Segment;

/// State that is kept while a response streams in.
pub(crate) enum Memo {
    Metadata(MetadataMemo),
    Describe(DescribeMemo),
    Probe(OffsetsProbeMemo),
}

impl Memo {
    /// Whether the response is of another cluster: nothing of its topics was adopted.
    pub(crate) const fn is_foreign(&self) -> bool {
        cfg!(feature = "one-cluster")
            && matches!(self, Self::Metadata(MetadataMemo { foreign: true, .. }))
    }

    /// Whether it is a Metadata response that lists no brokers.
    pub(crate) const fn names_no_brokers(&self) -> bool {
        matches!(self, Self::Metadata(memo) if memo.names_no_brokers())
    }

    /// Ages all times: the scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        if let Self::Metadata(memo) = self {
            memo.started.age(by);
        }
    }
}

impl<'d> Cluster<'d> {
    /// Ages all times: the scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        let seeds = &mut self.seeds;
        self.brokers_at.age(by);
        self.metadata_until.age(by);
        self.topics.wanted_at.age(by);
        seeds.retry_at.age(by);
        self.unusable.age(by);
        seeds.stale_until.age(by);
        if let Some(produced) = &mut self.produced {
            produced.age(by);
        }
        #[cfg(any(feature = "one-cluster", all(feature = "sasl", feature = "fail-early")))]
        if let Some(hopeless_since) = &mut self.identity.hopeless_since {
            hopeless_since.age(by);
        }
        for b in self.brokers.iter_mut() {
            b.seen.age(by);
            b.retry_at.age(by);
            b.stale_until.age(by);
        }
        for t in self.topics.iter_mut() {
            t.confirmed.age(by);
            t.described.age(by);
            t.need.at.age(by);
            t.probe.sent.age(by);
            t.probe.until.age(by);
            t.used.age(by);
            t.probe.eager_until.age(by);
            t.evidence.since.age(by);
        }
    }
}

impl<'d> Cx<'d> {
    pub(crate) fn begin(&self, from: &Origin) -> Memo {
        let node = self.net.conns[from.conn].peer.node();
        match from.requested.kind {
            Kind::Probe => Memo::Probe(OffsetsProbeMemo::default()),
            kind if Some(kind) == Kind::DESCRIBE => Memo::Describe(DescribeMemo::default()),
            _ => {
                let (version, serial) = (from.requested.version, self.cluster.metadata_serial());
                Memo::Metadata(MetadataMemo::new(self.now, node, version, serial))
            }
        }
    }

    pub(crate) fn item<'a>(
        &mut self,
        from: &Origin,
        memo: &mut Memo,
        got: Segment<'_, 'a>,
    ) -> Option<Event<'a>> {
        match memo {
            Memo::Metadata(memo) => self.on_metadata(from.conn, memo, got),
            Memo::Describe(memo) if Kind::DESCRIBE.is_some() => self.cluster.on_describe(memo, got),
            Memo::Describe(_) => {}
            Memo::Probe(memo) => self.on_list_offsets_probe(from.conn, memo, got),
        }
        None
    }

    pub(crate) fn done(&mut self, from: &Origin, memo: &Memo) {
        match memo {
            Memo::Metadata(memo) => self.metadata_done(memo),
            Memo::Describe(memo) if Kind::DESCRIBE.is_some() => self.describe_done(from, memo),
            Memo::Describe(_) | Memo::Probe(_) => {}
        }
    }

    pub(crate) fn lost(&mut self, request: &InFlight) {
        match request.requested.kind {
            Kind::Metadata => self.metadata_lost(),
            _ => self.cluster.probe_lost(),
        }
    }
}
