//! The answer that a connection is in the middle of.

use crate::cluster::{DescribeCx, MetadataCx, OffsetsProbeCx};
use crate::connection::{Question, Ticket};
use crate::consumer::{FetchCx, OffsetsCx};
use crate::producer::AnswerCx;
use crate::time::Instant;
use crate::wire::table::{Schema, Walker};
use crate::wire::{
    ApiKey, api_versions, create_partitions, create_topics, delete_topics,
    describe_topic_partitions, fetch, init_producer_id, list_offsets, metadata, produce,
};

/// Which part of a frame comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Frame {
    Length,
    Correlation,
    /// The tagged fields of the answer's header.
    Tags,
    Body,
    /// The rest of the frame means nothing.
    Rest,
}

/// What is known of a handshake while its answer streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HandshakeCx {
    pub(crate) error: i16,
    /// The highest ApiVersions version that the broker names.
    pub(crate) max: i16,
    pub(crate) ranges: u16,
}

/// What the owner of an answer remembers while it streams in.
#[repr(u8)]
pub(crate) enum Cx {
    None,
    ApiVersions(HandshakeCx),
    Metadata(MetadataCx),
    Describe(DescribeCx),
    Probe(OffsetsProbeCx),
    Offsets(OffsetsCx),
    InitProducerId,
    Produce(AnswerCx),
    Fetch(FetchCx),
    Admin,
}

/// See the module; one per connection.
pub(crate) struct AnswerSlot {
    pub(crate) frame: Frame,
    /// Bytes of the frame that were not read yet.
    pub(crate) left: u32,
    pub(crate) question: Question,
    /// Where in the header's tags or in the body we are.
    pub(crate) walker: Walker,
    pub(crate) cx: Cx,
    /// Polling an event may yield one from here.
    pub(crate) ready: bool,
    /// Since when records wait to be polled, on a connection that others need too.
    pub(crate) waiting_since: Option<Instant>,
}

impl AnswerSlot {
    pub(crate) const EMPTY: Self = Self {
        frame: Frame::Length,
        left: 0,
        question: Question::NONE,
        walker: Walker::IDLE,
        cx: Cx::None,
        ready: false,
        waiting_since: None,
    };

    /// Record bytes that come next.
    pub(crate) fn records_left(&self) -> usize {
        self.walker.records_left() as usize
    }
}

/// What the owners need to know of where an answer comes from.
pub(crate) struct Origin {
    pub(crate) now: Instant,
    pub(crate) node: i32,
    pub(crate) conn: usize,
    /// Serial of the fetch session, and of the last Metadata request.
    pub(crate) session: u32,
    pub(crate) metadata: u32,
}

impl Cx {
    /// For the answer to a question, of which nothing was read yet.
    pub(crate) fn new(question: &Question, o: &Origin) -> Self {
        match question.ticket {
            Ticket::ApiVersions => Self::ApiVersions(HandshakeCx::default()),
            Ticket::Metadata => {
                Self::Metadata(MetadataCx::new(o.now, o.node, question.version, o.metadata))
            }
            Ticket::Describe { .. } => Self::Describe(DescribeCx::default()),
            Ticket::ListOffsetsProbe => Self::Probe(OffsetsProbeCx::default()),
            Ticket::Offsets => Self::Offsets(OffsetsCx::default()),
            Ticket::Produce => Self::Produce(AnswerCx::new(o.conn)),
            Ticket::Fetch => Self::Fetch(FetchCx::new(o.session)),
            Ticket::InitProducerId => Self::InitProducerId,
            Ticket::Admin { .. } => Self::Admin,
        }
    }
}

/// The layout of an API's answer; `None` for an API that is never asked.
pub(crate) fn schema(api: ApiKey) -> Option<&'static Schema> {
    Some(match api {
        ApiKey::API_VERSIONS => &api_versions::SCHEMA,
        ApiKey::METADATA => &metadata::SCHEMA,
        ApiKey::LIST_OFFSETS => &list_offsets::SCHEMA,
        ApiKey::DESCRIBE_TOPIC_PARTITIONS if cfg!(feature = "describe") => {
            &describe_topic_partitions::SCHEMA
        }
        ApiKey::INIT_PRODUCER_ID if cfg!(feature = "producer") => &init_producer_id::SCHEMA,
        ApiKey::PRODUCE if cfg!(feature = "producer") => &produce::SCHEMA,
        ApiKey::FETCH if cfg!(feature = "consumer") => &fetch::SCHEMA,
        ApiKey::CREATE_TOPICS if cfg!(feature = "admin") => &create_topics::SCHEMA,
        ApiKey::CREATE_PARTITIONS if cfg!(feature = "admin") => &create_partitions::SCHEMA,
        ApiKey::DELETE_TOPICS if cfg!(feature = "admin") => &delete_topics::SCHEMA,
        _ => return None,
    })
}
