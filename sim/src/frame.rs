//! Frames: request bytes in, response bytes out, by the `kafka-protocol` crate. That codec shares
//! no code with the client under test, so an error of kavka's codec cannot cancel itself out.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, RequestHeader, RequestKind, ResponseHeader, ResponseKind,
};
use kafka_protocol::protocol::{Decodable, Encodable};

/// A decoded request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which API.
    pub api: ApiKey,
    /// Its version, as sent.
    pub version: i16,
    /// Correlation id, repeated in the response.
    pub correlation: i32,
    /// Bytes of the frame, with the length prefix.
    pub size: usize,
    /// The body.
    pub body: RequestKind,
}

impl Request {
    /// Decodes one frame, without its length prefix.
    ///
    /// # Errors
    /// A text, where the frame makes a broker close the connection. An ApiVersions request is
    /// decoded in any version: a broker responds also to versions it does not know.
    pub fn decode(mut frame: Bytes) -> Result<Self, String> {
        let size = frame.len() + 4;
        if frame.len() < 8 {
            return Err(format!("a frame of {} bytes", frame.len()));
        }
        let mut front = frame.slice(0..8);
        let (key, version, correlation) = (front.get_i16(), front.get_i16(), front.get_i32());
        let api = ApiKey::try_from(key).map_err(|()| format!("API key {key}"))?;
        if api == ApiKey::ApiVersions && !(0..=4).contains(&version) {
            let body = RequestKind::ApiVersions(ApiVersionsRequest::default());
            return Ok(Self { api, version, correlation, size, body });
        }
        let range = api.valid_versions();
        if version < range.min || version > range.max {
            return Err(format!("{api:?} v{version}, the codec knows {range}"));
        }
        let text = |e| format!("{api:?} v{version}: {e}");
        RequestHeader::decode(&mut frame, api.request_header_version(version)).map_err(text)?;
        let body = RequestKind::decode(api, &mut frame, version).map_err(text)?;
        Ok(Self { api, version, correlation, size, body })
    }
}

/// A response, not yet encoded.
#[derive(Clone, Debug)]
pub struct Response {
    /// Which API.
    pub api: ApiKey,
    /// Version that the body is encoded in.
    pub version: i16,
    /// Correlation id of the request.
    pub correlation: i32,
    /// The body.
    pub body: ResponseKind,
}

impl Response {
    /// Returns the frame, with its length prefix.
    ///
    /// # Errors
    /// A text when the codec refuses the body, which is a bug of the simulation.
    pub fn encode(&self) -> Result<Bytes, String> {
        let text = |e| format!("answer {:?} v{}: {e}", self.api, self.version);
        let mut out = BytesMut::with_capacity(256);
        out.put_i32(0);
        let header = ResponseHeader::default().with_correlation_id(self.correlation);
        header.encode(&mut out, self.api.response_header_version(self.version)).map_err(text)?;
        self.body.encode(&mut out, self.version).map_err(text)?;
        let len = u32::try_from(out.len() - 4).map_err(|_| "answer above 4 GiB".to_owned())?;
        out[..4].copy_from_slice(&len.to_be_bytes());
        Ok(out.freeze())
    }
}
