//! Texts of errors, and configurations that a client refuses.

use kavka_core::record::Malformed as BadRecords;
use kavka_core::time::Duration;
use kavka_core::wire::{ApiKey, ErrorCode, Full, Malformed as BadResponse};
use kavka_core::{
    Acks, AdminError, Client, CloseReason, Config, ConfigError, Error, LimitKind, Limits, Misuse,
    PeerFault, ProduceError, Protocol, RestoreError, Storage,
};

/// The first words of an error name what is to blame.
#[test]
fn errors_say_whom_to_blame() {
    let limit = |what| Error::Limit { what, needed: 0 };
    for (error, words) in [
        (
            Error::Peer(PeerFault::Malformed(ApiKey::FETCH)),
            "the broker broke the protocol: a response to FETCH cannot be decoded",
        ),
        (Error::Peer(PeerFault::NoBrokers), "lists no brokers"),
        (Error::Peer(PeerFault::NoTopic), "leaves out the topic"),
        (Error::Peer(PeerFault::FrameLength(-1)), "frame length -1 (is this a Kafka port?)"),
        (Error::Peer(PeerFault::NotKafka(Protocol::Tls)), "seems to speak TLS"),
        (
            Error::Peer(PeerFault::NotKafka(Protocol::Text(*b"2\"0\r"))),
            r#"not Kafka's protocol, but text: it begins with "2\"0\r""#,
        ),
        (Error::Peer(PeerFault::Correlation), "another request"),
        (Error::Peer(PeerFault::LeftOut(ApiKey::FETCH)), "FETCH leaves out what was requested"),
        (Error::Peer(PeerFault::NoValue(ApiKey::LIST_OFFSETS)), "-1 in place of what was"),
        (
            Error::Peer(PeerFault::NoTopicIds { api: ApiKey::FETCH, min: 13 }),
            "the broker has FETCH only from version 13 on, which needs topic ids",
        ),
        (Error::Peer(PeerFault::NotHeld), "responds to FETCH at once, again and again"),
        (Error::Peer(PeerFault::NoRecords { left: 8 }), "high watermark is 8 beyond the position"),
        (Error::Peer(PeerFault::CutBatch { needed: 99, got: 70 }), "only 70 of 99 bytes of the"),
        (Error::Peer(PeerFault::CutBatch { needed: 0, got: 5 }), "only 5 bytes of the batch"),
        (
            Error::Peer(PeerFault::NoCommonVersion { api: ApiKey::FETCH, min: 19, max: 20 }),
            "no common version of FETCH: the broker has 19 to 20, this client 4 to 18",
        ),
        (Error::Peer(PeerFault::NoApi(ApiKey::PRODUCE)), "the broker does not have PRODUCE"),
        (Error::Broker(ErrorCode(29)), "the broker responded with TOPIC_AUTHORIZATION_FAILED (29)"),
        (limit(LimitKind::Topics), "limit reached: topics"),
        (limit(LimitKind::Partitions), "limit reached: partitions"),
        (limit(LimitKind::ReceiveBuffer), "limit reached: receive buffer"),
        (limit(LimitKind::SendBlocks), "limit reached: send blocks"),
        (Error::Limit { what: LimitKind::Requests, needed: 5 }, "admin requests"),
        (Error::Limit { what: LimitKind::Requests, needed: 5 }, "needed 5"),
        (Error::Config(ConfigError::Bootstrap), "configuration: bootstrap must be host:port"),
        (Error::Closed(CloseReason::Refused), "connection closed: refused"),
        (CloseReason::Unresolved.into(), "connection closed: name not resolved"),
        (CloseReason::Reset.into(), "reset by the peer"),
        (CloseReason::Ended.into(), "ended by the peer"),
        (CloseReason::Failed.into(), "transport failed"),
        (Error::TimedOut, "no response in time"),
        (Error::Caller(Misuse::StaleId), "wrong call: the id"),
        (Error::Caller(Misuse::TopicName), "topic name"),
        (Error::Caller(Misuse::AlreadyAssigned), "assigned already"),
        (Error::Caller(Misuse::Negative), "negative offset"),
        (Error::Caller(Misuse::PartitionIndex), "partition index"),
    ] {
        let text = error.to_string();
        assert!(text.contains(words), "{error:?} says {text:?}, not {words:?}");
    }
}

#[test]
fn a_refused_record_says_what_would_help() {
    for (error, words) in [
        (ProduceError::Full, "full"),
        (ProduceError::NotReady, "not known yet"),
        (ProduceError::TooLarge { max: 99 }, "at most 99 bytes"),
        (ProduceError::Refused(Error::TimedOut), "no response in time"),
    ] {
        let text = error.to_string();
        assert!(text.contains(words), "{error:?} says {text:?}");
    }
}

#[test]
fn a_refused_request_says_what_is_too_large_and_the_limit() {
    let too_large = |what| AdminError::TooLarge { what, needed: 70, max: 64 };
    for (error, words) in [
        (AdminError::Full, "too many admin requests"),
        (too_large(LimitKind::SendBlocks), "too large: 70 send blocks, at most 64"),
        (too_large(LimitKind::Text), "too large: 70 bytes of a text, at most 64"),
        (AdminError::Caller(Misuse::TopicName), "topic name"),
    ] {
        let text = error.to_string();
        assert!(text.contains(words), "{error:?} says {text:?}");
    }
}

