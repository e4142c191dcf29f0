//! The parts that send requests of their own. What all of them have to do is written here once:
//! each function destructures the whole of [`Owners`], so that the compiler reports an owner that
//! it forgets.

use crate::admin::Admin;
#[cfg(feature = "sasl")]
use crate::api::Kind;
use crate::api::Owner;
use crate::cluster::Cx;
use crate::connection::{InFlight, Origin};
use crate::consumer::Consumer;
use crate::error::Error;
use crate::event::Event;
#[cfg(feature = "group")]
use crate::group::Group;
use crate::has::SILENCE;
use crate::producer::Producer;
use crate::response::Memo;
use crate::time::{Span, Tick};
#[cfg(feature = "transactions")]
use crate::transaction::Transaction;
use crate::wire::table::Segment;

/// See the module. The cluster is an owner, too; it is part of the context that others work with.
pub(super) struct Owners<'d> {
    pub(super) producer: Producer<'d>,
    pub(super) consumer: Consumer<'d>,
    pub(super) admin: Admin<'d>,
    #[cfg(feature = "group")]
    pub(super) group: Group<'d>,
    #[cfg(feature = "transactions")]
    pub(super) transaction: Transaction,
}

impl<'d> Owners<'d> {
    /// Shifts the scale of time.
    pub(super) fn age(&mut self, by: Span) {
        let Self {
            producer,
            consumer,
            admin,
            #[cfg(feature = "group")]
            group,
            #[cfg(feature = "transactions")]
            transaction,
        } = self;
        producer.age(by);
        consumer.age(by);
        admin.age(by);
        #[cfg(feature = "group")]
        group.age(by);
        #[cfg(feature = "transactions")]
        transaction.age(by);
    }

    /// Whether one of them may have something to do before its deadline.
    pub(super) fn is_dirty(&self, cx: &Cx<'d>) -> bool {
        let Self {
            producer,
            consumer,
            admin,
            #[cfg(feature = "group")]
            group,
            #[cfg(feature = "transactions")]
            transaction,
        } = self;
        #[cfg(feature = "group")]
        if group.is_dirty() || consumer.has_resolved() && group.is_on() {
            return true;
        }
        #[cfg(feature = "transactions")]
        if transaction.is_dirty() {
            return true;
        }
        cx.is_dirty() || producer.is_dirty() || consumer.is_dirty() || admin.is_dirty()
    }

    /// Lets each do what is due. Returns the earliest of their deadlines, the only one that a
    /// client keeps for them.
    pub(super) fn drive(&mut self, cx: &mut Cx<'d>) -> Tick {
        let Self {
            producer,
            consumer,
            admin,
            #[cfg(feature = "group")]
            group,
            #[cfg(feature = "transactions")]
            transaction,
        } = self;
        let next = admin.drive(cx);
        let next = next.min(producer.drive(cx));
        // After the producer, which knows what waits for it.
        #[cfg(feature = "transactions")]
        let next = next.min(transaction.drive(cx, producer));
        // What it assigns is read at once.
        #[cfg(feature = "group")]
        let next = next.min(group.drive(cx, consumer));
        let next = next.min(consumer.drive(cx));
        // The cluster comes last, so that what the others need of it is requested at once.
        next.min(cx.drive())
    }

    /// Whether one of them has an event.
    pub(super) fn has_news(&self, cx: &Cx<'d>) -> bool {
        let Self {
            producer,
            consumer,
            admin,
            #[cfg(feature = "group")]
            group,
            #[cfg(feature = "transactions")]
            transaction,
        } = self;
        #[cfg(feature = "group")]
        if group.has_news() {
            return true;
        }
        #[cfg(feature = "transactions")]
        if transaction.has_news() {
            return true;
        }
        cx.cluster.has_news()
            || (SILENCE && cx.net.has_silence(cx.settings.fetch_max_wait))
            || consumer.has_news()
            || admin.has_news()
            || producer.has_news()
    }

