//! The configuration as the machine keeps it.

use core::ops::Deref;

use super::*;
use crate::error::ConfigError;
use crate::time::Span;

/// A text of the configuration.
#[derive(Clone)]
pub(crate) enum Text<'d> {
    Lent(&'d str),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<str>),
}

impl Text<'_> {
    #[cfg(feature = "alloc")]
    fn into_owned<'a>(self) -> Text<'a> {
        Text::Owned((*self).into())
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Lent(text) => text,
            #[cfg(feature = "alloc")]
            Self::Owned(text) => text,
        }
    }
}

/// The same as the machine keeps it.
pub(crate) struct Settings<'d> {
    pub(crate) bootstrap: Text<'d>,
    pub(crate) client_id: Text<'d>,
    pub(crate) rack: Text<'d>,
    pub(crate) acks: Acks,
    pub(crate) idempotence: bool,
    pub(crate) linger: Span,
    pub(crate) linger_when_idle: bool,
    pub(crate) batch_bytes: usize,
    pub(crate) resend_unblamed: bool,
    pub(crate) request_bytes: usize,
    pub(crate) delivery_timeout: Span,
    pub(crate) request_timeout: Span,
    pub(crate) silence_timeout: Span,
    pub(crate) connect_timeout: Span,
    pub(crate) retry_backoff: Span,
    pub(crate) retry_backoff_max: Span,
    pub(crate) reconnect_backoff: Span,
    pub(crate) reconnect_backoff_max: Span,
    pub(crate) probing: Probing,
    pub(crate) probe_idle: Span,
    pub(crate) probe_busy: Span,
    pub(crate) probe_share: u8,
    pub(crate) metadata_budget: u32,
    pub(crate) metadata_max_age: Span,
    pub(crate) read_added_from_first: bool,
    pub(crate) out_of_range: OutOfRange,
    pub(crate) fetch_max_wait: Span,
    pub(crate) fetch_min_bytes: i32,
    pub(crate) fetch_max_bytes: i32,
    pub(crate) partition_max_bytes: i32,
    pub(crate) accept_other_cluster: bool,
    pub(crate) auto_create: bool,
    #[cfg(feature = "key-order")]
    pub(crate) drain_timeout: Span,
    #[cfg(feature = "ordered-growth")]
    pub(crate) growth: GrowthSpans,
    #[cfg(feature = "read-committed")]
    pub(crate) isolation: Isolation,
    pub(crate) report_positions: bool,
    #[cfg(feature = "transactions")]
    pub(crate) transactional_id: Text<'d>,
    #[cfg(feature = "transactions")]
    pub(crate) transaction_timeout: Span,
    #[cfg(feature = "group")]
    pub(crate) group: Text<'d>,
    #[cfg(all(feature = "group", feature = "member-options"))]
    pub(crate) instance: Text<'d>,
    #[cfg(feature = "pattern")]
    pub(crate) pattern: Text<'d>,
    #[cfg(all(feature = "group", feature = "member-options"))]
    pub(crate) assignor: Text<'d>,
    #[cfg(feature = "classic")]
    pub(crate) classic: Classic<'d>,
    #[cfg(feature = "group")]
    pub(crate) rebalance_timeout: Span,
    /// Zero for never.
    #[cfg(feature = "group")]
    pub(crate) auto_commit: Span,
    #[cfg(all(feature = "group", feature = "given-offsets"))]
    marks_taken: bool,
    #[cfg(all(feature = "group", feature = "member-options"))]
    exact_start: bool,
    #[cfg(feature = "codecs")]
    pub(crate) codecs: crate::codec::Codecs,
    #[cfg(feature = "pack")]
    pub(crate) compression: Option<crate::codec::Codec>,
}

/// [`OrderedGrowth`]; its limit is zero for no order.
#[cfg(feature = "ordered-growth")]
pub(crate) struct GrowthSpans {
    pub(crate) settle: Span,
    pub(crate) limit: Span,
}

#[cfg(feature = "ordered-growth")]
impl GrowthSpans {
    fn new(config: &Config<'_>) -> Self {
        let none = Self { settle: Span::ZERO, limit: Span::ZERO };
        config.ordered_growth.map_or(none, |order| Self {
            settle: Span::of(order.settle),
            limit: Span::of(order.limit),
        })
    }
}

/// What a member by the classic protocol needs.
#[cfg(feature = "classic")]
pub(crate) struct Classic<'d> {
    pub(crate) protocol: GroupProtocol,
    pub(crate) assignors: Text<'d>,
    pub(crate) session_timeout: Span,
    pub(crate) heartbeat_interval: Span,
}

