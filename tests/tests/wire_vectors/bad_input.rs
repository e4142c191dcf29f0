//! Bytes that have broken other clients, and damage to good ones.

use kavka_core::wire::{self, Decode, Malformed, Step};

use crate::drive::{Feed, Outcome, decode};
use crate::responses;
use crate::vectors::unhex;

fn whole(api: &str, version: i16, hex: &str) -> Result<Outcome, Malformed> {
    decode(api, version, &unhex(hex), Feed::whole())
}

fn items(api: &str, version: i16, hex: &str) -> Vec<String> {
    let outcome = whole(api, version, hex).unwrap_or_else(|e| panic!("{api} {hex}: {e}"));
    assert!(outcome.done, "{api} {hex}: not done");
    assert_eq!(outcome.used, hex.len() / 2, "{api} {hex}: bytes used");
    outcome.items
}

/// A count of 2^31 - 1 with nothing after it: we require the first element's bytes, no more.
/// (kafka-go 1439, kafka-protocol-rs 200: out of memory.)
#[test]
fn a_huge_count_is_only_a_number() {
    for (api, version, hex) in [
        ("ApiVersions", 0, "00007fffffff"),
        ("ApiVersions", 3, "0000ffffffff07"),
        ("Metadata", 1, "7fffffff"),
        ("Metadata", 9, "00000000ffffffff07"),
        // Nested: a topic of 2^31 - 1 partitions.
        ("Metadata", 1, "000000000000000100000001000000017400ffffff7f"),
        ("Metadata", 1, "00000000000000017fffffff0000000174007fffffff"),
        // Replicas are part of one item: its bytes are required, and never arrive.
        ("Metadata", 9, "00000000010000000000020000027400020000000000000000000000000000ffffffff07"),
        ("Produce", 3, "7fffffff"),
        ("Fetch", 4, "000000007fffffff"),
        ("Fetch", 12, "00000000000000000000ffffffff07"),
        ("ListOffsets", 1, "7fffffff"),
        ("OffsetForLeaderEpoch", 3, "000000007fffffff"),
        ("OffsetForLeaderEpoch", 4, "00000000ffffffff07"),
        ("DescribeTopicPartitions", 0, "00000000ffffffff07"),
        ("CreateTopics", 2, "000000007fffffff"),
        ("CreatePartitions", 0, "000000007fffffff"),
        ("DeleteTopics", 1, "000000007fffffff"),
        ("FindCoordinator", 4, "00000000ffffffff07"),
        // A topic of the assignment: its partitions are part of one item.
        ("ConsumerGroupHeartbeat", 0, "0000000000000000000001000013880101ffffffff07"),
        ("OffsetCommit", 3, "000000007fffffff"),
        ("OffsetCommit", 8, "00000000ffffffff07"),
        ("JoinGroup", 0, "0000000000010000000000007fffffff"),
        // A member's subscription is part of one item.
        ("JoinGroup", 0, "000000000001000000000000000000010001617fffffff"),
        ("SyncGroup", 0, "00007fffffff"),
        ("LeaveGroup", 3, "0000000000007fffffff"),
        ("OffsetFetch", 1, "7fffffff"),
        ("OffsetFetch", 8, "00000000ffffffff07"),
        ("OffsetFetch", 8, "00000000020267ffffffff07"),
        ("AddPartitionsToTxn", 0, "000000007fffffff"),
        ("AddPartitionsToTxn", 3, "00000000ffffffff07"),
        ("TxnOffsetCommit", 0, "000000007fffffff"),
        ("TxnOffsetCommit", 3, "00000000ffffffff07"),
    ] {
        match whole(api, version, hex) {
            Ok(outcome) => {
                assert!(!outcome.done, "{api} v{version} {hex}");
                assert!(outcome.steps < 20, "{api} v{version} {hex}: {} steps", outcome.steps);
            }
            Err(why) => assert_eq!(why, Malformed::Length, "{api} v{version} {hex}"),
        }
    }
}

/// The bytes of an array are required at once; a client with a small buffer drops them as they
/// come.
#[test]
fn replicas_beyond_any_buffer_are_dropped_as_they_come() {
    let head = "00000000010000000000020000027400020000000000000000000000000000";
    let mut bytes = unhex(head);
    bytes.extend([0xa1, 0x8d, 0x06]); // 100,000 replicas
    bytes.resize(bytes.len() + 400_000, 7);
    bytes.extend([1, 1, 0]); // no isr, no offline; tags
    bytes.extend([0; 12]); // ...of the topic and of the response
    let feed = Feed::pieces(1, 700).buffer(256);
    let outcome = decode("Metadata", 9, &bytes, feed).expect("well-formed");
    assert!(outcome.done);
    let items: Vec<_> = outcome.items.iter().map(String::as_str).collect();
    assert!(items[2].starts_with("Topic { error: NONE (0), name: Some(\"t\")"), "{}", items[2]);
    assert_eq!(items[3..], ["Skipped", "TopicEnd", "End { error: NONE (0) }"]);
}

