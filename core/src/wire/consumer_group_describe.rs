//! ConsumerGroupDescribe (69): state and members of groups under KIP-848.

use super::table::{BARE, Kind, Piece, Schema, Segment, field, nullable, response, tagged};
use super::{ApiKey, Encode, ErrorCode, Full, Ints, Uuid, Writer};

const API: ApiKey = ApiKey::CONSUMER_GROUP_DESCRIBE;

/// Requests groups of the coordinator that gets the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The groups.
    pub groups: &'a [&'a str],
    /// Whether the response lists what the client may do.
    pub include_authorized_operations: bool,
}

impl Encode for Request<'_> {
    const API: ApiKey = API;
    const VERSIONS: (i16, i16) = (0, 1);

    fn encode(&self, _: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        out.strs(true, self.groups)?;
        out.bool(self.include_authorized_operations)?;
        out.no_tags(true)
    }
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
    },
    /// Members of this group follow.
    Group {
        /// The result; 69 for a group of another type, too.
        error: ErrorCode,
        /// A message for people.
        message: Option<&'b str>,
        /// Its id.
        id: &'b str,
        /// Its state.
        state: &'b str,
        /// Its epoch, which rises with members, subscriptions and topics.
        epoch: i32,
        /// The epoch of the assignment that members move to.
        assignment_epoch: i32,
        /// The assignor of the server.
        assignor: &'b str,
    },
    /// What a member is; its topics, assignment and target follow.
    Member {
        /// Its id.
        id: &'b str,
        /// The instance id of a static member.
        instance: Option<&'b str>,
        /// Its rack.
        rack: Option<&'b str>,
        /// Its epoch.
        epoch: i32,
        /// Its client id.
        client_id: &'b str,
        /// Its address, as the broker sees it.
        client_host: &'b str,
    },
    /// A topic that the member subscribes by name.
    Subscribed(&'b str),
    /// The regular expression that the member subscribes by, if there is one.
    Pattern(Option<&'b str>),
    /// Partitions of a topic that the member has now.
    Assigned {
        /// The topic's id.
        id: Uuid,
        /// The topic's name.
        topic: &'b str,
        /// The partitions.
        partitions: Ints<'b>,
    },
    /// Partitions of a topic that the member is to have.
    Target {
        /// The topic's id.
        id: Uuid,
        /// The topic's name.
        topic: &'b str,
        /// The partitions.
        partitions: Ints<'b>,
    },
    /// The last of a member: 1 for one under KIP-848, 0 for a classic one in this group, -1 for
    /// unknown. From version 1 on.
    MemberType(i8),
    /// After a group's members: what the client may do, a bit for each operation; `i32::MIN` when
    /// that was not requested.
    Operations(i32),
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const GROUP: u8 = 1;
const MEMBER: u8 = 2;
const NAME: u8 = 3;
const ASSIGNMENT: u8 = 4;
const ASSIGNED: u8 = 5;
const TARGET_ASSIGNMENT: u8 = 6;
const TARGET: u8 = 7;
const PATTERN: u8 = 7;
const OPERATIONS: u8 = 8;

/// The response's layout. Both assignments are of one type in Kafka's schema, and of two here, so
/// that they can be distinguished.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[field("ThrottleTimeMs", Kind::I32, 0), field("Groups", Kind::Array(GROUP), 0)],
        &[
            field("ErrorCode", Kind::I16, 0),
            nullable(field("ErrorMessage", Kind::Str, 0), 0),
            field("GroupId", Kind::Str, 0),
            field("GroupState", Kind::Str, 0),
            field("GroupEpoch", Kind::I32, 0),
            field("AssignmentEpoch", Kind::I32, 0),
            field("AssignorName", Kind::Str, 0),
            field("Members", Kind::Array(MEMBER), 0),
            field("AuthorizedOperations", Kind::I32, 0),
        ],
        &[
            field("MemberId", Kind::Str, 0),
            nullable(field("InstanceId", Kind::Str, 0), 0),
            nullable(field("RackId", Kind::Str, 0), 0),
            field("MemberEpoch", Kind::I32, 0),
            field("ClientId", Kind::Str, 0),
            field("ClientHost", Kind::Str, 0),
            field("SubscribedTopicNames", Kind::Array(NAME), 0),
            nullable(field("SubscribedTopicRegex", Kind::Str, 0), 0),
            field("Assignment", Kind::Struct(ASSIGNMENT), 0),
            field("TargetAssignment", Kind::Struct(TARGET_ASSIGNMENT), 0),
            field("MemberType", Kind::I8, 1),
        ],
        &[tagged(field("Name", Kind::Str, 0), BARE)],
        &[field("TopicPartitions", Kind::Array(ASSIGNED), 0)],
        &[
            field("TopicId", Kind::Uuid, 0),
            field("TopicName", Kind::Str, 0),
            field("Partitions", Kind::Ints, 0),
        ],
        &[field("TopicPartitions", Kind::Array(TARGET), 0)],
        &[
            field("TopicId", Kind::Uuid, 0),
            field("TopicName", Kind::Str, 0),
            field("Partitions", Kind::Ints, 0),
        ],
    ],
    flexible: 0,
};

response!(API, 0..=1, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;
    let topic = || (values.uuid(0), values.text(1).unwrap_or_default(), values.ints(2));

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(GROUP, 0) => Item::Group {
            error: values.error(0),
            message: values.text(1),
            id: values.text(2).unwrap_or_default(),
            state: values.text(3).unwrap_or_default(),
            epoch: values.i32_or(4, -1),
            assignment_epoch: values.i32_or(5, -1),
            assignor: values.text(6).unwrap_or_default(),
        },
        Piece::Fields(MEMBER, 0) => Item::Member {
            id: values.text(0).unwrap_or_default(),
            instance: values.text(1),
            rack: values.text(2),
            epoch: values.i32_or(3, -1),
            client_id: values.text(4).unwrap_or_default(),
            client_host: values.text(5).unwrap_or_default(),
        },
        Piece::Fields(NAME, _) => Item::Subscribed(values.text(0).unwrap_or_default()),
        Piece::Fields(MEMBER, PATTERN) => Item::Pattern(values.text(0)),
        Piece::Fields(ASSIGNED, _) => {
            let (id, topic, partitions) = topic();
            Item::Assigned { id, topic, partitions }
        }
        Piece::Fields(TARGET, _) => {
            let (id, topic, partitions) = topic();
            Item::Target { id, topic, partitions }
        }
        Piece::Fields(MEMBER, _) => Item::MemberType(values.i32_or(0, -1) as i8),
        Piece::Fields(GROUP, OPERATIONS) => Item::Operations(values.i32_or(0, i32::MIN)),
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
