//! The tables of responses and the encoders of requests against Kafka's own message schemas.

mod requests;

use kavka_core::wire::table::{Field, Kind, Schema};
use kavka_core::wire::{self, ApiKey, Decode, Encode, Full, SliceSink, Uuid, Writer, header};
use requests::*;
use serde_json::{Map, Value, json};

/// An API as kavka knows it.
struct Api {
    name: &'static str,
    key: ApiKey,
    versions: (i16, i16),
    response: &'static Schema,
    request: fn(i16, &mut Writer<'_>) -> Result<(), Full>,
}

fn api<A: Decode>(
    name: &'static str,
    response: &'static Schema,
    request: fn(i16, &mut Writer<'_>) -> Result<(), Full>,
) -> Api {
    Api { name, key: A::API, versions: A::VERSIONS, response, request }
}

macro_rules! apis {
    ($($name:literal $module:ident $request:ident,)*) => {
        vec![$(api::<wire::$module::Response>($name, &wire::$module::SCHEMA, $request)),*]
    };
}

fn apis() -> Vec<Api> {
    apis![
        "ApiVersions" api_versions api_versions_request,
        "Metadata" metadata metadata_request,
        "Produce" produce produce_request,
        "Fetch" fetch fetch_request,
        "ListOffsets" list_offsets list_offsets_request,
        "OffsetForLeaderEpoch" offset_for_leader_epoch epochs_request,
        "DescribeTopicPartitions" describe_topic_partitions describe_request,
        "InitProducerId" init_producer_id init_request,
        "CreateTopics" create_topics create_topics_request,
        "CreatePartitions" create_partitions create_partitions_request,
        "DeleteTopics" delete_topics delete_topics_request,
        "ListGroups" list_groups list_groups_request,
        "DescribeGroups" describe_groups describe_groups_request,
        "ConsumerGroupDescribe" consumer_group_describe consumer_group_describe_request,
        "DeleteGroups" delete_groups delete_groups_request,
        "OffsetDelete" offset_delete offset_delete_request,
        "FindCoordinator" find_coordinator find_coordinator_request,
        "ConsumerGroupHeartbeat" consumer_group_heartbeat heartbeat_request,
        "OffsetCommit" offset_commit offset_commit_request,
        "OffsetFetch" offset_fetch offset_fetch_request,
        "AddPartitionsToTxn" add_partitions_to_txn add_partitions_request,
        "AddOffsetsToTxn" add_offsets_to_txn add_offsets_request,
        "TxnOffsetCommit" txn_offset_commit txn_offsets_request,
        "EndTxn" end_txn end_txn_request,
        "JoinGroup" join_group join_request,
        "SyncGroup" sync_group sync_request,
        "Heartbeat" heartbeat classic_heartbeat_request,
        "LeaveGroup" leave_group leave_request,
        "SaslHandshake" sasl_handshake sasl_handshake_request,
        "SaslAuthenticate" sasl_authenticate sasl_authenticate_request,
    ]
}

/// Reads one of Kafka's schema files; they are JSON with comment lines.
fn schema(name: &str) -> Value {
    let path = format!("{}/data/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    serde_json::from_str(&lines.join("\n")).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Parses `3`, `3+`, `3-7` or `none`.
fn range(text: &Value) -> (i16, i16) {
    let text = text.as_str().unwrap_or("none");
    let number = |part: &str| part.parse().expect("a version number");
    if text == "none" {
        (i16::MAX, i16::MIN)
    } else if let Some(from) = text.strip_suffix('+') {
        (number(from), i16::MAX)
    } else if let Some((from, to)) = text.split_once('-') {
        (number(from), number(to))
    } else {
        (number(text), number(text))
    }
}

fn within(version: i16, range: (i16, i16)) -> bool {
    range.0 <= version && version <= range.1
}

/// A field of Kafka's schema in one version.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    name: String,
    kind: String,
    nullable: bool,
    tag: Option<i64>,
}

/// Returns the fields that a struct of Kafka's schema has in `version`, tagged ones last.
fn fields_in(fields: &[Value], version: i16) -> Vec<(Plain, &Value)> {
    let mut list: Vec<_> = fields
        .iter()
        .filter(|field| within(version, range(&field["versions"])))
        .map(|field| {
            let tagged = within(version, range(&field["taggedVersions"]));
            let plain = Plain {
                name: field["name"].as_str().expect("a name").to_owned(),
                kind: field["type"].as_str().expect("a type").to_owned(),
                nullable: within(version, range(&field["nullableVersions"])),
                tag: tagged.then(|| field["tag"].as_i64().expect("a tag")),
            };
            (plain, field)
        })
        .collect();
    list.sort_by_key(|(plain, _)| plain.tag);
    list
}

/// Returns the fields of a struct type: nested in the field itself, or among the common structs.
fn struct_fields<'s>(root: &'s Value, field: &'s Value, kind: &str) -> Option<&'s [Value]> {
    if let Some(fields) = field["fields"].as_array() {
        return Some(fields);
    }
    let common = root["commonStructs"].as_array()?;
    let found = common.iter().find(|one| one["name"] == *kind)?;
    found["fields"].as_array().map(Vec::as_slice)
}

/// Compares one struct of ours with Kafka's in one version, and all nested ones.
fn compare(at: &str, root: &Value, theirs: &[Value], table: &Schema, index: usize, version: i16) {
    let wanted = fields_in(theirs, version);
    let ours: Vec<&Field> = {
        let all = table.structs[index].iter();
        all.filter(|field| field.is_in(version as i8)).collect()
    };
    let names: Vec<_> = ours.iter().map(|field| field.name).collect();
    let wanted_names: Vec<_> = wanted.iter().map(|(plain, _)| plain.name.as_str()).collect();
    assert_eq!(names, wanted_names, "{at} v{version}: fields");
    for (ours, (plain, field)) in ours.iter().zip(&wanted) {
        let at = format!("{at}.{} v{version}", plain.name);
        let inner = plain.kind.strip_prefix("[]");
        let nested = struct_fields(root, field, inner.unwrap_or(&plain.kind));
        let kind = match (ours.kind, nested.is_some()) {
            (Kind::Bool, false) => "bool",
            (Kind::I8, false) => "int8",
            (Kind::I16, false) => "int16",
            (Kind::I32, false) => "int32",
            (Kind::I64, false) => "int64",
            (Kind::Uuid, false) => "uuid",
            (Kind::Str, false) => "string",
            (Kind::Ints, false) => "[]int32",
            (Kind::Records, false) => "records",
            (Kind::Bytes, false) => "bytes",
            // On the wire the same as a list of structs with a name each.
            (Kind::Array(_), false) if plain.kind == "[]string" => "[]string",
            (Kind::Array(_), true) if inner.is_some() => &plain.kind,
            (Kind::Struct(_), true) if inner.is_none() => &plain.kind,
            (kind, _) => panic!("{at}: {kind:?} in our table, {} in Kafka's", plain.kind),
        };
        assert_eq!(kind, plain.kind, "{at}: type");
        assert_eq!(i16::from(ours.nullable) <= version, plain.nullable, "{at}: nullable");
        let tag = (ours.tag >= 0).then_some(i64::from(ours.tag));
        assert_eq!(tag, plain.tag, "{at}: tag");
        if let (Kind::Array(index) | Kind::Struct(index), Some(nested)) = (ours.kind, nested) {
            compare(&at, root, nested, table, usize::from(index), version);
        }
    }
}

#[test]
fn response_tables_are_kafkas_in_every_version() {
    for api in apis() {
        let root = schema(&format!("{}Response", api.name));
        let fields = root["fields"].as_array().expect("fields");
        for version in api.versions.0..=api.versions.1 {
            compare(api.name, &root, fields, api.response, 0, version);
        }
        let flexible = range(&root["flexibleVersions"]).0;
        let ours = api.response.flexible;
        let ours = if ours == i8::MAX { i16::MAX } else { i16::from(ours) };
        assert_eq!(ours, flexible, "{}: flexible", api.name);
    }
}

#[test]
fn versions_and_keys_are_kafkas() {
    for api in apis() {
        let root = schema(&format!("{}Request", api.name));
        assert_eq!(root["apiKey"], api.key.0, "{}", api.name);
        let (first, mut last) = range(&root["validVersions"]);
        if root["latestVersionUnstable"] == true {
            last -= 1;
        }
        // In version 0 of Metadata an empty list has another meaning; no broker needs it.
        // After version 0 of SaslHandshake, messages have no header.
        let first = if matches!(api.name, "Metadata" | "SaslHandshake") { 1 } else { first };
        let last = match api.name {
            // Later ones are between brokers.
            "AddPartitionsToTxn" => 3,
            // The next one has ids of topics, which an application may not know.
            "TxnOffsetCommit" => 5,
            _ => last,
        };
        assert_eq!(api.versions, (first, last), "{}: versions", api.name);
        let flexible = range(&root["flexibleVersions"]).0;
        assert_eq!(api.key.first_flexible(), flexible, "{}: flexible", api.name);
    }
}

/// No run of plain fields may be longer than the list that it is decoded into.
#[test]
fn segments_fit() {
    for api in apis() {
        for fields in api.response.structs {
            let plain = |field: &Field| {
                !matches!(field.kind, Kind::Array(_) | Kind::Struct(_)) && field.tag < 0
            };
            let longest = fields.split(|field| !plain(field)).map(<[_]>::len).max();
            assert!(longest <= Some(wire::table::SEGMENT), "{}: {longest:?}", api.name);
        }
    }
}

/// Reads bytes by Kafka's schema, with none of our code.
struct Reader<'b> {
    root: &'b Value,
    version: i16,
    flexible: bool,
    bytes: &'b [u8],
    what: String,
}

impl<'b> Reader<'b> {
    fn take(&mut self, len: usize) -> &'b [u8] {
        assert!(len <= self.bytes.len(), "{}: {len} bytes wanted, too few left", self.what);
        let (taken, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        taken
    }

    fn int(&mut self, len: usize) -> i64 {
        let bytes = self.take(len);
        let sign = if bytes[0] >= 0x80 { -1 } else { 0 };
        bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte))
    }

