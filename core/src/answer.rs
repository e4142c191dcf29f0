//! The answer that a connection is in the middle of.

use crate::cluster::{DescribeCx, MetadataCx, OffsetsProbeCx};
use crate::connection::{InFlight, Ticket};
use crate::consumer::{FetchCx, OffsetsCx};
use crate::producer::AnswerCx;
use crate::time::Instant;
use crate::wire::{
    ApiKey, Decode, api_versions, create_partitions, create_topics, delete_topics,
    describe_topic_partitions, fetch, header, init_producer_id, list_offsets, metadata, produce,
};

/// Which part of a frame comes next.
#[repr(u8)]
pub(crate) enum Frame {
    Length,
    Correlation,
    Tags(header::Tags),
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

/// A decoder with what its owner remembers meanwhile.
#[repr(u8)]
pub(crate) enum Decoder {
    None,
    ApiVersions(api_versions::Answer, HandshakeCx),
    Metadata(metadata::Answer, MetadataCx),
    Describe(describe_topic_partitions::Answer, DescribeCx),
    Probe(list_offsets::Answer, OffsetsProbeCx),
    Offsets(list_offsets::Answer, OffsetsCx),
    InitProducerId(init_producer_id::Answer),
    Produce(produce::Answer, AnswerCx),
    Fetch(fetch::Answer, FetchCx),
    AdminMetadata(metadata::Answer),
    CreateTopics(create_topics::Answer),
    CreatePartitions(create_partitions::Answer),
    DeleteTopics(delete_topics::Answer),
}

/// See the module; one per connection.
pub(crate) struct AnswerSlot {
    pub(crate) frame: Frame,
    /// Bytes of the frame that were not read yet.
    pub(crate) left: u32,
    pub(crate) request: Option<InFlight>,
    pub(crate) decoder: Decoder,
    /// Polling an event may yield one from here.
    pub(crate) ready: bool,
    /// Since when records wait to be polled, on a connection that others need too.
    pub(crate) waiting_since: Option<Instant>,
}

impl AnswerSlot {
    pub(crate) const EMPTY: Self = Self {
        frame: Frame::Length,
        left: 0,
        request: None,
        decoder: Decoder::None,
        ready: false,
        waiting_since: None,
    };
}

/// What the decoders need to know of where they are.
pub(crate) struct Origin {
    pub(crate) now: Instant,
    pub(crate) node: i32,
    /// Serial of the fetch session, and of the last Metadata request.
    pub(crate) session: u32,
    pub(crate) metadata: u32,
}

impl Decoder {
    /// The decoder for the answer to a request; `None` if there is none, which cannot be for
    /// versions that we asked with.
    pub(crate) fn new(request: &InFlight, o: &Origin) -> Option<Self> {
        let v = request.version;
        Some(match request.ticket {
            Ticket::ApiVersions => {
                Self::ApiVersions(api_versions::Answer::new(v)?, HandshakeCx::default())
            }
            Ticket::Metadata => {
                let cx = MetadataCx::new(o.now, o.node, v, o.metadata);
                Self::Metadata(metadata::Answer::new(v)?, cx)
            }
            Ticket::Describe { .. } => {
                Self::Describe(describe_topic_partitions::Answer::new(v)?, DescribeCx::default())
            }
            Ticket::ListOffsetsProbe => {
                Self::Probe(list_offsets::Answer::new(v)?, OffsetsProbeCx::default())
            }
            Ticket::Offsets => Self::Offsets(list_offsets::Answer::new(v)?, OffsetsCx::default()),
            Ticket::Produce => Self::Produce(produce::Answer::new(v)?, AnswerCx::default()),
            Ticket::Fetch => Self::Fetch(fetch::Answer::new(v)?, FetchCx::new(o.session)),
            Ticket::InitProducerId => Self::InitProducerId(init_producer_id::Answer::new(v)?),
            Ticket::Admin { .. } => match request.api {
                ApiKey::METADATA => Self::AdminMetadata(metadata::Answer::new(v)?),
                ApiKey::CREATE_TOPICS => Self::CreateTopics(create_topics::Answer::new(v)?),
                ApiKey::CREATE_PARTITIONS => {
                    Self::CreatePartitions(create_partitions::Answer::new(v)?)
                }
                ApiKey::DELETE_TOPICS => Self::DeleteTopics(delete_topics::Answer::new(v)?),
                _ => return None,
            },
        })
    }
}