#[cfg(feature = "classic")]
impl<'d> Classic<'d> {
    fn new(config: &Config<'d>) -> Self {
        Self {
            protocol: config.group_protocol,
            assignors: Text::Lent(config.group_assignors),
            session_timeout: Span::of(config.session_timeout),
            heartbeat_interval: Span::of(config.heartbeat_interval),
        }
    }
}

impl<'d> Settings<'d> {
    pub(crate) fn new(config: &Config<'d>) -> Self {
        Self {
            bootstrap: Text::Lent(config.bootstrap),
            client_id: Text::Lent(config.client_id),
            rack: Text::Lent(config.rack),
            acks: config.acks,
            idempotence: config.idempotence,
            linger: Span::of(config.linger),
            linger_when_idle: config.linger_when_idle,
            batch_bytes: config.batch_bytes,
            resend_unblamed: config.resend_unblamed,
            request_bytes: config.request_bytes,
            delivery_timeout: Span::of(config.delivery_timeout),
            request_timeout: Span::of(config.request_timeout),
            silence_timeout: Span::of(config.silence_timeout),
            connect_timeout: Span::of(config.connect_timeout),
            retry_backoff: Span::of(config.retry_backoff),
            retry_backoff_max: Span::of(config.retry_backoff_max),
            reconnect_backoff: Span::of(config.reconnect_backoff),
            reconnect_backoff_max: Span::of(config.reconnect_backoff_max),
            probing: config.probing,
            probe_idle: Span::of(config.probe_idle),
            probe_busy: Span::of(config.probe_busy),
            probe_share: config.probe_share,
            metadata_budget: config.metadata_budget,
            metadata_max_age: Span::of(config.metadata_max_age),
            read_added_from_first: config.read_added_from_first,
            out_of_range: config.out_of_range,
            fetch_max_wait: Span::of(config.fetch_max_wait),
            fetch_min_bytes: config.fetch_min_bytes,
            fetch_max_bytes: config.fetch_max_bytes,
            partition_max_bytes: config.partition_max_bytes,
            accept_other_cluster: config.accept_other_cluster,
            auto_create: config.auto_create,
            #[cfg(feature = "key-order")]
            drain_timeout: Span::of(config.drain_timeout),
            #[cfg(feature = "ordered-growth")]
            growth: GrowthSpans::new(config),
            #[cfg(feature = "read-committed")]
            isolation: config.isolation,
            report_positions: config.report_positions,
            #[cfg(feature = "transactions")]
            transactional_id: Text::Lent(config.transactional_id),
            #[cfg(feature = "transactions")]
            transaction_timeout: Span::of(config.transaction_timeout),
            #[cfg(feature = "group")]
            group: Text::Lent(config.group),
            #[cfg(all(feature = "group", feature = "member-options"))]
            instance: Text::Lent(config.group_instance),
            #[cfg(feature = "pattern")]
            pattern: Text::Lent(config.group_pattern),
            #[cfg(all(feature = "group", feature = "member-options"))]
            assignor: Text::Lent(config.group_assignor),
            #[cfg(feature = "classic")]
            classic: Classic::new(config),
            #[cfg(feature = "group")]
            rebalance_timeout: Span::of(config.rebalance_timeout),
            #[cfg(feature = "group")]
            auto_commit: config.auto_commit.map_or(Span::ZERO, Span::of),
            #[cfg(all(feature = "group", feature = "given-offsets"))]
            marks_taken: config.marks_taken,
            #[cfg(all(feature = "group", feature = "member-options"))]
            exact_start: !config.group_skips,
            #[cfg(feature = "codecs")]
            codecs: config.codecs,
            #[cfg(feature = "pack")]
            compression: config.compression,
        }
    }

    /// The same with copies of the texts.
    #[cfg(feature = "alloc")]
    pub(crate) fn into_owned<'a>(self) -> Settings<'a> {
        let Self { bootstrap, client_id, rack, .. } = self;
        let (bootstrap, client_id) = (bootstrap.into_owned(), client_id.into_owned());
        #[cfg(feature = "group")]
        let group = self.group.into_owned();
        Settings {
            bootstrap,
            client_id,
            rack: rack.into_owned(),
            #[cfg(feature = "transactions")]
            transactional_id: self.transactional_id.into_owned(),
            #[cfg(feature = "group")]
            group,
            #[cfg(all(feature = "group", feature = "member-options"))]
            instance: self.instance.into_owned(),
            #[cfg(feature = "pattern")]
            pattern: self.pattern.into_owned(),
            #[cfg(all(feature = "group", feature = "member-options"))]
            assignor: self.assignor.into_owned(),
            #[cfg(feature = "classic")]
            classic: Classic { assignors: self.classic.assignors.into_owned(), ..self.classic },
            ..self
        }
    }

