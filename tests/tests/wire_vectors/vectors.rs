//! The vector files.

use kavka_core::wire::{ApiKey, Step, header};
use serde_json::{Map, Value};

/// One line of a vector file.
pub(crate) struct Vector {
    pub id: String,
    pub api: String,
    pub version: i16,
    pub response: bool,
    pub framing: String,
    pub bytes: Vec<u8>,
    pub body: Value,
    pub header: Value,
    /// Whether the bytes differ from what an encoder would write.
    pub note: bool,
}

/// Returns all vectors of the files.
pub(crate) fn vectors() -> Vec<Vector> {
    let files = [
        include_str!("../../data/vectors/wire_vectors.jsonl"),
        include_str!("../../data/vectors/wire_recorded.jsonl"),
        include_str!("../../data/vectors/group_admin.jsonl"),
        include_str!("../../data/vectors/sasl.jsonl"),
        include_str!("../../data/vectors/transactions.jsonl"),
        include_str!("../../data/vectors/classic.jsonl"),
    ];
    files.iter().flat_map(|file| file.lines()).map(Vector::parse).collect()
}

/// Decodes hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

impl Vector {
    fn parse(line: &str) -> Self {
        let mut json: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |name: &str| json[name].as_str().expect(name).to_owned();
        Self {
            id: text("id"),
            api: text("api"),
            version: json["version"].as_i64().expect("a version") as i16,
            response: text("direction") == "response",
            framing: text("framing"),
            bytes: unhex(&text("hex")),
            note: json.get("note").is_some(),
            header: json["header"].take(),
            body: json["body"].take(),
        }
    }

    pub(crate) fn key(&self) -> ApiKey {
        match self.api.as_str() {
            "ApiVersions" => ApiKey::API_VERSIONS,
            "Metadata" => ApiKey::METADATA,
            "Produce" => ApiKey::PRODUCE,
            "Fetch" => ApiKey::FETCH,
            "ListOffsets" => ApiKey::LIST_OFFSETS,
            "OffsetForLeaderEpoch" => ApiKey::OFFSET_FOR_LEADER_EPOCH,
            "DescribeTopicPartitions" => ApiKey::DESCRIBE_TOPIC_PARTITIONS,
            "InitProducerId" => ApiKey::INIT_PRODUCER_ID,
            "CreateTopics" => ApiKey::CREATE_TOPICS,
            "CreatePartitions" => ApiKey::CREATE_PARTITIONS,
            "DeleteTopics" => ApiKey::DELETE_TOPICS,
            "ListGroups" => ApiKey::LIST_GROUPS,
            "DescribeGroups" => ApiKey::DESCRIBE_GROUPS,
            "ConsumerGroupDescribe" => ApiKey::CONSUMER_GROUP_DESCRIBE,
            "DeleteGroups" => ApiKey::DELETE_GROUPS,
            "OffsetDelete" => ApiKey::OFFSET_DELETE,
            "SaslHandshake" => ApiKey::SASL_HANDSHAKE,
            "SaslAuthenticate" => ApiKey::SASL_AUTHENTICATE,
            "FindCoordinator" => ApiKey::FIND_COORDINATOR,
            "ConsumerGroupHeartbeat" => ApiKey::CONSUMER_GROUP_HEARTBEAT,
            "OffsetCommit" => ApiKey::OFFSET_COMMIT,
            "OffsetFetch" => ApiKey::OFFSET_FETCH,
            "AddPartitionsToTxn" => ApiKey::ADD_PARTITIONS_TO_TXN,
            "AddOffsetsToTxn" => ApiKey::ADD_OFFSETS_TO_TXN,
            "TxnOffsetCommit" => ApiKey::TXN_OFFSET_COMMIT,
            "EndTxn" => ApiKey::END_TXN,
            "JoinGroup" => ApiKey::JOIN_GROUP,
            "SyncGroup" => ApiKey::SYNC_GROUP,
            "Heartbeat" => ApiKey::HEARTBEAT,
            "LeaveGroup" => ApiKey::LEAVE_GROUP,
            api => panic!("{api} is not of this test"),
        }
    }

    /// Returns the bytes without length and header.
    pub(crate) fn response_body(&self) -> &[u8] {
        let mut rest = match self.framing.as_str() {
            "body" => return &self.bytes,
            "frame" => &self.bytes[8..],
            _ => &self.bytes[4..],
        };
        if header::response_tags(self.key(), self.version) {
            let step = header::Tags::new().step(&mut rest);
            assert_eq!(step, Ok(Step::Done), "{}: header", self.id);
        }
        rest
    }

    /// Returns the fields that our tables know.
    pub(crate) fn known_body(&self) -> Value {
        without_unknown(&self.body)
    }

    pub(crate) fn unknown_tags(&self) -> u32 {
        count_unknown(&self.body)
    }
}

const UNKNOWN: &str = "_unknownTags";

fn without_unknown(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let known = map.iter().filter(|(name, _)| *name != UNKNOWN);
            known.map(|(name, value)| (name.clone(), without_unknown(value))).collect::<Map<_, _>>()
        }
        .into(),
        Value::Array(list) => list.iter().map(without_unknown).collect(),
        value => value.clone(),
    }
}

fn count_unknown(value: &Value) -> u32 {
    match value {
        Value::Object(map) => {
            let here = map.get(UNKNOWN).map_or(0, |tags| {
                tags.as_array().map_or_else(|| tags.as_object().map_or(0, Map::len), Vec::len)
            });
            here as u32 + map.values().map(count_unknown).sum::<u32>()
        }
        Value::Array(list) => list.iter().map(count_unknown).sum(),
        _ => 0,
    }
}
