//! Any response as JSON by the names in our tables.

use kavka_core::wire::table::{self, Kind, Piece, Schema, Walker};
use kavka_core::wire::{self, Step, Uuid};
use serde_json::{Map, Value, json};

use crate::vectors::Vector;

fn schema(api: &str) -> &'static Schema {
    match api {
        "ApiVersions" => &wire::api_versions::SCHEMA,
        "Metadata" => &wire::metadata::SCHEMA,
        "Produce" => &wire::produce::SCHEMA,
        "Fetch" => &wire::fetch::SCHEMA,
        "ListOffsets" => &wire::list_offsets::SCHEMA,
        "OffsetForLeaderEpoch" => &wire::offset_for_leader_epoch::SCHEMA,
        "DescribeTopicPartitions" => &wire::describe_topic_partitions::SCHEMA,
        "InitProducerId" => &wire::init_producer_id::SCHEMA,
        "CreateTopics" => &wire::create_topics::SCHEMA,
        "CreatePartitions" => &wire::create_partitions::SCHEMA,
        "DeleteTopics" => &wire::delete_topics::SCHEMA,
        "ListGroups" => &wire::list_groups::SCHEMA,
        "DescribeGroups" => &wire::describe_groups::SCHEMA,
        "ConsumerGroupDescribe" => &wire::consumer_group_describe::SCHEMA,
        "DeleteGroups" => &wire::delete_groups::SCHEMA,
        "OffsetDelete" => &wire::offset_delete::SCHEMA,
        "SaslHandshake" => &wire::sasl_handshake::SCHEMA,
        "SaslAuthenticate" => &wire::sasl_authenticate::SCHEMA,
        "FindCoordinator" => &wire::find_coordinator::SCHEMA,
        "ConsumerGroupHeartbeat" => &wire::consumer_group_heartbeat::SCHEMA,
        "OffsetCommit" => &wire::offset_commit::SCHEMA,
        "OffsetFetch" => &wire::offset_fetch::SCHEMA,
        "AddPartitionsToTxn" => &wire::add_partitions_to_txn::SCHEMA,
        "AddOffsetsToTxn" => &wire::add_offsets_to_txn::SCHEMA,
        "TxnOffsetCommit" => &wire::txn_offset_commit::SCHEMA,
        "EndTxn" => &wire::end_txn::SCHEMA,
        "JoinGroup" => &wire::join_group::SCHEMA,
        "SyncGroup" => &wire::sync_group::SCHEMA,
        "Heartbeat" => &wire::heartbeat::SCHEMA,
        "LeaveGroup" => &wire::leave_group::SCHEMA,
        api => panic!("{api} is not of this test"),
    }
}