#[test]
fn lengths_below_zero_are_refused() {
    for (api, version, hex, what) in [
        ("Metadata", 1, "fffffffe", "array of -2"),
        ("Metadata", 1, "ffffffff", "null array that may not be null"),
        ("Metadata", 9, "0000000000", "null compact array"),
        ("ListOffsets", 1, "00000001ffff", "null string"),
        ("OffsetForLeaderEpoch", 2, "0000000000000001ffff", "null string"),
        ("ListOffsets", 1, "00000001fffe", "string of -2"),
        ("ApiVersions", 0, "0000ffffffff", "null array"),
        (
            "Fetch",
            4,
            "00000000000000010001740000000100000000000000000000000000000000000000000000\
             00000000fffffffe",
            "records of -2",
        ),
    ] {
        let hex: String = hex.split_whitespace().collect();
        assert_eq!(whole(api, version, &hex), Err(Malformed::Length), "{what}");
    }
}

/// sarama `TestFlexibleMetadataResponseInvalidInt32ArrayLengthOverflow`; Java drops the high bits.
#[test]
fn varints_above_32_bits_are_refused() {
    let nine = "00000000010000000000020000027400020000000000000000000000000000808080808080808021";
    assert_eq!(whole("Metadata", 9, nine), Err(Malformed::Varint));
    assert_eq!(whole("ApiVersions", 3, "000081808080700000000000"), Err(Malformed::Varint));
}

/// sarama 2658: a compact string longer than the buffer. It may still arrive: we require its bytes.
#[test]
fn a_string_longer_than_the_input_is_waited_for() {
    let outcome = whole("ListOffsets", 6, "0000000002ff01616263").expect("not malformed");
    assert!(!outcome.done);
    let long = whole("ListOffsets", 6, "0000000002818002616263");
    assert_eq!(long, Err(Malformed::TooLong));
}

/// sarama 2107: unknown tags must not keep a client from connecting.
#[test]
fn unknown_tags_are_dropped_and_counted() {
    let mut response = wire::api_versions::Response::new(3).expect("spoken");
    let bytes = unhex("00000100000000018f4e03616263");
    let mut input = &bytes[..];
    while response.step(&mut input) != Ok(Step::Done) {}
    assert_eq!((input.len(), response.unknown_tags()), (0, 1));
    // The largest tags there are.
    items("ApiVersions", 3, "0000010000000001ffffffff0700");
    assert_eq!(whole("ApiVersions", 3, "0000010000000001ffffffff0f00"), Err(Malformed::Tag));
}

/// redpanda 31663: a tagged field is read within its own size, whatever its content.
#[test]
fn a_tag_is_read_inside_its_size() {
    let epoch = "FinalizedEpoch { epoch: 0 }";
    let long = items("ApiVersions", 3, "0000010000000001010c000000000000000000000000");
    assert_eq!(long.last().map(String::as_str), Some(epoch));
    let short = "000001000000000101040000000000000000";
    assert_eq!(whole("ApiVersions", 3, short), Err(Malformed::Tag));
    // A list of two features in a tag with space for less than one.
    assert_eq!(whole("ApiVersions", 3, "0000010000000001000403026100ff"), Err(Malformed::Tag));
    // A leader (4 + 4 bytes and its own tags) in a tagged field of the given size and tail.
    let zero = "00";
    let partition = zero.repeat(4 + 2 + 8 + 8 + 8);
    let produce = |size: &str, tail: &str| {
        let bytes = format!("02027402{partition}010001{zero}{size}0000000500000007{tail}");
        whole("Produce", 10, &bytes)
    };
    let end = "00".repeat(1 + 4 + 1);
    let inner = produce("0c", &format!("010001ff{end}")).expect("an unknown tag within the leader");
    assert!(inner.done);
    assert_eq!(inner.items[3], "CurrentLeader { leader: 5, epoch: 7 }");
    let beyond = produce("0c", &format!("010002ffff{end}"));
    assert_eq!(beyond, Err(Malformed::Tag), "an inner tag longer than the outer one");
    assert_eq!(produce("09", &format!("010001ff{end}")), Err(Malformed::Tag), "no room for it");
}

#[test]
fn tags_ascend() {
    for tags in ["0201000100", "0209000800", "030a000b000b00"] {
        let hex = format!("00000100000000{tags}");
        let got = whole("ApiVersions", 3, &hex);
        // Tag 1 is known and has 8 bytes: that is checked first.
        let wanted = if tags.starts_with("0201") { Malformed::Tag } else { Malformed::TagOrder };
        assert_eq!(got, Err(wanted), "{tags}");
    }
    let twice = "00000100000000020108000000000000000001080000000000000000";
    assert_eq!(whole("ApiVersions", 3, twice), Err(Malformed::TagOrder));
}