/// No two reasons have the same text: a log line is enough to distinguish them.
#[test]
fn reasons_read_differently() {
    let responses = [
        BadResponse::Length,
        BadResponse::TooLong,
        BadResponse::Utf8,
        BadResponse::Varint,
        BadResponse::TagOrder,
        BadResponse::Tag,
        BadResponse::Shape,
    ];
    let records = [
        BadRecords::Truncated,
        BadRecords::Magic(1),
        BadRecords::BatchLength,
        BadRecords::Crc,
        BadRecords::Compressed(4),
        BadRecords::RecordCount,
        BadRecords::TrailingBytes,
        BadRecords::RecordLength,
        BadRecords::FieldLength,
        BadRecords::Varint,
        BadRecords::Offset,
        BadRecords::ControlKey,
    ];
    let configs = [
        ConfigError::Bootstrap,
        ConfigError::TooLong,
        ConfigError::IdempotenceNeedsAcksAll,
        ConfigError::TooLittle { what: LimitKind::Connections, least: 1 },
        ConfigError::Duration,
    ];
    let texts = responses.iter().map(ToString::to_string);
    let texts = texts.chain(records.iter().map(ToString::to_string));
    let texts = texts.chain(configs.iter().map(ToString::to_string));
    let others = [Full.to_string(), RestoreError::Corrupt.to_string()];
    let mut texts: Vec<_> =
        texts.chain(others).chain([RestoreError::Version(9).to_string()]).collect();
    let all = texts.len();
    assert!(texts.iter().all(|text| text.len() >= 7), "{texts:?}");
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), all, "{texts:?}");
    assert_eq!(BadResponse::Tag.to_string(), BadResponse::Tag.reason());
}

/// The shortest difference between two spans.
const TICK: Duration = Duration::from_micros(125);

fn refusal(config: Config<'static>, limits: &Limits) -> Option<ConfigError> {
    Client::new(config, Storage::heap(limits), [1; 32]).err()
}

/// A limit, the least that works, and how it is set.
type Cut = (LimitKind, usize, fn(&mut Limits, usize));

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let small = Limits::small();
    let good = Config::new("a:1");
    assert_eq!(refusal(good.client_id("me").acks(Acks::Leader), &small), None);
    let (fits, long) = ("x".repeat(64).leak(), "x".repeat(65).leak());
    assert_eq!(refusal(good.client_id(fits).rack(fits), &small), None);
    assert_eq!(refusal(good.client_id(long), &small), Some(ConfigError::TooLong));
    assert_eq!(refusal(good.rack(long), &small), Some(ConfigError::TooLong));
    for (len, refused) in [(255, None), (256, Some(ConfigError::TooLong))] {
        let host = format!("a:1,{}:1", "h".repeat(len)).leak();
        assert_eq!(refusal(Config::new(host), &small), refused, "a name of {len} bytes");
    }
    let mut equal = good;
    (equal.retry_backoff, equal.reconnect_backoff) =
        (equal.retry_backoff_max, equal.reconnect_backoff_max);
    equal.probe_busy = equal.probe_idle;
    assert_eq!(refusal(equal, &small), None);
    let changes: [fn(&mut Config<'static>); 12] = [
        |config| config.delivery_timeout = Duration::ZERO,
        |config| config.request_timeout = Duration::ZERO,
        |config| config.silence_timeout = Duration::ZERO,
        |config| config.connect_timeout = Duration::ZERO,
        |config| config.retry_backoff = Duration::ZERO,
        |config| config.reconnect_backoff = Duration::ZERO,
        |config| (config.probe_idle, config.probe_busy) = (Duration::ZERO, Duration::ZERO),
        |config| config.probe_busy = Duration::ZERO,
        |config| config.metadata_max_age = Duration::ZERO,
        |config| config.retry_backoff = config.retry_backoff_max + TICK,
        |config| config.reconnect_backoff = config.reconnect_backoff_max + TICK,
        |config| config.probe_busy = config.probe_idle + TICK,
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut config = good;
        change(&mut config);
        assert_eq!(refusal(config, &small), Some(ConfigError::Duration), "change {n}");
    }
    let cuts: [Cut; 7] = [
        (LimitKind::Connections, 1, |limits, to| limits.conns = to),
        (LimitKind::Brokers, 1, |limits, to| limits.brokers = to),
        (LimitKind::Topics, 1, |limits, to| limits.topics = to),
        (LimitKind::Partitions, 1, |limits, to| limits.partitions = to),
        (LimitKind::ReceiveBuffer, 512, |limits, to| limits.rx_bytes = to),
        (LimitKind::SendBlocks, 4, |limits, to| limits.tx_blocks = to),
        (LimitKind::BlockBytes, 128, |limits, to| limits.block_bytes = to),
    ];
    for (what, least, cut) in cuts {
        let with = |to| {
            let mut limits = small;
            cut(&mut limits, to);
            refusal(good, &limits)
        };
        assert_eq!(with(least), None, "{what:?}");
        assert_eq!(with(least - 1), Some(ConfigError::TooLittle { what, least }), "{what:?}");
    }
}