/// Converts `TopicId` of the schemas to `topicId` of the vectors.
fn camel(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

pub(crate) fn uuid(id: Uuid) -> Value {
    let hex: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range| &hex[range];
    json!(format!(
        "{}-{}-{}-{}-{}",
        part(0..8),
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    ))
}

fn plain(value: table::Value<'_>, kind: Kind) -> Value {
    match value {
        table::Value::Int(value) if kind == Kind::Bool => json!(value != 0),
        table::Value::Int(value) => json!(value),
        table::Value::Uuid(id) => uuid(Uuid(*id)),
        table::Value::Str(text) => json!(text),
        table::Value::Ints(ints) => ints.collect(),
        table::Value::Bytes(bytes) => json!(format!("hex:{}", crate::hex(bytes))),
        table::Value::Null | table::Value::Absent => Value::Null,
    }
}

/// A struct being built, by its index in the schema.
struct Level {
    index: u8,
    values: Map<String, Value>,
}

/// Returns the response's fields, the number of unknown tags, and the bytes used.
///
/// Empty and null arrays of structs leave no trace in the events. They are filled in from the
/// expectation, which the typed items and the count of bytes then confirm.
pub(crate) fn walk(vector: &Vector) -> (Value, u32, usize) {
    let schema = schema(&vector.api);
    let mut walker = Walker::new(schema, vector.version as i8);
    let bytes = vector.response_body();
    let mut input = bytes;
    let mut values = table::Values::default();
    let mut levels = vec![Level { index: 0, values: Map::new() }];
    loop {
        match walker.step(&mut input, &mut values).expect(&vector.id) {
            Step::More { needed } => panic!("{}: {needed} bytes missing", vector.id),
            Step::Done => break,
            Step::Item(Piece::Fields(index, first)) => {
                open(&mut levels, index, first, schema);
                let level = levels.last_mut().expect("a level");
                for (at, field) in schema.structs[usize::from(index)].iter().enumerate() {
                    let Some(at) = at.checked_sub(usize::from(first)) else { continue };
                    let tagged_alone = schema.structs[usize::from(index)][usize::from(first)].tag;
                    if at > 0 && (tagged_alone >= 0 || field.tag >= 0) || !is_plain(field.kind) {
                        break;
                    }
                    if values.get(at) != table::Value::Absent {
                        level.values.insert(camel(field.name), plain(values.get(at), field.kind));
                    }
                }
            }
            Step::Item(Piece::Null(index)) => {
                let (name, _) = place(&levels, index, schema);
                levels.last_mut().expect("a level").values.insert(name, Value::Null);
            }
            Step::Item(Piece::End(index)) => {
                open(&mut levels, index, 0, schema);
                if levels.len() > 1 {
                    close(&mut levels, schema);
                }
            }
            Step::Item(Piece::Skipped) => panic!("{}: skipped", vector.id),
        }
    }
    let mut got = Value::Object(levels.remove(0).values);
    fill_empty(&mut got, &vector.known_body());
    (got, walker.unknown_tags(), bytes.len() - input.len())
}

fn is_plain(kind: Kind) -> bool {
    !matches!(kind, Kind::Array(_) | Kind::Struct(_))
}

/// Opens a struct unless it is open already.
fn open(levels: &mut Vec<Level>, index: u8, first: u8, schema: &Schema) {
    let top = levels.last().expect("a level").index;
    if top != index {
        assert_eq!(first, 0, "struct {index} begins at its first field");
        if let Some(between) = between(top, index, schema) {
            levels.push(Level { index: between, values: Map::new() });
        }
        let _ = place(levels, index, schema);
        levels.push(Level { index, values: Map::new() });
    }
}

/// Returns the struct that contains struct `index` and is part of `top`, if there is one: without
/// plain fields of its own it has no event at its beginning.
fn between(top: u8, index: u8, schema: &Schema) -> Option<u8> {
    let parts = |index: u8| {
        let fields = schema.structs[usize::from(index)].iter();
        fields.filter_map(|field| match field.kind {
            Kind::Array(part) | Kind::Struct(part) => Some(part),
            _ => None,
        })
    };
    let direct = parts(top).any(|part| part == index);
    let holder = parts(top).find(|part| parts(*part).any(|part| part == index));
    holder.filter(|_| !direct)
}

/// Returns the field of the innermost open struct that struct `index` belongs to, and whether it is
/// an array.
fn place(levels: &[Level], index: u8, schema: &Schema) -> (String, bool) {
    let parent = levels.last().expect("a level");
    let fields = schema.structs[usize::from(parent.index)];
    let field = fields
        .iter()
        .find(|field| field.kind == Kind::Array(index) || field.kind == Kind::Struct(index));
    let field = field.unwrap_or_else(|| panic!("{index} is not part of {}", parent.index));
    (camel(field.name), field.kind == Kind::Array(index))
}

fn close(levels: &mut Vec<Level>, schema: &Schema) {
    let level = levels.pop().expect("a level");
    let (name, array) = place(levels, level.index, schema);
    let parent = levels.last_mut().expect("a level");
    if array {
        let list = parent.values.entry(name).or_insert_with(|| json!([]));
        let is_bare = schema.structs[usize::from(level.index)][0].tag == table::BARE;
        let whole = |values: Map<_, _>| match is_bare {
            true => values.into_iter().next().map_or(Value::Null, |(_, value)| value),
            false => values.into(),
        };
        list.as_array_mut().expect("an array").push(whole(level.values));
    } else {
        parent.values.insert(name, level.values.into());
    }
}

fn fill_empty(got: &mut Value, wanted: &Value) {
    match (got, wanted) {
        (Value::Object(got), Value::Object(wanted)) => {
            for (name, wanted) in wanted {
                if let Some(got) = got.get_mut(name) {
                    fill_empty(got, wanted);
                } else if wanted.is_null() || wanted.as_array().is_some_and(Vec::is_empty) {
                    got.insert(name.clone(), wanted.clone());
                }
            }
        }
        (Value::Array(got), Value::Array(wanted)) => {
            got.iter_mut().zip(wanted).for_each(|(got, wanted)| fill_empty(got, wanted));
        }
        _ => {}
    }
}