/// KIP-511: error 35 comes in the format of version 0, whatever was requested.
#[test]
fn error_35_has_a_body_of_version_0() {
    for version in 0..=5 {
        let reported = items("ApiVersions", version, "002300000001001200000003");
        assert_eq!(
            reported,
            [
                "Head { error: UNSUPPORTED_VERSION (35) }",
                "Range { api: API_VERSIONS (18), min: 0, max: 3 }",
            ],
            "v{version}"
        );
        // Before Kafka 2.4 the list is empty.
        assert_eq!(items("ApiVersions", version, "002300000000").len(), 1, "v{version}");
    }
}

/// kafkajs `v1_response_missing_throttle_time`: all that is there is reported, then bytes are
/// missing.
#[test]
fn a_response_without_its_throttle_time_reports_its_ranges() {
    let outcome = whole("ApiVersions", 1, "000000000001001200000003").expect("not malformed");
    assert_eq!(outcome.items.len(), 2);
    assert!(!outcome.done);
}

#[test]
fn offsets_are_reported_as_they_are() {
    let hex = "0000000100017400000001000000000000fffffffffffffffffffffffffffffffb";
    let reported = items("ListOffsets", 1, hex);
    assert!(reported[1].contains("offset: -5"), "{reported:?}");
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    assert_eq!(whole("ListOffsets", 1, "000000010001ff"), Err(Malformed::Utf8));
}

/// Every prefix of a good response requires more bytes; none passes for the whole.
#[test]
fn prefixes_need_more() {
    let mut count = 0;
    for vector in responses() {
        let bytes = vector.response_body();
        let stride = bytes.len() / 40 + 1;
        for len in (0..bytes.len()).step_by(stride) {
            let outcome = decode(&vector.api, vector.version, &bytes[..len], Feed::whole());
            let outcome = outcome.unwrap_or_else(|e| panic!("{} to {len}: {e}", vector.id));
            assert!(!outcome.done, "{} to {len}: done", vector.id);
            count += 1;
        }
    }
    println!("{count} prefixes");
    assert!(count > 20_000, "{count} prefixes");
}

/// One flipped bit: no panic, no step without progress (`decode` counts them), with and without a
/// small buffer.
#[test]
fn flipped_bits_do_no_harm() {
    let mut refused = 0;
    let mut count = 0;
    for vector in responses() {
        let mut bytes = vector.response_body().to_vec();
        let bits = bytes.len() * 8;
        let stride = bits / 50 + 1;
        for bit in (0..bits).step_by(stride) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let plain = decode(&vector.api, vector.version, &bytes, Feed::whole());
            refused += usize::from(plain.is_err());
            let feed = Feed::pieces(bit as u64 + 1, 50).buffer(64);
            let _ = decode(&vector.api, vector.version, &bytes, feed);
            bytes[bit / 8] ^= 1 << (bit % 8);
            count += 1;
        }
    }
    println!("{count} bits flipped, {refused} responses refused");
    assert!(refused > 500, "{refused} of {count} refused");
}

/// Random bytes, biased to small numbers, in every version of every API.
#[test]
fn noise_does_no_harm() {
    let apis = [
        ("ApiVersions", 0..=5),
        ("Metadata", 1..=13),
        ("Produce", 3..=13),
        ("Fetch", 4..=18),
        ("ListOffsets", 1..=11),
        ("OffsetForLeaderEpoch", 2..=4),
        ("DescribeTopicPartitions", 0..=0),
        ("InitProducerId", 0..=5),
        ("CreateTopics", 2..=7),
        ("CreatePartitions", 0..=3),
        ("DeleteTopics", 1..=6),
        ("ListGroups", 0..=5),
        ("DescribeGroups", 0..=6),
        ("ConsumerGroupDescribe", 0..=1),
        ("DeleteGroups", 0..=3),
        ("OffsetDelete", 0..=0),
        ("FindCoordinator", 0..=6),
        ("ConsumerGroupHeartbeat", 0..=1),
        ("OffsetCommit", 2..=10),
        ("OffsetFetch", 1..=10),
        ("SaslHandshake", 1..=1),
        ("SaslAuthenticate", 0..=2),
        ("AddPartitionsToTxn", 0..=3),
        ("AddOffsetsToTxn", 0..=4),
        ("TxnOffsetCommit", 0..=5),
        ("EndTxn", 0..=5),
        ("JoinGroup", 0..=9),
        ("SyncGroup", 0..=5),
        ("Heartbeat", 0..=4),
        ("LeaveGroup", 0..=5),
    ];
    let mut seed = 1_u64;
    for (api, versions) in apis {
        for version in versions {
            for _ in 0..100 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
                let mut state = seed;
                let bytes: Vec<u8> = (0..200)
                    .map(|_| {
                        state =
                            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
                        let byte = (state >> 56) as u8;
                        if state >> 40 & 3 == 0 { byte } else { byte % 3 }
                    })
                    .collect();
                let _ = decode(api, version, &bytes, Feed::pieces(seed, 40).buffer(32));
            }
        }
    }
}