    fn uvarint(&mut self) -> i64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = i64::from(self.take(1)[0]);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    /// Reads a length or count; -1 for null.
    fn len(&mut self, old: usize) -> i64 {
        if self.flexible { self.uvarint() - 1 } else { self.int(old) }
    }

    fn value(&mut self, kind: &str, field: &'b Value, nullable: bool) -> Value {
        if let Some(inner) = kind.strip_prefix("[]") {
            let count = self.len(4);
            assert!(count >= 0 || nullable, "{}: null", self.what);
            let list = (0..count).map(|_| self.value(inner, field, false)).collect::<Vec<_>>();
            return if count < 0 { Value::Null } else { list.into() };
        }
        match kind {
            "bool" => json!(self.int(1) != 0),
            "int8" => json!(self.int(1)),
            "int16" => json!(self.int(2)),
            "int32" => json!(self.int(4)),
            "int64" => json!(self.int(8)),
            "uuid" => json!(self.take(16).to_vec()),
            "string" | "records" | "bytes" => {
                let len = self.len(if kind == "string" { 2 } else { 4 });
                assert!(len >= 0 || nullable, "{}: null", self.what);
                match usize::try_from(len) {
                    Ok(len) => json!(str::from_utf8(self.take(len)).expect("UTF-8")),
                    Err(_) => Value::Null,
                }
            }
            _ if nullable && self.int(1) < 0 => Value::Null,
            _ => self.fields(struct_fields(self.root, field, kind).expect(kind)),
        }
    }