    /// Returns the next event of one of them.
    pub(super) fn poll_event(&mut self, cx: &mut Cx<'d>) -> Option<Event<'static>> {
        let Self {
            producer,
            consumer,
            admin,
            #[cfg(feature = "group")]
            group,
            #[cfg(feature = "transactions")]
            transaction,
        } = self;
        if let Some(event) = cx.cluster.poll_event() {
            return Some(event);
        }
        if let Some(event) = producer.poll_outcome(&mut cx.net) {
            if matches!(event, Event::Room) {
                consumer.on_room();
            }
            return Some(event);
        }
        #[cfg(feature = "key-order")]
        if let Some(event) = producer.poll_drained(&cx.cluster) {
            return Some(event);
        }
        // After the records of a transaction.
        #[cfg(feature = "transactions")]
        if let Some(event) = transaction.poll_event() {
            return Some(event);
        }
        if let Some(event) = consumer.poll_event(&cx.cluster) {
            return Some(event);
        }
        #[cfg(feature = "ordered-growth")]
        if let Some(event) = consumer.poll_growth(&cx.cluster) {
            return Some(event);
        }
        #[cfg(feature = "group")]
        if let Some(event) = group.poll_event(cx, consumer) {
            return Some(event);
        }
        if let Some(event) = admin.poll_event(&cx.cluster) {
            return Some(event);
        }
        if SILENCE
            && cx.net.silence_news
            && let Some((peer, since)) = cx.net.take_silence(cx.settings.fetch_max_wait)
        {
            cx.cluster.on_silent(peer);
            let broker = peer.node();
            let millis = u64::try_from(since.until(cx.now).millis()).unwrap_or_default();
            let silent = core::time::Duration::from_millis(millis);
            return Some(Event::Unresponsive { broker, silent });
        }
        cx.cluster.poll_disconnected()
    }

    /// Begins a response; returns what its owner remembers of it.
    pub(super) fn begin(&self, cx: &Cx<'d>, from: &Origin) -> Memo {
        match from.requested.kind.row().owner {
            Owner::Handshake => Memo::Handshake(Default::default()),
            Owner::Cluster => Memo::Cluster(cx.begin(from)),
            Owner::Producer => Memo::Producer(self.producer.begin(cx, from)),
            Owner::Consumer => Memo::Consumer(self.consumer.begin(cx, from)),
            #[cfg(feature = "group")]
            Owner::Group => Memo::Group(self.group.begin(from)),
            #[cfg(feature = "transactions")]
            Owner::Transaction => Memo::Transaction(self.transaction.begin_response(from)),
            Owner::Admin => Memo::Admin(self.admin.begin(cx, from)),
        }
    }

    /// Passes on the next piece of a response.
    #[inline]
    pub(super) fn item<'a>(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &mut Memo,
        got: Segment<'_, 'a>,
    ) -> Option<Event<'a>> {
        match memo {
            Memo::None => None,
            Memo::Handshake(memo) if from.requested.kind.confirms() => {
                cx.on_confirmation(from.conn, memo, got);
                None
            }
            Memo::Handshake(memo) => {
                match from.requested.kind {
                    #[cfg(feature = "sasl")]
                    Kind::Mechanism => cx.net.login.on_offer(memo, got),
                    #[cfg(feature = "sasl")]
                    Kind::Authenticate => cx.net.on_challenge(from.conn, memo, got),
                    _ => cx.net.conns[from.conn].on_versions(memo, got),
                }
                None
            }
            Memo::Cluster(memo) => cx.item(from, memo, got),
            Memo::Producer(memo) => self.producer.item(cx, from, memo, got),
            Memo::Consumer(memo) => self.consumer.item(cx, from, memo, got),
            #[cfg(feature = "group")]
            Memo::Group(memo) => {
                let Self { producer, consumer, group, .. } = self;
                let make_room = &mut |cx: &mut Cx<'d>| producer.evict_one(&mut cx.cluster);
                group.item(cx, consumer, (from, memo), got, make_room);
                None
            }
            #[cfg(feature = "transactions")]
            Memo::Transaction(memo) => {
                let Self { producer, transaction, .. } = self;
                transaction.item(cx, producer, (from, memo), got);
                None
            }
            Memo::Admin(memo) => self.admin.item(cx, from, memo, got),
        }
    }

    /// Passes on the end of a response.
    #[inline]
    pub(super) fn done(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &Memo,
    ) -> Option<Event<'static>> {
        match memo {
            // The client continues the handshake of its connection.
            Memo::None | Memo::Handshake(_) => None,
            Memo::Cluster(memo) => {
                cx.done(from, memo);
                None
            }
            Memo::Producer(memo) => self.producer.done(cx, from, memo),
            Memo::Consumer(memo) => self.consumer.done(cx, from, memo),
            #[cfg(feature = "group")]
            Memo::Group(memo) => {
                self.group.done(cx, from, memo);
                None
            }
            #[cfg(feature = "transactions")]
            Memo::Transaction(memo) => {
                let Self { producer, transaction, .. } = self;
                transaction.done(cx, producer, from, memo);
                None
            }
            Memo::Admin(memo) => self.admin.done(cx, from, memo),
        }
    }

    /// Handles a request that will get no response: its connection ended.
    #[inline]
    pub(super) fn lost(&mut self, cx: &mut Cx<'d>, lost: &InFlight, error: Error) {
        match lost.requested.kind.row().owner {
            Owner::Handshake => {}
            Owner::Cluster => cx.lost(lost),
            Owner::Producer => self.producer.lost(cx, lost, error),
            Owner::Consumer => self.consumer.lost(cx, lost, error),
            #[cfg(feature = "group")]
            Owner::Group => self.group.lost(cx, lost, error),
            #[cfg(feature = "transactions")]
            Owner::Transaction => {
                let Self { producer, transaction, .. } = self;
                transaction.lost(cx, producer, lost, error);
            }
            Owner::Admin => self.admin.lost(cx, lost, error),
        }
    }
}