    /// Whether the configuration can work.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.idempotence && self.acks != Acks::All {
            return Err(ConfigError::IdempotenceNeedsAcksAll);
        }
        if self.client_id.len().max(self.rack.len()) > 64 {
            return Err(ConfigError::TooLong);
        }
        #[cfg(feature = "group")]
        self.check_group()?;
        #[cfg(feature = "transactions")]
        self.check_transactions()?;
        let positive = [
            self.delivery_timeout,
            self.request_timeout,
            self.silence_timeout,
            self.connect_timeout,
            self.retry_backoff,
            self.reconnect_backoff,
            self.probe_idle,
            self.probe_busy,
            self.metadata_max_age,
        ];
        let ordered = [
            (self.retry_backoff, self.retry_backoff_max),
            (self.reconnect_backoff, self.reconnect_backoff_max),
            (self.probe_busy, self.probe_idle),
        ];
        if positive.into_iter().any(|span| span == Span::ZERO)
            || ordered.into_iter().any(|(least, most)| least > most)
        {
            return Err(ConfigError::Duration);
        }
        for n in 0..self.seeds() {
            let (host, _) = self.seed(n).ok_or(ConfigError::Bootstrap)?;
            if host.len() > 255 {
                return Err(ConfigError::TooLong);
            }
        }
        Ok(())
    }

    #[cfg(feature = "group")]
    fn check_group(&self) -> Result<(), ConfigError> {
        let longest = self.group.len();
        #[cfg(feature = "member-options")]
        let longest = longest.max(self.instance.len()).max(self.assignor.len());
        if longest > 255 {
            return Err(ConfigError::TooLong);
        }
        #[cfg(feature = "pattern")]
        if self.pattern.len() > 1024 {
            return Err(ConfigError::TooLong);
        }
        let none = self.rebalance_timeout == Span::ZERO;
        #[cfg(feature = "classic")]
        self.check_classic()?;
        if none { Err(ConfigError::Duration) } else { Ok(()) }
    }

    #[cfg(feature = "transactions")]
    fn check_transactions(&self) -> Result<(), ConfigError> {
        if self.transactional_id.len() > 255 {
            return Err(ConfigError::TooLong);
        }
        if self.is_transactional() && !self.idempotence {
            return Err(ConfigError::TransactionsNeedIdempotence);
        }
        let none = self.transaction_timeout == Span::ZERO;
        if none { Err(ConfigError::Duration) } else { Ok(()) }
    }

    /// Whether records are sent in transactions.
    #[cfg(feature = "transactions")]
    pub(crate) fn is_transactional(&self) -> bool {
        !self.transactional_id.is_empty()
    }

    #[cfg(feature = "classic")]
    fn check_classic(&self) -> Result<(), ConfigError> {
        let classic = &self.classic;
        if classic.assignors.len() > 255 {
            return Err(ConfigError::TooLong);
        }
        let (beat, session) = (classic.heartbeat_interval, classic.session_timeout);
        if beat == Span::ZERO || beat >= session {
            return Err(ConfigError::Duration);
        }
        let known = |name: &str| Assignor::from_name(name).is_some();
        match listed(&classic.assignors).all(known) {
            true => Ok(()),
            false => Err(ConfigError::Assignor),
        }
    }

    /// Whether the application reports what it has read.
    #[cfg(all(feature = "group", feature = "given-offsets"))]
    pub(crate) const fn marks_taken(&self) -> bool {
        self.marks_taken
    }
    #[cfg(all(feature = "group", not(feature = "given-offsets")))]
    #[expect(clippy::unused_self, reason = "as of builds whose applications may")]
    pub(crate) const fn marks_taken(&self) -> bool {
        false
    }

    /// Whether partitions without a commit begin where nothing is skipped.
    #[cfg(all(feature = "group", feature = "member-options"))]
    pub(crate) const fn exact_start(&self) -> bool {
        self.exact_start
    }
    #[cfg(all(feature = "group", not(feature = "member-options")))]
    #[expect(clippy::unused_self, reason = "as of builds that choose")]
    pub(crate) const fn exact_start(&self) -> bool {
        true
    }

    /// Returns the id of a static member.
    #[cfg(all(feature = "group", feature = "member-options"))]
    pub(crate) fn instance(&self) -> Option<&str> {
        Some(&*self.instance).filter(|id| !id.is_empty())
    }
    #[cfg(all(feature = "group", not(feature = "member-options")))]
    #[expect(clippy::unused_self, reason = "as of builds that have static members")]
    pub(crate) const fn instance(&self) -> Option<&str> {
        None
    }

    /// Returns the assignor that the coordinator is to use.
    #[cfg(all(feature = "group", feature = "member-options"))]
    pub(crate) fn assignor(&self) -> Option<&str> {
        Some(&*self.assignor).filter(|name| !name.is_empty())
    }
    #[cfg(all(feature = "group", not(feature = "member-options")))]
    #[expect(clippy::unused_self, reason = "as of builds that choose one")]
    pub(crate) const fn assignor(&self) -> Option<&str> {
        None
    }

    /// Whether the group commits by itself.
    #[cfg(feature = "group")]
    pub(crate) fn commits_by_itself(&self) -> bool {
        self.auto_commit != Span::ZERO
    }

    /// Whether partitions that were added are held.
    #[cfg(feature = "ordered-growth")]
    pub(crate) fn orders_growth(&self) -> bool {
        self.growth.limit != Span::ZERO
    }

    /// Returns the end of what is read of a partition.
    #[cfg(feature = "read-committed")]
    pub(crate) fn end_of(&self, high_watermark: i64, last_stable_offset: i64) -> i64 {
        match self.isolation {
            Isolation::ReadCommitted if last_stable_offset >= 0 => {
                guard!("the last stable offset is the end", high_watermark.min(last_stable_offset)
                    => high_watermark)
            }
            _ => high_watermark,
        }
    }

    #[cfg(not(feature = "read-committed"))]
    #[expect(clippy::unused_self, reason = "as of builds that read what is committed")]
    pub(crate) const fn end_of(&self, high_watermark: i64, _: i64) -> i64 {
        high_watermark
    }

    /// Returns the isolation level in requests.
    #[cfg(feature = "read-committed")]
    pub(crate) const fn isolation(&self) -> i8 {
        self.isolation as i8
    }

    #[cfg(not(feature = "read-committed"))]
    #[expect(clippy::unused_self, reason = "as of builds that read what is committed")]
    pub(crate) const fn isolation(&self) -> i8 {
        0
    }

    /// Returns the `n`-th bootstrap address, modulo their number.
    pub(crate) fn seed(&self, n: usize) -> Option<(&str, u16)> {
        seed(&self.bootstrap, n)
    }

    pub(crate) fn seeds(&self) -> usize {
        seeds(&self.bootstrap)
    }
}