    fn fields(&mut self, fields: &'b [Value]) -> Value {
        let mut values = Map::new();
        let list = fields_in(fields, self.version);
        for (plain, field) in &list {
            if plain.tag.is_none() {
                self.what = format!("{} of {}", plain.name, self.root["name"]);
                values.insert(plain.name.clone(), self.value(&plain.kind, field, plain.nullable));
            }
        }
        if self.flexible {
            assert_eq!(self.uvarint(), 0, "{}: we write no tagged fields", self.what);
        }
        values.into()
    }
}

/// Reads what the encoder of a request wrote by Kafka's schema.
fn read_back(api: &Api, version: i16) -> Value {
    let mut room = [0; 512];
    let mut sink = SliceSink::new(&mut room);
    (api.request)(version, &mut Writer::new(&mut sink)).expect("512 bytes are enough");
    let root = schema(&format!("{}Request", api.name));
    let what = format!("{} v{version}", api.name);
    let flexible = header::is_flexible(api.key, version);
    let bytes = sink.written();
    let mut reader = Reader { root: &root, version, flexible, bytes, what };
    let values = reader.fields(root["fields"].as_array().expect("fields"));
    assert_eq!(reader.bytes, [0_u8; 0], "{} v{version}: bytes left", api.name);
    values
}

