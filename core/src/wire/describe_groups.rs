//! DescribeGroups (15): state and members of classic groups. The members' subscriptions and
//! assignments are read by [`consumer_protocol`](super::consumer_protocol).

use super::table::{Kind, Piece, Schema, Segment, field, nullable, response};
use super::{ApiKey, Encode, ErrorCode, Full, Writer};

const API: ApiKey = ApiKey::DESCRIBE_GROUPS;

/// Requests groups of the coordinator that gets the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The groups.
    pub groups: &'a [&'a str],
    /// Whether the response lists what the client may do; from version 3 on.
    pub include_authorized_operations: bool,
}

impl Encode for Request<'_> {
    const API: ApiKey = API;
    const VERSIONS: (i16, i16) = (0, 6);

    fn encode(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let flexible = version >= const { API.first_flexible() };
        out.strs(flexible, self.groups)?;
        if version >= 3 {
            out.bool(self.include_authorized_operations)?;
        }
        out.no_tags(flexible)
    }
}

/// A step of the response, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'b> {
    /// First, from version 1 on.
    Throttle {
        /// Milliseconds that the broker wants us to wait.
        ms: i32,
    },
    /// Members of this group follow.
    Group {
        /// The result.
        error: ErrorCode,
        /// A message for people; from version 6 on.
        message: Option<&'b str>,
        /// Its id.
        id: &'b str,
        /// Its state. Before version 6 a group that does not exist is `Dead`, without an error; so
        /// is, in any version, one of another type.
        state: &'b str,
        /// What its members use it for, such as `consumer`.
        protocol_type: &'b str,
        /// The protocol that was elected: of consumers, the assignor. Empty unless the group is
        /// stable.
        protocol: &'b str,
    },
    /// One member.
    Member {
        /// Its id.
        id: &'b str,
        /// The instance id of a static member; from version 4 on.
        instance: Option<&'b str>,
        /// Its client id.
        client_id: &'b str,
        /// Its address, as the broker sees it.
        client_host: &'b str,
        /// Its subscription; empty unless the group is stable.
        metadata: &'b [u8],
        /// Its assignment; empty unless the group is stable.
        assignment: &'b [u8],
    },
    /// After a group's members: what the client may do, a bit for each operation, from version 3
    /// on; `i32::MIN` when that was not requested.
    Operations(i32),
    /// Something that did not fit was dropped.
    Skipped,
}

const ROOT: u8 = 0;
const GROUP: u8 = 1;
const MEMBER: u8 = 2;

/// The response's layout.
pub static SCHEMA: Schema = Schema {
    structs: &[
        &[field("ThrottleTimeMs", Kind::I32, 1), field("Groups", Kind::Array(GROUP), 0)],
        &[
            field("ErrorCode", Kind::I16, 0),
            nullable(field("ErrorMessage", Kind::Str, 6), 6),
            field("GroupId", Kind::Str, 0),
            field("GroupState", Kind::Str, 0),
            field("ProtocolType", Kind::Str, 0),
            field("ProtocolData", Kind::Str, 0),
            field("Members", Kind::Array(MEMBER), 0),
            field("AuthorizedOperations", Kind::I32, 3),
        ],
        &[
            field("MemberId", Kind::Str, 0),
            nullable(field("GroupInstanceId", Kind::Str, 4), 4),
            field("ClientId", Kind::Str, 0),
            field("ClientHost", Kind::Str, 0),
            field("MemberMetadata", Kind::Bytes, 0),
            field("MemberAssignment", Kind::Bytes, 0),
        ],
    ],
    flexible: 5,
};

response!(API, 0..=6, 'b, Item<'b>);

pub(crate) fn item<'b>(got: Segment<'_, 'b>) -> Option<Item<'b>> {
    let Segment { piece, values, .. } = got;

    Some(match piece {
        Piece::Fields(ROOT, _) => Item::Throttle { ms: values.i32_or(0, 0) },
        Piece::Fields(GROUP, 0) => Item::Group {
            error: values.error(0),
            message: values.text(1),
            id: values.text(2).unwrap_or_default(),
            state: values.text(3).unwrap_or_default(),
            protocol_type: values.text(4).unwrap_or_default(),
            protocol: values.text(5).unwrap_or_default(),
        },
        Piece::Fields(MEMBER, _) => Item::Member {
            id: values.text(0).unwrap_or_default(),
            instance: values.text(1),
            client_id: values.text(2).unwrap_or_default(),
            client_host: values.text(3).unwrap_or_default(),
            metadata: values.bytes(4),
            assignment: values.bytes(5),
        },
        Piece::Fields(GROUP, _) => Item::Operations(values.i32_or(0, i32::MIN)),
        Piece::Skipped => Item::Skipped,
        _ => return None,
    })
}