/// Returns the `n`-th of some addresses, modulo their number.
#[inline(never)]
fn seed(mut text: &str, n: usize) -> Option<(&str, u16)> {
    for _ in 0..n % seeds(text) {
        text = cut(text, b',').1;
    }
    parse_address(cut(text, b',').0)
}

fn seeds(text: &str) -> usize {
    1 + text.bytes().filter(|byte| *byte == b',').count()
}

/// Returns what comes before the first `mark`, and what comes after it.
fn cut(text: &str, mark: u8) -> (&str, &str) {
    let at = text.bytes().position(|byte| byte == mark).unwrap_or(text.len());
    let (before, after) = (text.get(..at), text.get(at + 1..));
    (before.unwrap_or_default(), after.unwrap_or_default())
}

/// Returns the names of a list.
#[cfg(feature = "classic")]
pub(crate) fn listed(text: &str) -> impl Iterator<Item = &str> {
    let (mut rest, count) = (text, seeds(text));
    (0..count).map(move |_| {
        let (name, after) = cut(rest, b',');
        rest = after;
        name.trim_ascii()
    })
}

/// `host:port`, or `[v6]:port`; surrounding spaces are ignored. Works on bytes, since the library's
/// string functions take two kilobytes of flash.
fn parse_address(text: &str) -> Option<(&str, u16)> {
    let text = text.trim_ascii();
    let colon = text.bytes().rposition(|byte| byte == b':')?;
    let host = text.get(..colon)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let mut port: u32 = 0;
    for digit in text.get(colon + 1..)?.bytes().map(|byte| byte.wrapping_sub(b'0')) {
        port = port * 10 + u32::from(digit);
        if digit > 9 || port > u32::from(u16::MAX) {
            return None;
        }
    }
    (!host.is_empty() && port > 0).then_some((host, port as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_addresses_are_read_and_refused() {
        let config = Config::new("a:1, b.example:65535,[::1]:9092");
        assert_eq!(Settings::new(&config).check(), Ok(()));
        assert_eq!(seed(config.bootstrap, 1), Some(("b.example", 65535)));
        assert_eq!(seed(config.bootstrap, 2), Some(("::1", 9092)));
        assert_eq!(seed(config.bootstrap, 3), Some(("a", 1)), "counted around");
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "a:1,", "a:x"] {
            assert_eq!(
                Settings::new(&Config::new(bad)).check(),
                Err(ConfigError::Bootstrap),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn idempotence_needs_all_acks() {
        let mut config = Config::new("a:1").acks(Acks::Leader);
        assert_eq!(Settings::new(&config).check(), Ok(()), "acks() switches it off");
        config.idempotence = true;
        assert_eq!(Settings::new(&config).check(), Err(ConfigError::IdempotenceNeedsAcksAll));
    }
}