/// Removes from `wanted` what `got` does not have: the reader has already ensured that `got` is
/// exactly what the schema has in this version.
fn only_of(wanted: &Value, got: &Value) -> Value {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            let of = |(name, got): (&String, &Value)| {
                let wanted = wanted.get(name).unwrap_or_else(|| panic!("no value for {name}"));
                (name.clone(), only_of(wanted, got))
            };
            Value::Object(got.iter().map(of).collect())
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.len() == got.len() => {
            wanted.iter().zip(got).map(|(wanted, got)| only_of(wanted, got)).collect()
        }
        _ => wanted.clone(),
    }
}

#[test]
fn requests_are_read_by_kafkas_schemas_in_every_version() {
    for api in apis() {
        for version in api.versions.0..=api.versions.1 {
            let got = read_back(&api, version);
            let wanted = only_of(&expected(api.name), &got);
            assert_eq!(got, wanted, "{} v{version}", api.name);
        }
    }
}

const ID: Uuid = Uuid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

/// Returns every field of every request that [`apis`] writes, over all versions.
fn expected(name: &str) -> Value {
    let id = json!(ID.0);
    match name {
        "ApiVersions" => json!({
            "ClientSoftwareName": "kavka", "ClientSoftwareVersion": "0.1.0",
            "ClusterId": null, "NodeId": -1,
        }),
        "Metadata" => json!({
            "Topics": [{ "TopicId": id, "Name": "t" }], "AllowAutoTopicCreation": true,
            "IncludeClusterAuthorizedOperations": false, "IncludeTopicAuthorizedOperations": false,
        }),
        "Produce" => json!({
            "TransactionalId": "tx", "Acks": -1, "TimeoutMs": 7,
            "TopicData": [
                { "Name": "t", "TopicId": id, "PartitionData": [{ "Index": 3, "Records": "abc" }] },
            ],
        }),
        "Fetch" => json!({
            "ReplicaId": -1, "MaxWaitMs": 1, "MinBytes": 2, "MaxBytes": 3, "IsolationLevel": 1,
            "SessionId": 4, "SessionEpoch": 5,
            "Topics": [{ "Topic": "t", "TopicId": id, "Partitions": [{
                "Partition": 6, "CurrentLeaderEpoch": 7, "FetchOffset": 8, "LastFetchedEpoch": 9,
                "LogStartOffset": -1, "PartitionMaxBytes": 10,
            }] }],
            "ForgottenTopicsData": [{ "Topic": "u", "TopicId": id, "Partitions": [11, 12] }],
            "RackId": "r",
        }),
        "ListOffsets" => json!({
            "ReplicaId": -1, "IsolationLevel": 1,
            "Topics": [{ "Name": "t", "Partitions": [
                { "PartitionIndex": 2, "CurrentLeaderEpoch": 3, "Timestamp": -2 },
            ] }],
            "TimeoutMs": 9,
        }),
        "OffsetForLeaderEpoch" => json!({
            "ReplicaId": -1,
            "Topics": [{ "Topic": "t", "Partitions": [
                { "Partition": 2, "CurrentLeaderEpoch": 3, "LeaderEpoch": 4 },
            ] }],
        }),
        "DescribeTopicPartitions" => json!({
            "Topics": [{ "Name": "t" }, { "Name": "u" }], "ResponsePartitionLimit": 1,
            "Cursor": { "TopicName": "t", "PartitionIndex": 5 },
        }),
        "InitProducerId" => json!({
            "TransactionalId": "tx", "TransactionTimeoutMs": 1, "ProducerId": 2, "ProducerEpoch": 3,
        }),
        "CreateTopics" => json!({
            "Topics": [{
                "Name": "t", "NumPartitions": 2, "ReplicationFactor": 3, "Assignments": [],
                "Configs": [{ "Name": "a", "Value": "b" }, { "Name": "c", "Value": null }],
            }],
            "timeoutMs": 4, "validateOnly": true,
        }),
        "CreatePartitions" => json!({
            "Topics": [{ "Name": "t", "Count": 9, "Assignments": null }],
            "TimeoutMs": 4, "ValidateOnly": true,
        }),
        "DeleteTopics" => json!({
            "Topics": [{ "Name": "t", "TopicId": Uuid::ZERO.0 }], "TopicNames": ["t"],
            "TimeoutMs": 4,
        }),
        "SaslHandshake" => json!({ "Mechanism": "PLAIN" }),
        "SaslAuthenticate" => json!({ "AuthBytes": "message" }),
        name => expected_of_groups(name),
    }
}

/// Does the same for the requests of groups.
fn expected_of_groups(name: &str) -> Value {
    let id = json!(ID.0);
    match name {
        "ListGroups" => json!({ "StatesFilter": ["Stable", "Empty"], "TypesFilter": ["Classic"] }),
        "DescribeGroups" => json!({
            "Groups": ["g", "h"], "IncludeAuthorizedOperations": true,
        }),
        "ConsumerGroupDescribe" => json!({
            "GroupIds": ["g", "h"], "IncludeAuthorizedOperations": true,
        }),
        "DeleteGroups" => json!({ "GroupsNames": ["g", "h"] }),
        "OffsetDelete" => json!({
            "GroupId": "g", "Topics": [{ "Name": "t", "Partitions": [
                { "PartitionIndex": 3 }, { "PartitionIndex": 5 },
            ] }],
        }),
        "FindCoordinator" => {
            json!({ "Key": "group", "KeyType": 0, "CoordinatorKeys": ["group"] })
        }
        "ConsumerGroupHeartbeat" => json!({
            "GroupId": "group", "MemberId": "member", "MemberEpoch": 5, "InstanceId": "one",
            "RackId": "r", "RebalanceTimeoutMs": 6, "SubscribedTopicNames": ["t", "u"],
            "SubscribedTopicRegex": "x.*", "ServerAssignor": "uniform",
            "TopicPartitions": [{ "TopicId": id, "Partitions": [1, 2] }],
        }),
        "OffsetCommit" => json!({
            "GroupId": "group", "GenerationIdOrMemberEpoch": 5, "MemberId": "member",
            "GroupInstanceId": "one", "RetentionTimeMs": -1,
            "Topics": [{ "Name": "t", "TopicId": id, "Partitions": [{
                "PartitionIndex": 1, "CommittedOffset": 2, "CommittedLeaderEpoch": 3,
                "CommittedMetadata": "text",
            }] }],
        }),
        "OffsetFetch" => json!({
            "GroupId": "group", "Topics": [{ "Name": "t", "PartitionIndexes": [1, 2] }],
            "Groups": [{
                "GroupId": "group", "MemberId": "member", "MemberEpoch": 5,
                "Topics": [{ "Name": "t", "TopicId": id, "PartitionIndexes": [1, 2] }],
            }],
            "RequireStable": true,
        }),
        "JoinGroup" => json!({
            "GroupId": "group", "SessionTimeoutMs": 1, "RebalanceTimeoutMs": 2,
            "MemberId": "member", "GroupInstanceId": "one", "ProtocolType": "consumer",
            "Protocols": [{ "Name": "range", "Metadata": "abc" }], "Reason": "why",
        }),
        "SyncGroup" => json!({
            "GroupId": "group", "GenerationId": 5, "MemberId": "member", "GroupInstanceId": "one",
            "ProtocolType": "consumer", "ProtocolName": "range",
            "Assignments": [{ "MemberId": "other", "Assignment": "abc" }],
        }),
        "Heartbeat" => json!({
            "GroupId": "group", "GenerationId": 5, "MemberId": "member", "GroupInstanceId": "one",
        }),
        "LeaveGroup" => json!({
            "GroupId": "group", "MemberId": "member",
            "Members": [{ "MemberId": "member", "GroupInstanceId": "one", "Reason": "why" }],
        }),
        name => expected_of_transactions(name),
    }
}

/// The same of requests of transactions.
fn expected_of_transactions(name: &str) -> Value {
    match name {
        "AddPartitionsToTxn" => json!({
            "V3AndBelowTransactionalId": "tx", "V3AndBelowProducerId": 2,
            "V3AndBelowProducerEpoch": 3,
            "V3AndBelowTopics": [{ "Name": "t", "Partitions": [4, 5] }],
        }),
        "AddOffsetsToTxn" => json!({
            "TransactionalId": "tx", "ProducerId": 2, "ProducerEpoch": 3, "GroupId": "group",
        }),
        "TxnOffsetCommit" => json!({
            "TransactionalId": "tx", "GroupId": "group", "ProducerId": 2, "ProducerEpoch": 3,
            "GenerationIdOrMemberEpoch": 4, "MemberId": "member", "GroupInstanceId": null,
            "Topics": [{ "Name": "t", "Partitions": [{
                "PartitionIndex": 5, "CommittedOffset": 6, "CommittedLeaderEpoch": 7,
                "CommittedMetadata": "text",
            }] }],
        }),
        "EndTxn" => json!({
            "TransactionalId": "tx", "ProducerId": 2, "ProducerEpoch": 3, "Committed": true,
        }),
        name => panic!("no expectation for {name}"),
    }
}

/// The short form for requests by name.
#[test]
fn metadata_is_requested_by_name_as_kafkas_schema_says_in_every_version() {
    use kafka_protocol::messages::MetadataRequest;
    use kafka_protocol::protocol::Decodable;
    type Case = (Option<&'static [&'static str]>, bool);
    let cases: [Case; 4] =
        [(None, false), (Some(&[]), true), (Some(&["t"]), false), (Some(&["t", "u"]), true)];
    assert_eq!(<wire::metadata::Request<'_> as Encode>::VERSIONS, (1, 13));
    for (version, (topics, allow_auto_create)) in
        (1..=13).flat_map(|version| cases.map(|case| (version, case)))
    {
        let mut room = [0; 64];
        let mut sink = SliceSink::new(&mut room);
        let mut out = Writer::new(&mut sink);
        let request = wire::metadata::Request { topics, allow_auto_create };
        request.encode(version, &mut out).expect("room");
        let mut bytes = sink.written();
        let read = MetadataRequest::decode(&mut bytes, version)
            .unwrap_or_else(|e| panic!("version {version}: {e}"));
        assert!(bytes.is_empty(), "version {version}: {} bytes are left", bytes.len());
        let names: Option<Vec<_>> = read.topics.as_ref().map(|topics| {
            topics.iter().filter_map(|t| t.name.as_ref()).map(|name| name.as_str()).collect()
        });
        assert_eq!(names.as_deref(), topics, "version {version}");
        // Before version 4 brokers decide that themselves.
        let wanted = allow_auto_create || version < 4;
        assert_eq!(read.allow_auto_topic_creation, wanted, "version {version}");
    }
}
